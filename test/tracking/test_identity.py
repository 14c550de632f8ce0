"""The tracker on simulated detections: which thing is which, whatever it is called and whatever hides it."""

from dataclasses import replace

import numpy as np
from simulated import NONE, PERIOD_NS, at, camera, detection, masked, measure, run

from mkpose_ros.geometry.rotations import compose_pose, invert_pose, rotation_angle_rad
from mkpose_ros.tracking import Tracker, TrackerConfig


def test_an_object_split_in_two_is_one_object_and_keeps_its_id():
    tracker = Tracker()
    for k in range(10):
        tracker.update(at(k * PERIOD_NS), [masked("bottle", 20)])
    half = masked("can", 42, x_m=0.02)  # of other pixels, but a box can't stand in a box of its size
    for k in range(10, 20):
        out = tracker.update(at(k * PERIOD_NS), [masked("bottle", 20), half])
        assert [o.track_id for o in out] == ["bottle_1"]


def test_an_object_split_in_two_when_it_is_first_seen_gets_one_id():
    out = Tracker().update(at(0), [masked("bottle", 20), masked("can", 42, x_m=0.02, score=0.8)])
    assert [o.track_id for o in out] == ["bottle_1"]


def test_a_track_that_began_on_half_an_object_ends_when_the_older_one_covers_it():
    tracker = Tracker()
    half = replace(masked("glass", 44, x_m=0.085), size_m=np.array([0.05, 0.1, 0.05]))  # beside the mug, as it seems
    for k in range(10):
        tracker.update(at(k * PERIOD_NS), [masked("mug", 20)])
    tracker.update(at(10 * PERIOD_NS), [half])
    grown = replace(half, size_m=np.array([0.1, 0.1, 0.1]), T_cam_obj=compose_pose(np.eye(3), [0.04, 0, 1.0]))
    for k in range(11, 40):
        tracker.update(at(k * PERIOD_NS), [grown])
    for k in range(40, 60):
        tracker.update(at(k * PERIOD_NS), [masked("mug", 20)])
    assert len(tracker.tracks) == 1


def test_ids_stay_with_their_objects_and_count_per_category():
    history = run(Tracker(), 50, np.random.default_rng(4), world=False)
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
        mugs = [detection("mug", compose_pose(np.eye(3), [x, 0, 1.0] + rng.normal(0, 0.003, 3))) for x in (0.0, gap_m)]
        out = tracker.update(at(k * PERIOD_NS), mugs if k % 2 else mugs[::-1])
        ids.append(tuple(o.track_id for o in sorted(out, key=lambda o: o.T_cam_obj[0, 3])))
    assert set(ids) == {ids[0]}
    assert len(set(ids[0])) == 2


def test_an_object_comes_back_with_its_id_after_two_seconds_out_of_sight():
    tracker, rng = Tracker(), np.random.default_rng(6)
    T = compose_pose(np.eye(3), [0.0, 0.0, 1.0])
    stamp = 0
    for _ in range(20):
        (seen,) = tracker.update(at(stamp), [detection("mug", measure(rng, T, NONE))])
        stamp += PERIOD_NS
    for _ in range(20):
        assert tracker.update(at(stamp), []) == []
        stamp += PERIOD_NS
    for _ in range(3):
        (back,) = tracker.update(at(stamp), [detection("mug", measure(rng, T, NONE))])
        stamp += PERIOD_NS
    assert back.track_id == seen.track_id
    assert rotation_angle_rad(back.T_cam_obj[:3, :3], T[:3, :3]) < np.radians(8)


def test_an_object_seen_for_long_is_expected_where_it_is_in_a_later_picture():
    tracker, frames = Tracker(), [at(k * PERIOD_NS) for k in range(11)]
    for frame in frames[:10]:
        assert tracker.expected(frame) == {}  # of a glimpse nothing is expected
        tracker.update(frame, [masked("mug", 20), masked("can", 60, x_m=0.2)])
    tracker.update(frames[10], [masked("can", 60, x_m=0.2)])  # the mug is hidden
    k = frames[10].intrinsics
    for category, x_m in (("mug", 0.0), ("can", 0.2)):
        assert np.allclose(tracker.expected(frames[10])[category], [[k.cx + k.fx * x_m, k.cy]], atol=0.1)


