"""Tracks where nothing tells the camera's pose: what is out of sight moves as what is in sight."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation
from simulated import NONE, PERIOD_NS, ROUND, at, detection

from mkpose_ros.geometry.rotations import compose_pose, invert_pose
from mkpose_ros.tracking import Tracker
from mkpose_ros.tracking.motion import common_motion

PLACES_M = {"mug": (0.1, 0.0, 0.0), "bottle": (-0.15, 0.1, 0.0), "bowl": (0.0, -0.2, 0.0), "can": (0.2, 0.2, 0.0)}


def _standing(category: str) -> np.ndarray:
    return compose_pose(np.eye(3), PLACES_M[category])


def _passing(time_s: float) -> np.ndarray:
    """T_world_cam of a camera that stands 1 m above the table for two seconds, then goes and turns about its axis."""
    look_down, gone_s = Rotation.from_euler("x", 180, degrees=True), max(time_s - 2.0, 0.0)
    return compose_pose((look_down * Rotation.from_euler("z", 0.15 * gone_s)).as_matrix(), [0.3 * gone_s, 0.0, 1.0])


def _views(time_s: float, categories) -> list:
    T_cam_world = invert_pose(_passing(time_s))
    return [detection(c, T_cam_world @ _standing(c)) for c in categories]


def test_the_motion_that_all_share_is_found_whatever_a_bottle_seems_to_turn_about_its_axis():
    T = compose_pose(Rotation.from_rotvec([0.02, -0.05, 0.04]).as_matrix(), [0.03, -0.02, 0.01])
    before = np.stack([_standing(c) for c in ("mug", "bottle")])
    after = T @ before
    after[1, :3, :3] = after[1, :3, :3] @ Rotation.from_euler("y", 0.1).as_matrix()
    found = common_motion(before, after, np.full((2, 3), 0.1), (NONE, ROUND), np.ones(2))
    np.testing.assert_allclose(found, T, atol=2e-4)


def test_one_bottle_alone_tells_no_turn_about_its_axis():
    before = compose_pose(np.eye(3), [0.0, 0.0, 1.0])[None]
    after = before.copy()
    after[0, 0, 3] = 0.01
    found = common_motion(before, after, np.full((1, 3), 0.1), (ROUND,), np.ones(1))
    np.testing.assert_allclose(found, compose_pose(np.eye(3), [0.01, 0.0, 0.0]), atol=1e-9)


def test_an_object_is_found_again_where_the_camera_that_nobody_told_of_has_moved_on():
    tracker = Tracker()
    for k in range(60):
        categories = [c for c in PLACES_M if c != "mug" or not 20 <= k < 45]  # hidden while the camera goes 0.7 m
        out = tracker.update(at(k * PERIOD_NS), _views(0.1 * k, categories))
        assert {o.track_id for o in out} == {f"{c}_1" for c in categories}


def test_one_thing_that_is_carried_away_takes_along_nothing_that_is_hidden():
    tracker = Tracker()
    for k in range(40):
        mug = detection("mug", compose_pose(np.eye(3), [0.3 + 0.02 * max(k - 15, 0), 0.0, 1.0]))
        bottle = detection("bottle", compose_pose(np.eye(3), [0.0, 0.0, 1.0]))
        out = tracker.update(at(k * PERIOD_NS), [mug, bottle] if not 15 <= k < 35 else [mug])
    assert {o.track_id for o in out} == {"mug_1", "bottle_1"}


def test_what_has_moved_by_itself_for_long_says_little_about_the_camera():
    tracker, T = Tracker(), compose_pose(np.eye(3), [0.0, 0.0, 1.0])
    rest = {"bottle": (-0.2, 0.1, 1.0), "bowl": (0.0, -0.2, 1.0), "can": (0.2, 0.2, 1.0)}
    for k in range(70):
        things = [detection(c, compose_pose(np.eye(3), p)) for c, p in rest.items() if c == "bottle" or k < 30]
        board = detection("box", compose_pose(np.eye(3), [-0.9 + 0.03 * k, 0.0, 0.7]))
        mug = [detection("mug", T)] if k < 25 or k >= 65 else []
        out = tracker.update(at(k * PERIOD_NS), [*things, board, *mug])
    assert "mug_1" in {o.track_id for o in out}


def test_a_camera_that_becomes_known_or_unknown_moves_no_track():
    tracker = Tracker()
    for k in range(60):
        categories = [c for c in PLACES_M if c != "mug" or not 20 <= k < 45]
        frame = at(k * PERIOD_NS, _passing(0.1 * k) if k % 10 < 5 else None)
        out = tracker.update(frame, _views(0.1 * k, categories))
        assert {o.track_id for o in out} == {f"{c}_1" for c in categories}


def test_a_hidden_object_keeps_its_id_for_long_and_one_that_was_taken_away_does_not():
    def ids(depth_m: float) -> set[str]:
        tracker, mug = Tracker(), detection("mug", compose_pose(np.eye(3), [0.0, 0.0, 1.0]))
        for k in range(200):
            frame = replace(at(k * PERIOD_NS, np.eye(4)), depth_m=np.full((4, 4), depth_m, np.float32))
            out = tracker.update(frame, [mug] if k < 10 or k >= 190 else [])
        return {o.track_id for o in out}

    assert ids(0.5) == {"mug_1"}  # a board before it for 18 s
    assert ids(1.5) == {"mug_2"}  # nothing before the wall behind it
