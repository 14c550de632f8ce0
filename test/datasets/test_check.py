"""`mkpose data check`: counts, what is missing, pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import drawn
from click.testing import CliRunner

from mkpose_ros.commands.data import data
from mkpose_ros.datasets import open_dataset
from mkpose_ros.datasets.check import check_dataset, draw_sample


def test_counts_by_split_category_and_model(tmp_path):
    for name in ("train/00000/0000", "train/00000/0001", "test/00000/0000"):
        drawn.own_frame(tmp_path, name)
    inventory = check_dataset(open_dataset(tmp_path))
    counts = inventory.to_json()
    assert (counts["frames"], counts["readable"], counts["instances"]) == (3, 3, 6)
    assert counts["splits"] == {
        "train": {"frames": 2, "camera": 2, "laptop": 2},
        "test": {"frames": 1, "camera": 1, "laptop": 1},
    }
    assert counts["models"]["train/camera"] == 1
    assert counts["faults"] == []


def test_what_is_missing_is_told(tmp_path):
    drawn.camera_frame(tmp_path, composed=False)
    files = check_dataset(open_dataset(tmp_path)).to_json()["files"]
    assert files["_color.png" if "_color.png" in files else "_depth.png"] == {"present": 1, "of": 1}
    assert files["_composed.png"] == {"present": 0, "of": 1}
    assert files["segmentation_results"] == {"present": 0, "of": 1}


def test_an_unreadable_frame_is_counted_and_named(tmp_path):
    stem = drawn.own_frame(tmp_path, "train/00000/0000")
    drawn.own_frame(tmp_path, "train/00000/0001")
    Path(f"{stem}_depth.png").write_bytes(b"\x89PNG")
    counts = check_dataset(open_dataset(tmp_path)).to_json()
    assert (counts["looked_at"], counts["readable"]) == (2, 1)
    assert "_depth.png" in counts["faults"][0]["problem"]


def test_a_limit_spreads_over_the_whole_set(tmp_path):
    for number in range(10):
        drawn.own_frame(tmp_path, f"train/00000/{number:04d}")
    seen = []
    inventory = check_dataset(open_dataset(tmp_path), limit=4, progress=lambda done, total: seen.append((done, total)))
    assert inventory.looked_at == 4
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_command_writes_json_and_pictures(tmp_path):
    drawn.own_frame(tmp_path / "set")
    result = CliRunner().invoke(
        data, ["check", str(tmp_path / "set"), "--draw", str(tmp_path / "pictures"), "--json", str(tmp_path / "a.json")]
    )
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a.json").read_text())["instances"] == 2
    overview = cv2.imread(str(tmp_path / "pictures" / "overview.jpg"))
    assert overview.shape[1] >= 320


def test_a_drawn_sample_shows_colour_and_depth_side_by_side(tmp_path):
    drawn.own_frame(tmp_path)
    sample = open_dataset(tmp_path)[0]
    picture = draw_sample(sample)
    assert picture.shape == (120, 320, 3)
    assert (picture[:, :160] != sample.frame.rgb).any()
