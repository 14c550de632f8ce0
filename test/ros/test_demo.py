"""The demo: the shipped recording, the real node with the shipped models, over DDS."""

import itertools
import json
import subprocess
import sys

import cv2
import pytest

from mkpose_ros.resources import share_path

FRAMES = 10


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's result on the first frames, and its folder of pictures."""
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "mkpose_ros.cli", "demo", "--frames", str(FRAMES), "--out", str(out), "--json"]
    run = subprocess.run([*command, str(out / "demo.json")], capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads((out / "demo.json").read_text()), out, run.stderr


def test_every_frame_of_the_demo_is_answered(demo):
    summary, _, _ = demo
    assert summary["frames"] == FRAMES


def test_the_demo_finds_objects_and_measures_them_against_the_truth(demo):
    summary, _, _ = demo
    assert summary["detections"] >= FRAMES  # six objects are in view
    assert 0.0 < summary["median_translation_cm"] < 10.0
    assert 0.0 < summary["median_rotation_deg"] < 180.0
    assert 0.0 <= summary["iou50"] <= 100.0


def test_the_demo_times_its_stages(demo):
    summary, _, _ = demo
    assert set(summary["stages_ms"]) == {"segmentation", "pose", "other"}
    assert min(summary["stages_ms"].values()) > 0.0


def test_the_demo_writes_a_video_and_a_contact_sheet_and_says_where(demo):
    _, out, log = demo
    video = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == FRAMES
    assert cv2.imread(str(out / "contact_sheet.png")).shape[1] > 1900
    assert "contact_sheet.png" in log.replace("\n", "")


def test_a_folder_that_is_no_recording_ends_the_demo_with_one_sentence(tmp_path):
    command = [sys.executable, "-m", "mkpose_ros.cli", "demo", "--recording", str(tmp_path), "--out", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1
    assert "recording" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_shipped_recording_is_what_the_demo_promises():
    from mkpose_ros.recording import read_recording

    frames = list(read_recording(share_path("models", "demo_recording")))
    assert len(frames) == 36
    first = frames[0]
    assert first.frame.rgb.shape == (480, 640, 3)
    assert len(first.truths) >= 5
    assert len({truth.category for truth in first.truths}) >= 4
    gaps_ns = [b.frame.stamp_ns - a.frame.stamp_ns for a, b in itertools.pairwise(frames)]
    assert 1e9 / 15 <= min(gaps_ns) <= max(gaps_ns) <= 1e9 / 10
    moved = abs(frames[-1].truths[0].T_cam_obj[:3, 3] - first.truths[0].T_cam_obj[:3, 3]).max()
    assert moved > 0.02  # the camera moves
