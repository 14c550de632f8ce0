"""`mkpose synth` on the command line."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mkpose_ros.commands.synth import synth


@pytest.mark.usefixtures("renderer")
def test_synth_writes_frames_card_and_json(tmp_path):
    out = tmp_path / "set"
    arguments = ["--out", str(out), "--frames", "2", "--seed", "1", "--split", "val", "--size", "160x120"]
    result = CliRunner().invoke(synth, [*arguments, "--json", str(tmp_path / "r.json")], catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames"] == 2
    assert report["instances"] == len(json.loads((out / "val/annotations.json").read_text())["annotations"])
    assert report["seconds"] > 0
    card = (out / "val/README.md").read_text()
    assert "2 frames of 160x120 pixels" in card
    assert len(list(out.rglob("*_color.png"))) == 2


@pytest.mark.usefixtures("renderer")
def test_synth_writes_a_sequence_with_the_camera_in_the_world(tmp_path):
    arguments = ["--out", str(tmp_path), "--frames", "2", "--size", "160x120", "--sequence", "--occluder", "0", "1"]
    result = CliRunner().invoke(synth, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    truths = [json.loads(p.read_text()) for p in sorted(tmp_path.rglob("*_truth.json"))]
    assert [t["stamp_ns"] for t in truths] == [0, 33333333]
    assert all(len(t["T_world_cam"]) == 4 for t in truths)


def test_no_frames_is_a_normal_set(tmp_path):
    result = CliRunner().invoke(synth, ["--out", str(tmp_path), "--frames", "0", "--json", "-"], catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads((tmp_path / "train/annotations.json").read_text())["images"] == []


@pytest.mark.parametrize("arguments", [["--size", "640"], ["--sensor", "lidar"], ["--frames", "-1"], ["--split", "x"]])
def test_wrong_usage_exits_with_2(tmp_path, arguments):
    result = CliRunner().invoke(synth, ["--out", str(tmp_path), "--frames", "1", *arguments])
    assert result.exit_code == 2
