"""Which instances survive, and which of their pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.segmentation import CleanConfig, clean_instances
from mkpose_ros.segmentation.masks import mask_box
from mkpose_ros.segmentation.postprocess import main_depth_cluster, without_flying_pixels
from mkpose_ros.types import Instance


def instance(frame, window, category="mug", score=0.9) -> Instance:
    mask = np.zeros(frame.depth_m.shape, bool)
    mask[window] = True
    return Instance(mask, mask_box(mask), category, score)


def with_depth(frame, *patches):
    """The frame with other depths: (window, metres) each."""
    depth_m = frame.depth_m.copy()
    for window, metres in patches:
        depth_m[window] = metres
    return replace(frame, depth_m=depth_m)


def test_no_instances_give_no_instances(frame):
    assert clean_instances(frame, []) == []


def test_a_clean_instance_passes_unchanged(frame):
    given = instance(frame, np.s_[20:40, 30:60])
    (kept,) = clean_instances(frame, [given])
    assert np.array_equal(kept.mask, given.mask)
    assert kept.box2d.tolist() == [30, 20, 60, 40]


def test_a_category_has_its_own_threshold(frame):
    both = [instance(frame, np.s_[0:20, 0:20], "mug", 0.4), instance(frame, np.s_[40:60, 0:20], "can", 0.4)]
    kept = clean_instances(frame, both, CleanConfig(score_threshold=0.5, class_thresholds={"can": 0.3}))
    assert [i.category for i in kept] == ["can"]


def test_around_a_known_object_of_its_category_an_instance_needs_only_the_least_score(frame):
    doubtful = [
        instance(frame, np.s_[0:20, 0:20], "mug", 0.4),
        instance(frame, np.s_[40:60, 0:20], "can", 0.4),  # around the mug's other place
        instance(frame, np.s_[40:60, 40:60], "mug", 0.2),
    ]
    config = CleanConfig(class_thresholds={"mug": 0.6, "can": 0.6}, score_threshold=0.3)
    assert clean_instances(frame, doubtful, config) == []
    known = replace(config, expected={"mug": np.array([[10.0, 10.0], [10.0, 50.0], [50.0, 50.0]])})
    assert [i.box2d.tolist() for i in clean_instances(frame, doubtful, known)] == [[0, 0, 20, 20]]


def test_where_something_more_certain_lies_no_known_object_is_expected_any_more(frame):
    certain = instance(frame, np.s_[30:50, 30:50], "cup", 0.9)
    doubtful = instance(frame, np.s_[30:60, 35:90], "mug", 0.4)  # no duplicate by its overlap
    config = CleanConfig(class_thresholds={"mug": 0.6}, expected={"mug": np.array([[40.0, 40.0]])})
    assert [i.category for i in clean_instances(frame, [certain, doubtful], config)] == ["cup"]
    assert [i.category for i in clean_instances(frame, [doubtful], config)] == ["mug"]


def test_what_its_score_alone_keeps_comes_before_what_is_only_expected(frame):
    pair = [instance(frame, np.s_[20:60, 30:60], "laptop", 0.8), instance(frame, np.s_[21:60, 30:62], "box", 0.5)]
    config = CleanConfig(class_thresholds={"laptop": 0.9}, expected={"laptop": np.array([[40.0, 40.0]])})
    assert [i.category for i in clean_instances(frame, pair, config)] == ["box"]


def test_a_score_of_nan_is_dropped(frame):
    assert clean_instances(frame, [instance(frame, np.s_[0:20, 0:20], score=float("nan"))]) == []


def test_only_wanted_categories_pass(frame):
    both = [instance(frame, np.s_[0:20, 0:20], "mug"), instance(frame, np.s_[40:60, 0:20], "can")]
    dropped = Counter()
    kept = clean_instances(frame, both, CleanConfig(categories={"mug"}), dropped)
    assert [i.category for i in kept] == ["mug"]
    assert dropped == {"class": 1}


def test_two_categories_on_one_object_become_the_more_certain_one(frame):
    pair = [instance(frame, np.s_[20:60, 30:60], "cup", 0.6), instance(frame, np.s_[21:60, 30:62], "mug", 0.8)]
    dropped = Counter()
    kept = clean_instances(frame, pair, dropped=dropped)
    assert [i.category for i in kept] == ["mug"]
    assert dropped == {"duplicate": 1}


def test_a_part_inside_a_whole_is_a_duplicate(frame):
    pair = [instance(frame, np.s_[20:60, 30:60], score=0.9), instance(frame, np.s_[20:35, 30:60], score=0.7)]
    assert len(clean_instances(frame, pair)) == 1


def test_a_pixel_belongs_to_one_instance_only(frame):
    pair = [instance(frame, np.s_[10:50, 10:50], score=0.7), instance(frame, np.s_[10:50, 40:80], score=0.9)]
    first, second = clean_instances(frame, pair)
    assert not (first.mask & second.mask).any()
    assert first.mask[:, 40:50].any()


def test_the_cap_keeps_the_most_certain(frame):
    row = [instance(frame, np.s_[0:10, 12 * i : 12 * i + 10], score=0.5 + 0.04 * i) for i in range(10)]
    dropped = Counter()
    kept = clean_instances(frame, row, CleanConfig(max_instances=3), dropped)
    assert [round(i.score, 2) for i in kept] == [0.86, 0.82, 0.78]
    assert dropped == {"cap": 7}


def test_background_that_bleeds_into_a_mask_is_removed(frame):
    scene = with_depth(frame, (np.s_[20:60, 30:60], 0.7))
    (kept,) = clean_instances(scene, [instance(scene, np.s_[15:65, 25:65])])
    expected = instance(scene, np.s_[20:60, 30:60]).mask
    assert np.array_equal(kept.mask, expected)


def test_an_object_cut_in_two_by_something_in_front_stays_whole(frame):
    scene = with_depth(frame, (np.s_[20:60, 40:50], 0.5))
    left_and_right = instance(scene, np.s_[20:60, 30:60])
    left_and_right.mask[:, 40:50] = False
    (kept,) = clean_instances(scene, [left_and_right])
    assert np.array_equal(kept.mask, left_and_right.mask)


def test_pixels_that_float_between_two_surfaces_are_removed(frame):
    scene = with_depth(frame, (np.s_[20:60, 30:60], 0.7), (np.s_[20:60, 60], 0.85))
    mask = instance(scene, np.s_[20:60, 30:61]).mask
    cleaned = without_flying_pixels(scene.depth_m, mask, 0.015)
    assert not cleaned[22:58, 60].any()
    assert cleaned[20:60, 30:60].all()


def test_a_slanted_surface_has_no_flying_pixels(frame):
    slope_m = np.linspace(0.6, 1.2, frame.depth_m.shape[1], dtype=np.float32)
    depth_m = np.broadcast_to(slope_m, frame.depth_m.shape)
    mask = np.ones(depth_m.shape, bool)
    assert without_flying_pixels(depth_m, mask, 0.015).all()
    assert main_depth_cluster(depth_m, mask, 0.04).all()


def test_pixels_without_depth_stay_in_a_mask_that_has_enough_others(frame):
    scene = with_depth(frame, (np.s_[30:40, 30:60], 0.0))
    (kept,) = clean_instances(scene, [instance(scene, np.s_[20:60, 30:60])])
    assert kept.mask[30:40, 30:60].all()


@pytest.mark.parametrize("depth_m", [0.0, np.nan, np.inf])
def test_an_object_without_depth_is_dropped_and_counted(frame, depth_m):
    scene = with_depth(frame, (np.s_[:, :], depth_m))
    dropped = Counter()
    assert clean_instances(scene, [instance(scene, np.s_[20:60, 30:60])], dropped=dropped) == []
    assert dropped == {"points": 1}


def test_a_clear_glass_is_kept_with_fewer_measured_pixels_than_others(frame):
    scene = with_depth(frame, (np.s_[:, :], 0.0), (np.s_[50:55, 40:45], 0.8))  # 25 of them
    glass, mug = (instance(scene, np.s_[20:60, 30:60], category) for category in ("glass", "mug"))
    (kept,) = clean_instances(scene, [glass])
    assert kept.mask[20:60, 30:60].all()
    assert clean_instances(scene, [mug]) == []
    assert clean_instances(scene, [glass], CleanConfig(class_min_points={})) == []


def test_overlapping_instances_far_apart_in_a_large_image_keep_their_places(make_frame):
    scene = make_frame(480, 640)
    corners = [np.s_[0:30, 0:40], np.s_[450:480, 0:40], np.s_[0:30, 600:640], np.s_[440:480, 590:640]]
    given = [instance(scene, window, score=0.9 - 0.1 * i) for i, window in enumerate(corners)]
    kept = clean_instances(scene, given)
    assert [i.box2d.tolist() for i in kept] == [i.box2d.tolist() for i in given]
    assert all(np.array_equal(ours.mask, theirs.mask) for ours, theirs in zip(kept, given, strict=True))


@pytest.mark.parametrize("window", [np.s_[0:1, 0:1], np.s_[95:96, 127:128], np.s_[0:0, 0:0]])
def test_a_mask_of_one_pixel_or_none_is_dropped(frame, window):
    assert clean_instances(frame, [instance(frame, window)]) == []


def test_a_mask_that_fills_the_image_is_no_trouble(frame):
    (kept,) = clean_instances(frame, [instance(frame, np.s_[:, :])])
    assert kept.mask.all()


def test_a_single_wild_depth_costs_no_memory(frame):
    scene = with_depth(frame, (np.s_[25, 35], 1e9))
    (kept,) = clean_instances(scene, [instance(scene, np.s_[20:60, 30:60])])
    assert not kept.mask[25, 35]


@pytest.mark.parametrize("change", [{"score_threshold": 1.5}, {"max_instances": 0}, {"duplicate_iou": -0.1}])
def test_a_setting_out_of_range_is_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        CleanConfig(**change)
