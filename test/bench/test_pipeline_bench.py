"""The bench of the whole node: what is compared with what, and what its rows say of a load made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from mkpose_ros.msg import ObjectPose, ObjectPoseArray, StageTime

from mkpose_ros.bench import pipeline as bench
from mkpose_ros.bench.load import Load
from mkpose_ros.bench.pipeline import Variant, _checked_out, load_rows, parse_variant
from mkpose_ros.bench.plots import plot_pipeline
from mkpose_ros.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = {"name", "backend", "model", "batch", "threads", "median_ms", "p95_ms", "p99_ms", "per_s", "rss_mb"}


def _load(frames: int = 20) -> Load:
    """Every second frame answered, after 40 to 58 ms, with two objects."""
    load = Load(ready_s=1.0, rss_mb=500.0, cpu_s=0.5, page_faults=30, span_s=1.0, reached=frames - 1)
    for k in range(frames):
        load.sent_at[k] = k / 20
        if k % 2:
            load.received_at[k] = load.sent_at[k] + 0.05
            load.latencies_ms.append(39.0 + k)
            stages = [StageTime(name="segmentation", duration_ms=30.0), StageTime(name="crops", duration_ms=5.0)]
            load.messages.append(ObjectPoseArray(objects=[ObjectPose()] * 2, stages=stages, latency_ms=38.0))
    return load


def test_parameters_are_a_configuration_and_anything_else_a_revision():
    assert parse_variant("segment_every:=1 threads:=1").parameters == ("segment_every:=1", "threads:=1")
    assert parse_variant("main~3") == Variant("main~3")
    with pytest.raises(InputError, match="NAME:=VALUE or a git revision"):
        parse_variant(" ")


def test_a_revision_that_is_not_there_is_named():
    with pytest.raises(InputError, match="no_such_revision"), _checked_out([Variant("no_such_revision")]):
        pass


def test_a_revision_is_run_from_a_folder_of_its_own_that_is_gone_afterwards():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    with _checked_out([Variant("this", ("a:=1",)), Variant("HEAD")]) as (this, head):
        assert (this.checkout, head.name) == (None, "HEAD")
        assert head.checkout != ROOT
        assert (head.checkout / "mkpose_ros" / "pipeline.py").is_file()
    assert not head.checkout.exists()


def test_variants_take_turns_and_change_the_order_from_round_to_round(monkeypatch):
    played = []

    def play(variant, rate_hz, frames):
        played.append((variant.name, rate_hz, frames))
        return _load()

    monkeypatch.setattr(bench, "play", play)
    rows = bench.bench_pipeline([Variant("a"), Variant("b")], rates_hz=(10.0, 30.0), seconds=2.0, repeats=2)
    first = [("a", 10.0, 20), ("b", 10.0, 20), ("a", 30.0, 60), ("b", 30.0, 60)]
    assert played == [*first, ("b", 10.0, 20), ("a", 10.0, 20), ("b", 30.0, 60), ("a", 30.0, 60)]
    assert {(row["backend"], row["rate_hz"]) for row in rows} == {(name, rate) for name, rate, _ in first}


def test_rows_hold_latency_throughput_losses_and_the_stages():
    whole, own, *stages = load_rows(Variant("this", ("model:=base",)), 20.0, [_load()])
    assert set(whole) >= CONTRACT
    assert (whole["sent"], whole["lost"], whole["skipped"], whole["batch"]) == (20, 1, 9, 2)
    assert whole["median_ms"] == pytest.approx(49.0)
    assert whole["oldest_ms"] == pytest.approx(58.0)
    assert whole["per_s"] == pytest.approx(10.0)
    assert whole["objects_per_s"] == pytest.approx(20.0)
    assert whole["cpu_percent"] == pytest.approx(50.0)
    assert whole["page_faults"] == pytest.approx(3.0)
    assert (whole["model"], whole["rate_hz"]) == ("base", 20.0)
    assert own["median_ms"] == pytest.approx(8.0)
    assert [(row["name"].strip(), row["median_ms"]) for row in stages] == [("segmentation", 30.0), ("crops", 5.0)]


def test_two_runs_of_one_variant_are_counted_together():
    first, second = _load(), _load()
    second.sent_at = {k + 100: at for k, at in second.sent_at.items()}
    second.received_at = {k + 100: at for k, at in second.received_at.items()}
    whole = load_rows(Variant("this"), 20.0, [first, second])[0]
    assert (whole["sent"], whole["skipped"]) == (40, 18)
    assert whole["per_s"] == pytest.approx(10.0)
    assert whole["page_faults"] == pytest.approx(3.0)


def test_the_picture_is_written(tmp_path):
    rows = [*load_rows(Variant("this"), 10.0, [_load()]), *load_rows(Variant("a:=1", ("a:=1",)), 10.0, [_load()])]
    plot_pipeline(rows, tmp_path / "made" / "time.png")
    assert (tmp_path / "made" / "time.png").stat().st_size > 10_000
