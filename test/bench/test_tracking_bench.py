"""The bench of steadiness on a recording of a few frames, rendered here."""

from __future__ import annotations

import pytest

from mkpose_ros.bench.tracking import bench_tracking
from mkpose_ros.errors import InputError
from mkpose_ros.resources import share_path

CONTRACT = {"name", "backend", "model", "batch", "threads", "median_ms", "p95_ms", "p99_ms", "per_s", "rss_mb"}


@pytest.mark.slow
def test_raw_and_tracked_poses_of_the_same_objects_are_compared():
    rows = bench_tracking(
        scenes=[1], frames=4, rate_hz=15.0, model=share_path("models", "small"), backend="onnxruntime", seed=7
    )
    kinds = ("raw", "tracked", "tracked, camera unknown")
    names = [f"gt masks, {what}, {kind}" for what in ("scene 1", "all") for kind in kinds]
    assert [row["name"] for row in rows] == [*names, "carried 1 frames"]
    raw, tracked, _ = rows[3:6]
    assert set(tracked) >= CONTRACT
    assert raw["object_frames"] == tracked["object_frames"] > 4
    assert tracked["id_switches"] == 0
    assert tracked["jitter_deg"] < raw["jitter_deg"]
    assert rows[6]["median_iou"] > 0.9
    assert rows[0]["median_rotation_deg"] == raw["median_rotation_deg"]


def test_masks_of_an_unknown_kind_are_refused():
    with pytest.raises(InputError, match="expected gt, predicted, both"):
        bench_tracking(scenes=[1], frames=2, rate_hz=15.0, model=share_path("models", "small"), masks="mine")