def test_an_object_is_expected_where_the_camera_has_moved_to():
    tracker, moved = Tracker(), compose_pose(np.eye(3), [0.1, 0.0, 0.0])
    for k in range(10):
        tracker.update(replace(at(k * PERIOD_NS), T_world_cam=np.eye(4)), [masked("mug", 20)])
    later = replace(at(10 * PERIOD_NS), T_world_cam=moved)
    (pixel,) = tracker.expected(later)["mug"]
    (before,) = tracker.expected(replace(later, T_world_cam=None))["mug"]
    away = replace(later, T_world_cam=compose_pose(np.eye(3), [2.0, 0.0, 0.0]))
    assert tracker.expected(away) == {}  # out of the picture
    assert np.allclose(before - pixel, [0.1 * later.intrinsics.fx, 0.0], atol=0.05)


def test_a_forgotten_id_is_never_given_again():
    tracker = Tracker(TrackerConfig(max_occlusion_s=0.5))
    T = compose_pose(np.eye(3), [0, 0, 1.0])
    (first,) = tracker.update(at(0), [detection("mug", T)])
    assert tracker.update(at(10 * PERIOD_NS), []) == []
    (second,) = tracker.update(at(11 * PERIOD_NS), [detection("mug", T)])
    tracker.update(at(0), [detection("mug", T)])  # time went backwards: tracks are forgotten, ids are not
    (third,) = tracker.update(at(PERIOD_NS), [detection("mug", T)])
    assert (first.track_id, second.track_id, third.track_id) == ("mug_1", "mug_2", "mug_3")


def test_another_thing_beside_a_track_gets_an_id_of_its_own():
    tracker = Tracker()
    tracker.update(at(0), [detection("mug", compose_pose(np.eye(3), [0, 0, 1.0]))])
    (out,) = tracker.update(at(PERIOD_NS), [detection("cup", compose_pose(np.eye(3), [0.09, 0, 1.0]))])
    assert out.track_id == "cup_1"


def test_an_object_that_comes_back_under_another_category_keeps_its_id():
    tracker, T = Tracker(), compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(10):
        tracker.update(at(k * PERIOD_NS), [detection("bowl", T, size_m=(0.14, 0.12, 0.12))])
    glass = detection("glass", compose_pose(np.eye(3), [0.04, 0, 1.02]), size_m=(0.15, 0.09, 0.16))
    (out,) = tracker.update(at(40 * PERIOD_NS), [glass])
    assert (out.track_id, out.category) == ("bowl_1", "bowl")


def test_a_mask_in_its_place_keeps_the_id_when_the_depth_is_that_of_what_hides_it():
    tracker, T = Tracker(), compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(20):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("bowl", 20)])
    before_it = replace(masked("camera", 24), T_cam_obj=compose_pose(np.eye(3), [0, 0, 0.6]))
    for k in range(20, 26):
        (out,) = tracker.update(at(k * PERIOD_NS, np.eye(4)), [before_it])
        assert (out.track_id, out.category) == ("bowl_1", "bowl")
        np.testing.assert_allclose(out.T_cam_obj, T, atol=1e-3)


def test_the_pixels_tell_a_bowl_from_the_cup_that_was_hidden_in_it():
    tracker, cup = Tracker(), replace(masked("cup", 4, x_m=0.05), size_m=np.array([0.05, 0.05, 0.05]))
    for k in range(10):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("bowl", 26), cup])
    for k in range(10, 40):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("bowl", 26)])
    (out,) = tracker.update(at(40 * PERIOD_NS, np.eye(4)), [masked("cup", 26, x_m=0.04)])
    assert (out.track_id, out.category) == ("bowl_1", "bowl")


def test_another_mug_nearly_a_mug_away_from_one_just_seen_is_another_mug():
    tracker = Tracker()
    for k in range(10):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("mug", 20)])
    (out,) = tracker.update(at(10 * PERIOD_NS, np.eye(4)), [masked("mug", 31, x_m=0.098)])
    assert out.track_id == "mug_2"


