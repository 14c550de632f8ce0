"""`mkpose synth` on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from mkpose_ros.commands.synth import synth


def until(condition, seconds=120.0):
    """Wait for condition() to be true; False where it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


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
    assert "`mkpose synth --split val --frames 2 --seed 1 --size 160x120`" in card
    assert len(list(out.rglob("*_color.png"))) == 2


@pytest.mark.usefixtures("renderer")
def test_synth_writes_a_sequence_with_the_camera_in_the_world(tmp_path):
    arguments = ["--out", str(tmp_path), "--frames", "2", "--size", "160x120", "--sequence", "--occluder", "0", "1"]
    result = CliRunner().invoke(synth, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    truths = [json.loads(p.read_text()) for p in sorted(tmp_path.rglob("*_truth.json"))]
    assert [t["stamp_ns"] for t in truths] == [0, 33333333]
    assert all(len(t["T_world_cam"]) == 4 for t in truths)
    card = (tmp_path / "train/README.md").read_text()
    assert "--size 160x120 --sensor active-stereo --sequence --rate 30 --occluder 0 1`" in card


def children_of(pid):
    """The process ids whose parent is pid."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


@pytest.mark.usefixtures("renderer")
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="asks Linux for a process's children")
def test_a_killed_run_leaves_no_workers_and_is_finished_by_the_next(tmp_path):
    arguments = ["--out", str(tmp_path / "cut"), "--frames", "12", "--size", "64x48", "--split", "val"]
    command = [sys.executable, "-m", "mkpose_ros.cli", "synth", *arguments, "--workers", "2"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert until(lambda: list(tmp_path.rglob("*_truth.json")))
        workers = children_of(run.pid)
        assert len(workers) >= 2
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))
    whole = CliRunner().invoke(synth, ["--out", str(tmp_path / "whole"), *arguments[2:]], catch_exceptions=False)
    again = CliRunner().invoke(synth, arguments, catch_exceptions=False)
    assert (whole.exit_code, again.exit_code) == (0, 0)
    files = [p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*.*")]
    assert len(files) > 12 * 6
    for file in files:
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


def test_no_frames_is_a_normal_set(tmp_path):
    result = CliRunner().invoke(synth, ["--out", str(tmp_path), "--frames", "0", "--json", "-"], catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads((tmp_path / "train/annotations.json").read_text())["images"] == []


@pytest.mark.parametrize("arguments", [["--size", "640"], ["--sensor", "lidar"], ["--frames", "-1"], ["--split", "x"]])
def test_wrong_usage_exits_with_2(tmp_path, arguments):
    result = CliRunner().invoke(synth, ["--out", str(tmp_path), "--frames", "1", *arguments])
    assert result.exit_code == 2
