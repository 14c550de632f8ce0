"""Figures of steadiness on histories made by hand, where every one of them is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.evaluation.steadiness import follow_frame, measure, recoveries
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.types import CameraIntrinsics, FrameSample, ObjectPose, ObjectTruth, RgbdFrame, Symmetry

ROUND, NONE = Symmetry(("y",)), Symmetry()


def _turn(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def _sample(index: int, *, symmetry: Symmetry = NONE, hidden: bool = False) -> FrameSample:
    """One mug that turns by 5 degrees a frame, on the left half of a small picture."""
    ids = np.zeros((8, 8), np.int32)
    ids[:, :4] = 0 if hidden else 3
    T = compose_pose(_turn("z", 5.0 * index), [0.01 * index, 0.0, 1.0])
    truth = ObjectTruth(3, "mug", "mug_a", T, np.full(3, 0.1), symmetry)
    blank = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.float32)
    frame = RgbdFrame(*blank, CameraIntrinsics(8, 8, 4, 4, 8, 8), index * 100_000_000)
    return FrameSample(frame, ids, () if hidden else (truth,), f"x/{index}")


def _pose(sample: FrameSample, error: np.ndarray, *, shift_m: float = 0.0, track_id: str = "mug_1") -> ObjectPose:
    (truth,) = sample.objects
    T = truth.T_cam_obj @ compose_pose(error, [shift_m, 0.0, 0.0])
    mask = sample.instance_ids == 3
    box, none = np.zeros(4, np.float32), np.zeros((0, 3), np.float32)
    return ObjectPose("mug", 0.9, T, np.full(3, 0.1), np.eye(6), truth.symmetry, box, none, mask, track_id)


def follow(samples, poses) -> dict:
    history = {}
    for index, (sample, found) in enumerate(zip(samples, poses, strict=True)):
        follow_frame(history, index, sample, found)
    return history


def test_errors_and_jitter_are_those_put_in_whatever_the_object_does():
    samples = [_sample(k) for k in range(9)]
    poses = [[_pose(s, _turn("x", 4.0 if k % 2 else 10.0), shift_m=0.002 * (k % 2))] for k, s in enumerate(samples)]
    figures = measure(follow(samples, poses))
    assert (figures.object_frames, figures.id_switches, figures.flips) == (9, 0, 0)
    assert figures.median_rotation_deg == pytest.approx(10.0)
    assert figures.jitter_deg == pytest.approx(6.0)
    assert figures.mean_jitter_deg == pytest.approx(6.0)
    assert figures.jitter_mm == pytest.approx(2.0)


def test_a_changed_id_is_a_switch_and_a_turn_upside_down_a_flip():
    samples = [_sample(k) for k in range(6)]
    poses = [
        [_pose(s, _turn("x", 180.0 if k == 3 else 0.0), track_id="mug_1" if k < 4 else "mug_2")]
        for k, s in enumerate(samples)
    ]
    figures = measure(follow(samples, poses))
    assert (figures.id_switches, figures.flips) == (1, 2)
    assert figures.as_dict()["switches_per_1000"] == pytest.approx(1000 / 6)


def test_two_tracks_on_one_object_are_counted_as_such_and_no_switch_while_the_first_lasts():
    samples, poses = [_sample(k) for k in range(6)], []
    for k, sample in enumerate(samples):
        first, second = _pose(sample, np.eye(3)), _pose(sample, np.eye(3), track_id="mug_2")
        poses.append([first, replace(second, score=0.8 + 0.15 * (k % 2))] if k < 4 else [second])
    figures = measure(follow(samples, poses))
    assert figures.id_switches == 1  # when mug_1 ends
    assert figures.doubled == pytest.approx(4 / 6)


def test_a_bottle_that_spins_has_no_jitter_but_its_spin_is_seen():
    samples = [_sample(k, symmetry=ROUND) for k in range(4)]
    figures = measure(follow(samples, [[_pose(s, _turn("y", 30.0 * k))] for k, s in enumerate(samples)]))
    assert figures.jitter_deg == pytest.approx(0.0, abs=1e-6)
    assert figures.spin_deg == pytest.approx(30.0)


def test_a_pose_whose_mask_lies_elsewhere_belongs_to_nothing():
    samples = [_sample(0)]
    stray = replace(_pose(samples[0], np.eye(3)), mask=samples[0].instance_ids == 0)
    assert follow(samples, [[stray]]) == {}


@pytest.mark.parametrize(
    ("ids", "expected"), [(["mug_1"] * 3, 1), (["mug_9", "mug_1", "mug_1"], 2), (["mug_9"] * 3, 0)]
)
def test_recovery_counts_frames_until_the_old_id_is_back(ids, expected):
    samples = [_sample(k, hidden=2 <= k < 22) for k in range(25)]
    shown = {0: "mug_1", 1: "mug_1", **dict(zip(range(22, 25), ids, strict=True))}
    tracked = [[_pose(s, np.eye(3), track_id=shown[k])] if k in shown else [] for k, s in enumerate(samples)]
    history = follow(samples, tracked)
    assert recoveries([s.frame.stamp_ns for s in samples], history, history) == [expected]


def test_only_what_both_histories_have_is_compared():
    samples = [_sample(k) for k in range(3)]
    history = follow(samples, [[_pose(s, _turn("x", 10.0 * k))] for k, s in enumerate(samples)])
    assert measure(history, {("mug_a/3", 1)}).median_rotation_deg == pytest.approx(10.0)
