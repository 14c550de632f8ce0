"""The tracker on simulated detections: identity, steadiness, symmetry, occlusion, recovery."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.rotations import compose_pose, invert_pose, rotation_angle_rad
from mkpose_ros.geometry.symmetry import AXES, symmetric_rotation_error_rad, twist_rad
from mkpose_ros.tracking import Tracker, TrackerConfig
from mkpose_ros.types import CameraIntrinsics, ObjectPose, RgbdFrame, Symmetry

ROUND = Symmetry(("y",))
NONE = Symmetry()
PERIOD_NS = 100_000_000


def _object(
    category, T_cam_obj, *, symmetry=NONE, score=0.9, size_m=(0.1, 0.1, 0.1), sigma=(0.005, 0.05)
) -> ObjectPose:
    covariance = np.diag(np.repeat(np.square(sigma), 3))
    mask, box = None, np.zeros(4, np.float32)
    size = np.asarray(size_m, float)
    return ObjectPose(category, score, T_cam_obj, size, covariance, symmetry, box, np.zeros((0, 3), np.float32), mask)


def _at(stamp_ns: int, T_world_cam: np.ndarray | None = None) -> RgbdFrame:
    blank = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)
    return RgbdFrame(*blank, CameraIntrinsics(5, 5, 2, 2, 4, 4), stamp_ns, "camera", T_world_cam)


def _camera(time_s: float) -> np.ndarray:
    """T_world_cam of a camera that sways 1 m above a table, looking down."""
    look_down = Rotation.from_euler("x", 180, degrees=True)
    sway = Rotation.from_rotvec([0.2 * np.sin(time_s), 0.2 * np.cos(0.7 * time_s), 0.3 * np.sin(0.5 * time_s)])
    return compose_pose((sway * look_down).as_matrix(), [0.1 * np.sin(time_s), 0.1 * np.cos(time_s), 1.0])


def _measure(rng, T_cam_obj, symmetry, sigma_m=0.004, sigma_rad=0.06) -> np.ndarray:
    """A pose with noise, and about a continuous axis with any turn at all."""
    R = T_cam_obj[:3, :3]
    if symmetry.infinite_axes:
        R = R @ Rotation.from_rotvec([0, rng.uniform(-np.pi, np.pi), 0]).as_matrix()
    R = Rotation.from_rotvec(rng.normal(0, sigma_rad, 3)).as_matrix() @ R
    return compose_pose(R, T_cam_obj[:3, 3] + rng.normal(0, sigma_m, 3))


def _scene() -> dict[str, tuple[np.ndarray, Symmetry]]:
    return {
        "mug": (compose_pose(Rotation.from_euler("y", 40, degrees=True).as_matrix(), [0.1, 0.0, 0.0]), NONE),
        "bottle": (compose_pose(np.eye(3), [-0.15, 0.1, 0.0]), ROUND),
        "bowl": (compose_pose(Rotation.from_euler("x", 10, degrees=True).as_matrix(), [0.0, -0.2, 0.0]), ROUND),
    }


def _run(tracker, frames, rng, *, world: bool):
    """Raw and tracked poses of the scene over time: {category: [(truth, raw, tracked, track_id)]}."""
    history = {category: [] for category in _scene()}
    for k in range(frames):
        T_world_cam = _camera(k * 0.1)
        truth = {c: (invert_pose(T_world_cam) @ T, s) for c, (T, s) in _scene().items()}
        raw = [_object(c, _measure(rng, T, s), symmetry=s, sigma=(0.004, 0.06)) for c, (T, s) in truth.items()]
        tracked = tracker.update(_at(k * PERIOD_NS, T_world_cam if world else None), raw)
        for r, t in zip(raw, tracked, strict=True):
            history[r.category].append((truth[r.category][0], r.T_cam_obj, t.T_cam_obj, t.track_id))
    return history


@pytest.mark.parametrize("world", [True, False], ids=["camera pose known", "camera pose unknown"])
def test_tracking_steadies_poses_without_making_them_worse(world):
    history = _run(Tracker(), 80, np.random.default_rng(1), world=world)
    for category, rows in history.items():
        symmetry = _scene()[category][1]
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
    history = _run(Tracker(), 100, np.random.default_rng(2), world=True)
    for category, rows in history.items():
        symmetry = _scene()[category][1]

        def jitter(index, rows=rows, symmetry=symmetry):
            # Frame-to-frame change of the error, so that the camera's own motion does not count.
            residual = [x[0][:3, :3].T @ x[index][:3, :3] for x in rows[30:]]
            steps = itertools.pairwise(residual)
            return np.median([symmetric_rotation_error_rad(a, b, symmetry) for a, b in steps])

        assert jitter(2) < jitter(1) / 3


@pytest.mark.parametrize("world", [True, False])
def test_a_symmetric_bottle_never_spins(world):
    history = _run(Tracker(), 60, np.random.default_rng(3), world=world)
    relative = [truth[:3, :3].T @ tracked[:3, :3] for truth, _, tracked, _ in history["bottle"]]
    turns = [float(rotation_angle_rad(a, b)) for a, b in itertools.pairwise(relative)]
    assert max(turns) < np.radians(12)  # raw turns are uniform over 180 degrees


def test_a_bottle_that_is_tipped_over_takes_no_turn_about_its_axis():
    """Its covariance says that this turn is unknown: of the axis as it was then, and the axis has moved since."""
    tracker, rng, published = Tracker(), np.random.default_rng(11), []
    for k in range(60):
        tilt = Rotation.from_rotvec([0.0, 0.0, 0.03 * max(k - 20, 0)]).as_matrix()
        pose = _object("bottle", _measure(rng, compose_pose(tilt, [0, 0, 1.0]), ROUND), symmetry=ROUND)
        R = pose.T_cam_obj[:3, :3]
        covariance = np.diag([1e-5] * 3 + [0.0] * 3)
        covariance[3:, 3:] = R @ np.diag([0.003, np.pi**2 / 3, 0.003]) @ R.T
        (out,) = tracker.update(_at(k * PERIOD_NS), [replace(pose, covariance=covariance)])
        published.append(out.T_cam_obj[:3, :3])
    twists = [float(abs(twist_rad(a.T @ b, AXES["y"]))) for a, b in itertools.pairwise(published)]
    assert max(twists) < np.radians(0.5)
    assert symmetric_rotation_error_rad(published[-1], tilt, ROUND) < np.radians(15)


def test_an_object_split_in_two_is_one_object_and_keeps_its_id():
    tracker = Tracker()
    for k in range(10):
        tracker.update(_at(k * PERIOD_NS), [_masked("bottle", 20)])
    half = _masked("can", 42, x_m=0.02)  # of other pixels, but a box can't stand in a box of its size
    for k in range(10, 20):
        out = tracker.update(_at(k * PERIOD_NS), [_masked("bottle", 20), half])
        assert [o.track_id for o in out] == ["bottle_1"]


def test_an_object_split_in_two_when_it_is_first_seen_gets_one_id():
    out = Tracker().update(_at(0), [_masked("bottle", 20), _masked("can", 42, x_m=0.02, score=0.8)])
    assert [o.track_id for o in out] == ["bottle_1"]


def test_a_track_that_began_on_half_an_object_ends_when_the_older_one_covers_it():
    tracker = Tracker()
    half = replace(_masked("glass", 44, x_m=0.085), size_m=np.array([0.05, 0.1, 0.05]))  # beside the mug, as it seems
    for k in range(10):
        tracker.update(_at(k * PERIOD_NS), [_masked("mug", 20)])
    tracker.update(_at(10 * PERIOD_NS), [half])
    grown = replace(half, size_m=np.array([0.1, 0.1, 0.1]), T_cam_obj=compose_pose(np.eye(3), [0.04, 0, 1.0]))
    for k in range(11, 40):
        tracker.update(_at(k * PERIOD_NS), [grown])
    for k in range(40, 60):
        tracker.update(_at(k * PERIOD_NS), [_masked("mug", 20)])
    assert len(tracker.tracks) == 1


def test_ids_stay_with_their_objects_and_count_per_category():
    history = _run(Tracker(), 50, np.random.default_rng(4), world=False)
    assert {c: {row[3] for row in rows} for c, rows in history.items()} == {
        "mug": {"mug_1"},
        "bottle": {"bottle_1"},
        "bowl": {"bowl_1"},
    }


def test_two_mugs_that_come_close_keep_their_ids():
    tracker, rng = Tracker(), np.random.default_rng(5)
    ids = []
    for k in range(40):
        gap_m = 0.3 * abs(1 - k / 20) + 0.11
        mugs = [_object("mug", compose_pose(np.eye(3), [x, 0, 1.0] + rng.normal(0, 0.003, 3))) for x in (0.0, gap_m)]
        out = tracker.update(_at(k * PERIOD_NS), mugs if k % 2 else mugs[::-1])
        ids.append(tuple(o.track_id for o in sorted(out, key=lambda o: o.T_cam_obj[0, 3])))
    assert set(ids) == {ids[0]}
    assert len(set(ids[0])) == 2


def test_an_object_comes_back_with_its_id_after_two_seconds_out_of_sight():
    tracker, rng = Tracker(), np.random.default_rng(6)
    T = compose_pose(np.eye(3), [0.0, 0.0, 1.0])
    stamp = 0
    for _ in range(20):
        (seen,) = tracker.update(_at(stamp), [_object("mug", _measure(rng, T, NONE))])
        stamp += PERIOD_NS
    for _ in range(20):
        assert tracker.update(_at(stamp), []) == []
        stamp += PERIOD_NS
    for _ in range(3):
        (back,) = tracker.update(_at(stamp), [_object("mug", _measure(rng, T, NONE))])
        stamp += PERIOD_NS
    assert back.track_id == seen.track_id
    assert rotation_angle_rad(back.T_cam_obj[:3, :3], T[:3, :3]) < np.radians(8)


def test_a_forgotten_id_is_never_given_again():
    tracker = Tracker(TrackerConfig(max_occlusion_s=0.5))
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    (first,) = tracker.update(_at(0), [_object("mug", T)])
    assert tracker.update(_at(10 * PERIOD_NS), []) == []
    (second,) = tracker.update(_at(11 * PERIOD_NS), [_object("mug", T)])
    tracker.update(_at(0), [_object("mug", T)])  # time went backwards: tracks are forgotten, ids are not
    (third,) = tracker.update(_at(PERIOD_NS), [_object("mug", T)])
    assert (first.track_id, second.track_id, third.track_id) == ("mug_1", "mug_2", "mug_3")


def test_one_wild_measurement_is_left_out_and_a_lasting_one_believed():
    tracker = Tracker()
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    wild = compose_pose(Rotation.from_euler("x", 170, degrees=True).as_matrix(), [0, 0, 1.0])
    for k in range(20):
        tracker.update(_at(k * PERIOD_NS), [_object("mug", T)])
    (out,) = tracker.update(_at(20 * PERIOD_NS), [_object("mug", wild)])
    assert rotation_angle_rad(out.T_cam_obj[:3, :3], T[:3, :3]) < np.radians(2)
    for k in range(21, 30):
        (out,) = tracker.update(_at(k * PERIOD_NS), [_object("mug", wild)])
    assert rotation_angle_rad(out.T_cam_obj[:3, :3], wild[:3, :3]) < np.radians(2)


def test_a_weak_first_detection_waits_for_evidence():
    tracker = Tracker()
    weak = _object("can", compose_pose(np.eye(3), [0, 0, 1.0]), score=0.4)
    assert tracker.update(_at(0), [weak]) == []
    (confirmed,) = tracker.update(_at(PERIOD_NS), [weak])
    assert confirmed.track_id == "can_1"


def test_size_converges_over_time():
    tracker, rng = Tracker(), np.random.default_rng(7)
    true_size = np.array([0.12, 0.10, 0.08])
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(60):
        size = true_size * np.exp(rng.normal(0, 0.1, 3))
        (out,) = tracker.update(_at(k * PERIOD_NS), [_object("box", T, size_m=size)])
    np.testing.assert_allclose(out.size_m, true_size, rtol=0.06)


def test_a_quarter_turn_of_a_square_box_swaps_its_measured_extents_back():
    square = Symmetry((), (1, 4, 1))
    tracker = Tracker()
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    turned = compose_pose(Rotation.from_euler("y", 90, degrees=True).as_matrix(), [0, 0, 1.0])
    for k in range(30):
        pose, size = (T, (0.10, 0.2, 0.12)) if k % 2 else (turned, (0.12, 0.2, 0.10))
        (out,) = tracker.update(_at(k * PERIOD_NS), [_object("box", pose, size_m=size, symmetry=square)])
    assert sorted(np.round(out.size_m, 3)) == [0.10, 0.12, 0.2]


def test_no_objects_is_a_normal_frame():
    tracker = Tracker()
    assert tracker.update(_at(0), []) == []
    assert tracker.tracks == {}


def test_another_thing_beside_a_track_gets_an_id_of_its_own():
    tracker = Tracker()
    tracker.update(_at(0), [_object("mug", compose_pose(np.eye(3), [0, 0, 1.0]))])
    (out,) = tracker.update(_at(PERIOD_NS), [_object("cup", compose_pose(np.eye(3), [0.09, 0, 1.0]))])
    assert out.track_id == "cup_1"


def test_an_object_that_comes_back_under_another_category_keeps_its_id():
    tracker, T = Tracker(), compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(10):
        tracker.update(_at(k * PERIOD_NS), [_object("bowl", T, size_m=(0.14, 0.12, 0.12))])
    glass = _object("glass", compose_pose(np.eye(3), [0.04, 0, 1.02]), size_m=(0.15, 0.09, 0.16))
    (out,) = tracker.update(_at(40 * PERIOD_NS), [glass])
    assert (out.track_id, out.category) == ("bowl_1", "bowl")


def test_a_mask_in_its_place_keeps_the_id_when_the_depth_is_that_of_what_hides_it():
    tracker, T = Tracker(), compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(20):
        tracker.update(_at(k * PERIOD_NS, np.eye(4)), [_masked("bowl", 20)])
    before_it = replace(_masked("camera", 24), T_cam_obj=compose_pose(np.eye(3), [0, 0, 0.6]))
    for k in range(20, 26):
        (out,) = tracker.update(_at(k * PERIOD_NS, np.eye(4)), [before_it])
        assert (out.track_id, out.category) == ("bowl_1", "bowl")
        np.testing.assert_allclose(out.T_cam_obj, T, atol=1e-3)


def test_a_mask_is_looked_for_where_the_moving_camera_sees_it():
    tracker, jump = Tracker(), compose_pose(np.eye(3), [2.0, 0.0, 0.0])  # 10 pixels of the picture's focal length of 5
    T_world_obj = compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(10):
        tracker.update(_at(k * PERIOD_NS, np.eye(4)), [_masked("bowl", 20)])
    wrong_depth = compose_pose(np.eye(3), [-2.0, 0, 0.6])
    moved = replace(_masked("can", 10), T_cam_obj=wrong_depth)
    assert np.allclose((invert_pose(jump) @ T_world_obj)[0, 3], -2.0)
    (out,) = tracker.update(_at(10 * PERIOD_NS, jump), [moved])
    assert out.track_id == "bowl_1"


def test_what_is_a_bottle_for_most_frames_has_a_bottles_symmetry_and_does_not_turn_by_a_boxs_corners():
    tracker, published = Tracker(), []
    for k in range(30):
        turn = Rotation.from_euler("y", 0 if k % 3 else 50, degrees=True).as_matrix()
        kind, symmetry = ("bottle", ROUND) if k % 3 else ("box", Symmetry((), (2, 2, 2)))
        pose = replace(_masked(kind, 20), symmetry=symmetry, T_cam_obj=compose_pose(turn, [0, 0, 1.0]))
        if k == 0:
            pose = replace(pose, score=0.1)
        published += tracker.update(_at(k * PERIOD_NS), [pose])
    late = published[10:]
    assert {o.category for o in late} == {"bottle"}
    assert {o.symmetry for o in late} == {ROUND}
    turns = [float(rotation_angle_rad(a.T_cam_obj[:3, :3], b.T_cam_obj[:3, :3])) for a, b in itertools.pairwise(late)]
    assert max(turns) < np.radians(1)


def _masked(category: str, x0: int, *, x_m: float = 0.0, score: float = 0.9) -> ObjectPose:
    mask = np.zeros((48, 64), bool)
    mask[10:30, x0 : x0 + 20] = True
    pose = _object(category, compose_pose(np.eye(3), [x_m, 0, 1.0]), score=score)
    return replace(pose, mask=mask, box2d=np.float32([x0, 10, x0 + 20, 30]))


def test_an_object_whose_category_flickers_keeps_its_id_and_its_commoner_category():
    tracker = Tracker()
    seen = ["bottle", "can", "bottle", "bottle", "can", "bottle", "can", "bottle", "bottle"]
    out = [tracker.update(_at(k * PERIOD_NS), [_masked(c, 20)])[0] for k, c in enumerate(seen)]
    assert {o.track_id for o in out} == {"bottle_1"}
    assert {o.category for o in out} == {"bottle"}


def test_a_can_that_stands_for_a_bottle_long_enough_becomes_a_can_under_the_same_id():
    tracker = Tracker()
    for k, category in enumerate(["bottle"] * 5 + ["can"] * 20):
        (out,) = tracker.update(_at(k * PERIOD_NS), [_masked(category, 20)])
    assert (out.category, out.track_id) == ("can", "bottle_1")


def test_another_thing_in_a_bowl_is_no_bowl():
    tracker = Tracker()
    tracker.update(_at(0), [replace(_masked("bowl", 10), size_m=np.array([0.22, 0.1, 0.22]))])
    inside = replace(_masked("can", 24), T_cam_obj=compose_pose(np.eye(3), [0.01, 0, 1.0]))  # IoU of masks 0.18
    inside = replace(inside, size_m=np.array([0.07, 0.1, 0.07]))
    (out,) = tracker.update(_at(PERIOD_NS), [inside])
    assert out.track_id == "can_1"


def test_a_can_seen_upside_down_every_third_frame_is_never_published_in_between():
    tracker, rng = Tracker(), np.random.default_rng(8)
    upright = compose_pose(np.eye(3), [0, 0, 1.0])
    flipped = compose_pose(np.diag([1.0, -1.0, -1.0]), [0, 0, 1.0])
    for k in range(60):
        truth = flipped if k % 3 == 2 else upright
        (out,) = tracker.update(_at(k * PERIOD_NS), [_object("can", _measure(rng, truth, ROUND), symmetry=ROUND)])
        assert symmetric_rotation_error_rad(out.T_cam_obj[:3, :3], np.eye(3), ROUND) < np.radians(15)


def test_a_transform_that_comes_and_goes_costs_no_id():
    tracker, rng = Tracker(), np.random.default_rng(9)
    T_world_obj, ids, errors_m = compose_pose(np.eye(3), [0.1, 0.0, 0.0]), set(), []
    for k in range(40):
        T_cam_obj = invert_pose(_camera(k * 0.1)) @ T_world_obj
        known = _camera(k * 0.1) if k % 10 < 7 else None
        (out,) = tracker.update(_at(k * PERIOD_NS, known), [_object("mug", _measure(rng, T_cam_obj, NONE))])
        ids.add(out.track_id)
        errors_m.append(np.linalg.norm(out.T_cam_obj[:3, 3] - T_cam_obj[:3, 3]))
    assert ids == {"mug_1"}
    assert max(errors_m[10:]) < 0.03


def test_orientations_stay_rotations_after_thousands_of_changes_of_mind():
    tracker, rng = Tracker(TrackerConfig(vote_memory_s=0.05)), np.random.default_rng(10)
    for k in range(2000):
        R = Rotation.from_euler("x", 180 * (k // 3 % 2), degrees=True) * Rotation.from_rotvec(rng.normal(0, 0.05, 3))
        (out,) = tracker.update(_at(k * PERIOD_NS), [_object("mug", compose_pose(R.as_matrix(), [0, 0, 1.0]))])
    R = out.T_cam_obj[:3, :3]
    np.testing.assert_allclose(R.T @ R, np.eye(3), atol=1e-12)
