"""Recordings: what is written is what is read, and damage is named."""

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.recording import RecordedFrame, read_recording, write_recording
from mkpose_ros.types import CameraIntrinsics, ObjectTruth, RgbdFrame, Symmetry


def _frame(rng: np.random.Generator, stamp_ns: int) -> RecordedFrame:
    rgb = np.full((48, 64, 3), (200, 40, 90), np.uint8)
    depth_m = rng.integers(0, 4000, (48, 64)).astype(np.float32) * np.float32(0.001)
    frame = RgbdFrame(rgb, depth_m, CameraIntrinsics(60.0, 61.0, 31.5, 23.5, 64, 48), stamp_ns, "camera_optical")
    R = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    truth = ObjectTruth(
        1,
        "mug",
        "mug_a",
        compose_pose(R * np.sign(np.linalg.det(R)), rng.normal(size=3)),
        np.array([0.12, 0.1, 0.09]),
        Symmetry(("y",), (1, 1, 2)),
    )
    return RecordedFrame(frame, (truth,))


def test_a_recording_comes_back_as_it_was_written(tmp_path):
    rng = np.random.default_rng(0)
    written = [_frame(rng, stamp) for stamp in (1_000_000_000, 1_100_000_000)]
    assert write_recording(tmp_path / "bag", written) == 2
    read = list(read_recording(tmp_path / "bag"))
    assert [r.frame.stamp_ns for r in read] == [1_000_000_000, 1_100_000_000]
    for before, after in zip(written, read, strict=True):
        np.testing.assert_array_equal(after.frame.depth_m, before.frame.depth_m)  # lossless
        assert np.abs(after.frame.rgb.astype(int) - before.frame.rgb).max() <= 3  # JPEG of a plain colour
        assert after.frame.intrinsics == before.frame.intrinsics
        assert after.frame.frame_id == "camera_optical"
        (a,), (b,) = after.truths, before.truths
        np.testing.assert_allclose(a.T_cam_obj, b.T_cam_obj, atol=1e-12)
        np.testing.assert_array_equal(a.size_m, b.size_m)
        assert (a.category, a.model, a.symmetry) == (b.category, b.model, b.symmetry)


def test_a_folder_that_is_no_recording_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nothing.*rosbag2"):
        list(read_recording(tmp_path / "nothing"))
