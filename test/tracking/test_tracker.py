"""The tracker on simulated detections: steadiness, symmetry, recovery."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from simulated import PERIOD_NS, ROUND, at, detection, masked, measure, run, scene

from mkpose_ros.geometry.rotations import compose_pose, rotation_angle_rad
from mkpose_ros.geometry.symmetry import AXES, symmetric_rotation_error_rad, twist_rad
from mkpose_ros.tracking import Tracker, TrackerConfig
from mkpose_ros.tracking.filter import FilterBank
from mkpose_ros.types import Symmetry


@pytest.mark.parametrize("world", [True, False], ids=["camera pose known", "camera pose unknown"])
def test_tracking_steadies_poses_without_making_them_worse(world):
    history = run(Tracker(), 80, np.random.default_rng(1), world=world)
    for category, rows in history.items():
        symmetry = scene()[category][1]
        raw = [
            symmetric_rotation_error_rad(r, t, symmetry) for t, r in [(x[0][:3, :3], x[1][:3, :3]) for x in rows[20:]]
        ]
        kept = [
            symmetric_rotation_error_rad(r, t, symmetry) for t, r in [(x[0][:3, :3], x[2][:3, :3]) for x in rows[20:]]
        ]
        assert np.median(kept) < np.median(raw) * (0.5 if world else 1.0)
        raw_m = [np.linalg.norm(x[1][:3, 3] - x[0][:3, 3]) for x in rows[20:]]
        kept_m = [np.linalg.norm(x[2][:3, 3] - x[0][:3, 3]) for x in rows[20:]]
        assert np.median(kept_m) < np.median(raw_m) * (0.6 if world else 1.0)


def test_jitter_with_a_known_camera_is_at_most_a_third_of_the_raw_one():
    history = run(Tracker(), 100, np.random.default_rng(2), world=True)
    for category, rows in history.items():
        symmetry = scene()[category][1]

        def jitter(index, rows=rows, symmetry=symmetry):
            # Frame-to-frame change of the error, so that the camera's own motion does not count.
            residual = [x[0][:3, :3].T @ x[index][:3, :3] for x in rows[30:]]
            steps = itertools.pairwise(residual)
            return np.median([symmetric_rotation_error_rad(a, b, symmetry) for a, b in steps])

        assert jitter(2) < jitter(1) / 3


@pytest.mark.parametrize("world", [True, False])
def test_a_symmetric_bottle_never_spins(world):
    history = run(Tracker(), 60, np.random.default_rng(3), world=world)
    relative = [truth[:3, :3].T @ tracked[:3, :3] for truth, _, tracked, _ in history["bottle"]]
    turns = [float(rotation_angle_rad(a, b)) for a, b in itertools.pairwise(relative)]
    assert max(turns) < np.radians(12)  # raw turns are uniform over 180 degrees


def test_a_bottle_that_is_tipped_over_takes_no_turn_about_its_axis():
    """Its covariance says that this turn is unknown: of the axis as it was then, and the axis has moved since."""
    tracker, rng, published = Tracker(), np.random.default_rng(11), []
    for k in range(60):
        tilt = Rotation.from_rotvec([0.0, 0.0, 0.03 * max(k - 20, 0)]).as_matrix()
        pose = detection("bottle", measure(rng, compose_pose(tilt, [0, 0, 1.0]), ROUND), symmetry=ROUND)
        R = pose.T_cam_obj[:3, :3]
        covariance = np.diag([1e-5] * 3 + [0.0] * 3)
        covariance[3:, 3:] = R @ np.diag([0.003, np.pi**2 / 3, 0.003]) @ R.T
        (out,) = tracker.update(at(k * PERIOD_NS), [replace(pose, covariance=covariance)])
        published.append(out.T_cam_obj[:3, :3])
    twists = [float(abs(twist_rad(a.T @ b, AXES["y"]))) for a, b in itertools.pairwise(published)]
    assert max(twists) < np.radians(0.5)
    assert symmetric_rotation_error_rad(published[-1], tilt, ROUND) < np.radians(15)


def test_one_wild_measurement_is_left_out_and_a_lasting_one_believed():
    tracker = Tracker()
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    wild = compose_pose(Rotation.from_euler("x", 170, degrees=True).as_matrix(), [0, 0, 1.0])
    for k in range(20):
        tracker.update(at(k * PERIOD_NS), [detection("mug", T)])
    (out,) = tracker.update(at(20 * PERIOD_NS), [detection("mug", wild)])
    assert rotation_angle_rad(out.T_cam_obj[:3, :3], T[:3, :3]) < np.radians(2)
    for k in range(21, 30):
        (out,) = tracker.update(at(k * PERIOD_NS), [detection("mug", wild)])
    assert rotation_angle_rad(out.T_cam_obj[:3, :3], wild[:3, :3]) < np.radians(2)


def test_a_weak_first_detection_waits_for_evidence():
    tracker = Tracker()
    weak = detection("can", compose_pose(np.eye(3), [0, 0, 1.0]), score=0.4)
    assert tracker.update(at(0), [weak]) == []
    (confirmed,) = tracker.update(at(PERIOD_NS), [weak])
    assert confirmed.track_id == "can_1"


def test_size_converges_over_time():
    tracker, rng = Tracker(), np.random.default_rng(7)
    true_size = np.array([0.12, 0.10, 0.08])
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(60):
        size = true_size * np.exp(rng.normal(0, 0.1, 3))
        (out,) = tracker.update(at(k * PERIOD_NS), [detection("box", T, size_m=size)])
    np.testing.assert_allclose(out.size_m, true_size, rtol=0.06)


def test_a_quarter_turn_of_a_square_box_swaps_its_measured_extents_back():
    square = Symmetry((), (1, 4, 1))
    tracker = Tracker()
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    turned = compose_pose(Rotation.from_euler("y", 90, degrees=True).as_matrix(), [0, 0, 1.0])
    for k in range(30):
        pose, size = (T, (0.10, 0.2, 0.12)) if k % 2 else (turned, (0.12, 0.2, 0.10))
        (out,) = tracker.update(at(k * PERIOD_NS), [detection("box", pose, size_m=size, symmetry=square)])
    assert sorted(np.round(out.size_m, 3)) == [0.10, 0.12, 0.2]


def test_no_objects_is_a_normal_frame():
    tracker = Tracker()
    assert tracker.update(at(0), []) == []
    assert tracker.tracks == {}


def test_what_is_a_bottle_for_most_frames_has_a_bottles_symmetry_and_does_not_turn_by_a_boxs_corners():
    tracker, published = Tracker(), []
    for k in range(30):
        turn = Rotation.from_euler("y", 0 if k % 3 else 50, degrees=True).as_matrix()
        kind, symmetry = ("bottle", ROUND) if k % 3 else ("box", Symmetry((), (2, 2, 2)))
        pose = replace(masked(kind, 20), symmetry=symmetry, T_cam_obj=compose_pose(turn, [0, 0, 1.0]))
        if k == 0:
            pose = replace(pose, score=0.1)
        published += tracker.update(at(k * PERIOD_NS), [pose])
    late = published[10:]
    assert {o.category for o in late} == {"bottle"}
    assert {o.symmetry for o in late} == {ROUND}
    turns = [float(rotation_angle_rad(a.T_cam_obj[:3, :3], b.T_cam_obj[:3, :3])) for a, b in itertools.pairwise(late)]
    assert max(turns) < np.radians(1)


def test_a_can_seen_upside_down_every_third_frame_is_never_published_in_between():
    tracker, rng = Tracker(), np.random.default_rng(8)
    upright = compose_pose(np.eye(3), [0, 0, 1.0])
    flipped = compose_pose(np.diag([1.0, -1.0, -1.0]), [0, 0, 1.0])
    for k in range(60):
        truth = flipped if k % 3 == 2 else upright
        (out,) = tracker.update(at(k * PERIOD_NS), [detection("can", measure(rng, truth, ROUND), symmetry=ROUND)])
        assert symmetric_rotation_error_rad(out.T_cam_obj[:3, :3], np.eye(3), ROUND) < np.radians(15)


def test_orientations_stay_rotations_after_thousands_of_changes_of_mind():
    tracker, rng = Tracker(TrackerConfig(vote_memory_s=0.05)), np.random.default_rng(10)
    for k in range(2000):
        R = Rotation.from_euler("x", 180 * (k // 3 % 2), degrees=True) * Rotation.from_rotvec(rng.normal(0, 0.05, 3))
        (out,) = tracker.update(at(k * PERIOD_NS), [detection("mug", compose_pose(R.as_matrix(), [0, 0, 1.0]))])
    R = out.T_cam_obj[:3, :3]
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("sigma_rad", [0.1, 9.0], ids=["after a minute out of sight", "as measured"])
def test_no_orientation_is_less_certain_than_one_of_which_nothing_is_known(sigma_rad):
    filters = FilterBank(TrackerConfig())
    covariance = np.diag(np.repeat(np.square([0.005, sigma_rad]), 3))[None]
    filters.add(np.eye(4)[None], covariance, np.full((1, 3), 0.1))
    for _ in range(60):
        filters.predict(1.0, at_rest=False)
    (after,) = filters.covariances
    assert np.diag(after)[3:].max() == pytest.approx(np.pi**2 / 3)
    assert np.linalg.eigvalsh(after).min() > 0.0