def test_a_mask_is_looked_for_where_the_moving_camera_sees_it():
    tracker, jump = Tracker(), compose_pose(np.eye(3), [2.0, 0.0, 0.0])  # 10 pixels of the picture's focal length of 5
    T_world_obj = compose_pose(np.eye(3), [0, 0, 1.0])
    for k in range(10):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("bowl", 20)])
    wrong_depth = compose_pose(np.eye(3), [-2.0, 0, 0.6])
    moved = replace(masked("can", 10), T_cam_obj=wrong_depth)
    assert np.allclose((invert_pose(jump) @ T_world_obj)[0, 3], -2.0)
    (out,) = tracker.update(at(10 * PERIOD_NS, jump), [moved])
    assert out.track_id == "bowl_1"


def test_an_object_whose_category_flickers_keeps_its_id_and_its_commoner_category():
    tracker = Tracker()
    seen = ["bottle", "can", "bottle", "bottle", "can", "bottle", "can", "bottle", "bottle"]
    out = [tracker.update(at(k * PERIOD_NS), [masked(c, 20)])[0] for k, c in enumerate(seen)]
    assert {o.track_id for o in out} == {"bottle_1"}
    assert {o.category for o in out} == {"bottle"}


def test_a_can_that_stands_for_a_bottle_long_enough_becomes_a_can_under_the_same_id():
    tracker = Tracker()
    for k, category in enumerate(["bottle"] * 5 + ["can"] * 20):
        (out,) = tracker.update(at(k * PERIOD_NS), [masked(category, 20)])
    assert (out.category, out.track_id) == ("can", "bottle_1")


def test_another_thing_in_a_bowl_is_no_bowl():
    tracker = Tracker()
    tracker.update(at(0), [replace(masked("bowl", 10), size_m=np.array([0.22, 0.1, 0.22]))])
    inside = replace(masked("can", 24), T_cam_obj=compose_pose(np.eye(3), [0.01, 0, 1.0]))  # IoU of masks 0.18
    inside = replace(inside, size_m=np.array([0.07, 0.1, 0.07]))
    (out,) = tracker.update(at(PERIOD_NS), [inside])
    assert out.track_id == "can_1"


def part_of_a_box(x0: int, y0: int, side: int, *, category: str = "box"):
    """A fragment of the masks below, with a pose and size of its own, far from the whole one's."""
    mask = np.zeros((48, 64), bool)
    mask[y0 : y0 + side, x0 : x0 + side] = True
    far = replace(detection(category, compose_pose(np.eye(3), [0.3, 0.2, 1.4])), mask=mask)
    return replace(far, box2d=np.float32([x0, y0, x0 + side, y0 + side]))


def test_a_part_of_a_mask_is_the_same_object_and_leaves_its_pose_alone():
    tracker = Tracker()
    for k in range(10):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("box", 20)])
    # each part of other pixels: not the part seen last but the whole is what they are parts of
    for k, (x0, y0) in enumerate([(21, 11), (30, 20), (30, 11), (21, 20)], start=10):
        (out,) = tracker.update(at(k * PERIOD_NS, np.eye(4)), [part_of_a_box(x0, y0, 9)])
        assert out.track_id == "box_1"
        np.testing.assert_allclose(out.T_cam_obj[:3, 3], [0, 0, 1.0], atol=1e-3)
    (out,) = tracker.update(at(14 * PERIOD_NS, np.eye(4)), [masked("box", 20, x_m=0.3)])
    assert out.track_id == "box_1"


def test_a_part_beside_the_whole_object_is_no_object():
    tracker = Tracker()
    for k in range(20):
        detections = [masked("box", 20)] if k < 10 else [part_of_a_box(24, 14, 9, category="can"), masked("box", 20)]
        (out,) = tracker.update(at(k * PERIOD_NS, np.eye(4)), detections)
        assert (out.track_id, out.category) == ("box_1", "box")


def test_what_comes_before_an_object_gets_an_id_of_its_own():
    tracker = Tracker()
    for k in range(10):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("box", 20)])
    mug, box = part_of_a_box(24, 14, 9, category="mug"), masked("box", 20)
    box = replace(box, mask=box.mask & ~mug.mask)
    for k in range(10, 14):
        out = tracker.update(at(k * PERIOD_NS, np.eye(4)), [mug, box])
    assert [o.track_id for o in out] == ["mug_1", "box_1"]


def test_a_mask_that_is_all_of_one_object_is_no_part_of_what_passes_before_it():
    tracker = Tracker()
    for k in range(10):
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("bottle", 20)])
    before_it = compose_pose(np.eye(3), [0, 0, 0.8])
    board = replace(masked("laptop", 0), T_cam_obj=before_it, size_m=np.array([0.3, 0.2, 0.3]))
    board = replace(board, mask=np.ones((48, 64), bool), box2d=np.float32([0, 0, 64, 48]))
    (out,) = tracker.update(at(10 * PERIOD_NS, np.eye(4)), [board])
    assert out.track_id == "laptop_1"
    (out,) = tracker.update(at(11 * PERIOD_NS, np.eye(4)), [replace(masked("bottle", 20), T_cam_obj=before_it)])
    assert out.track_id == "bottle_1"


def seen_at(category: str, x_m: float, score: float = 0.9):
    return detection(category, compose_pose(np.eye(3), [x_m, 0, 1.0]), score=score)


def test_what_comes_back_is_the_object_known_for_long_rather_than_a_glimpse_of_it():
    tracker = Tracker()
    for k in range(20):
        tracker.update(at(k * PERIOD_NS), [seen_at("bowl", 0.0)])
    # its rim comes first, too far from where it was to be known by
    assert tracker.update(at(46 * PERIOD_NS), [seen_at("can", 0.085, score=0.4)]) == []
    (out,) = tracker.update(at(47 * PERIOD_NS), [seen_at("can", 0.03, score=0.4)])
    assert out.track_id == "bowl_1"


def test_a_fragment_seen_for_a_moment_is_soon_forgotten_and_takes_nothing_that_comes_back():
    tracker = Tracker()
    for k in range(24):
        tracker.update(at(k * PERIOD_NS), [seen_at("box", 0.0)] if k < 20 else [seen_at("box", 0.12)])
    assert set(tracker.tracks) == {"box_1", "box_2"}
    for k in range(24, 60):
        tracker.update(at(k * PERIOD_NS), [])
    (out,) = tracker.update(at(60 * PERIOD_NS), [seen_at("box", 0.07)])
    assert out.track_id == "box_1"


def test_where_no_pixels_tell_a_thing_is_what_it_was_taken_for_oftener():
    tracker = Tracker()
    for k in range(10):
        cup = masked("bowl" if k == 0 else "cup", 4, x_m=0.1)
        tracker.update(at(k * PERIOD_NS, np.eye(4)), [masked("bowl", 30), cup])
    tracker.update(at(40 * PERIOD_NS, np.eye(4)), [])
    (out,) = tracker.update(at(41 * PERIOD_NS, np.eye(4)), [masked("bowl", 40, x_m=0.055)])
    assert out.category == "bowl"
    assert out.T_cam_obj[0, 3] < 0.055


def test_a_transform_that_comes_and_goes_costs_no_id():
    tracker, rng = Tracker(), np.random.default_rng(9)
    T_world_obj, ids, errors_m = compose_pose(np.eye(3), [0.1, 0.0, 0.0]), set(), []
    for k in range(40):
        T_cam_obj = invert_pose(camera(k * 0.1)) @ T_world_obj
        known = camera(k * 0.1) if k % 10 < 7 else None
        (out,) = tracker.update(at(k * PERIOD_NS, known), [detection("mug", measure(rng, T_cam_obj, NONE))])
        ids.add(out.track_id)
        errors_m.append(np.linalg.norm(out.T_cam_obj[:3, 3] - T_cam_obj[:3, 3]))
    assert ids == {"mug_1"}
    assert max(errors_m[10:]) < 0.03
