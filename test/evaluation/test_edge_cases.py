"""Each corner of the protocol that a careless evaluator gets wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import pose_at, prediction, truth

from mkpose_ros.errors import InputError
from mkpose_ros.evaluation import HOUSECAT6D, NOCS, Mode, evaluate
from mkpose_ros.evaluation.average_precision import average_precision, published_average_precision
from mkpose_ros.evaluation.errors import exact_errors, published_errors
from mkpose_ros.evaluation.matching import match_by_iou, match_by_pose
from mkpose_ros.inference.crops import make_crops
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame, Symmetry

ALL_MODES = pytest.mark.parametrize("mode", list(Mode), ids=lambda m: m.value)
CAMERA, BOTTLE, MUG = (NOCS.categories.index(c) for c in ("camera", "bottle", "mug"))


@ALL_MODES
def test_a_perfect_prediction_scores_100_in_its_category_and_a_sixth_in_the_mean(mode):
    report = evaluate([[prediction(pose_at())]], [[truth(pose_at())]], mode)
    for metric, values in report.ap.items():
        assert values[CAMERA] == 100.0, metric
        assert report.mean(metric) == pytest.approx(100.0 / 6.0)


@ALL_MODES
def test_nothing_at_all_scores_zero(mode):
    report = evaluate([], [], mode)
    assert report.images == 0
    assert all(not values.any() for values in report.ap.values())


@ALL_MODES
def test_objects_without_predictions_score_zero(mode):
    report = evaluate([[]], [[truth(pose_at())]], mode)
    assert all(not values.any() for values in report.ap.values())
    assert report.statistics.missed == 1


@ALL_MODES
def test_predictions_without_objects_score_zero_and_are_no_nan(mode):
    report = evaluate([[prediction(pose_at())]], [[]], mode)
    assert all((values == 0.0).all() for values in report.ap.values())
    assert report.statistics.unpaired == 1


def duplicated():
    """Two objects a metre apart; the first is found twice, the second with the lowest score."""
    poses = [
        prediction(pose_at(), score=0.5),
        prediction(pose_at(), score=0.9),
        prediction(pose_at((1, 0, 1)), score=0.2),
    ]
    return [poses], [[truth(pose_at()), truth(pose_at((1, 0, 1)), instance_id=2)]]


@pytest.mark.parametrize("mode", ["corners", "exact"])
def test_a_duplicate_is_a_false_positive_for_iou_and_no_pair_for_pose(mode):
    report = evaluate(*duplicated(), mode)
    # A hit at .9, the duplicate at .5, the second hit at .2: precision 1 up to recall .5, then 2/3.
    assert report.ap["iou50"][CAMERA] == pytest.approx(50.0 + 50.0 * 2.0 / 3.0)
    assert report.ap["5d2cm"][CAMERA] == 100.0
    assert report.recall_aware_ap["5d2cm"][CAMERA] == pytest.approx(50.0 + 50.0 * 2.0 / 3.0)


def test_the_published_iou_takes_a_duplicate_for_an_object_a_metre_away():
    report = evaluate(*duplicated(), "nocs")
    assert report.ap["iou50"][CAMERA] == 100.0
    assert report.recall_aware_ap["5d2cm"][CAMERA] == pytest.approx(50.0 + 50.0 * 2.0 / 3.0)


@ALL_MODES
def test_misses_and_inventions_do_not_touch_the_published_pose_precision(mode):
    poses = [[prediction(pose_at(), score=0.3), prediction(pose_at((3, 0, 1)), score=0.9)]]
    truths = [[truth(pose_at()), truth(pose_at((-2, 0, 3)), instance_id=2)]]
    report = evaluate(poses, truths, mode)
    if mode is not Mode.NOCS:  # whose boxes overlap wherever they are
        assert report.ap["5d2cm"][CAMERA] == 100.0
        assert report.recall_aware_ap["5d2cm"][CAMERA] == pytest.approx(50.0 * 0.5)


def test_an_overlap_exactly_at_the_threshold_is_no_match():
    overlaps = np.array([[0.5]], dtype=np.float32)
    taken = match_by_iou(overlaps, np.array([0.5, np.nextafter(np.float32(0.5), np.float32(0.0))]))
    assert taken[:, 0].tolist() == [-1, 0]


def test_the_tenth_is_compared_in_single_precision():
    overlaps = np.array([[np.float32(0.1)], [np.float32(0.1)]])
    assert (match_by_iou(overlaps, np.array([0.1])) == -1).all()


def test_a_prediction_takes_the_best_free_object_not_the_first():
    overlaps = np.array([[0.6, 0.9], [0.55, 0.8]], dtype=np.float32)
    assert match_by_iou(overlaps, np.array([0.5]))[0].tolist() == [1, 0]


def test_a_pose_takes_the_object_with_the_smallest_sum_of_errors_within_both_limits():
    errors = np.array([[[1.0, 6.0], [4.0, 4.0]]])
    assert match_by_pose(errors, np.array([[5.0, 5.0], [10.0, 10.0], [3.0, 10.0]]))[:, 0].tolist() == [1, 0, 0]


@ALL_MODES
def test_nan_and_empty_boxes_and_infinities_are_false_positives(mode):
    broken = [
        prediction(np.full((4, 4), np.nan), score=0.9),
        prediction(pose_at(), size_m=(0.0, 0.0, 0.0), score=0.8),
        prediction(pose_at(), size_m=(0.1, -0.1, 0.1), score=0.7),
        prediction(pose_at(), size_m=(0.1, np.inf, 0.1), score=0.6),
    ]
    report = evaluate([[*broken, prediction(pose_at(), score=0.5)]], [[truth(pose_at())]], mode)
    assert report.invalid == 4
    assert report.ap["iou50"][CAMERA] == pytest.approx(20.0)  # the one hit comes fifth
    assert report.statistics.unpaired == 4
    assert report.ap["5d2cm"][CAMERA] == 100.0


@ALL_MODES
def test_a_truth_that_is_no_pose_is_refused(mode):
    broken = replace(truth(pose_at()), size_m=np.array([0.1, np.nan, 0.1]))
    with pytest.raises(InputError, match="truth of object 1"):
        evaluate([[prediction(pose_at())]], [[broken]], mode)


def test_different_numbers_of_images_are_refused():
    with pytest.raises(InputError, match="2 images"):
        evaluate([[], []], [[]])


def test_an_unknown_mode_lists_the_modes():
    with pytest.raises(InputError, match="nocs, corners, exact"):
        evaluate([], [], "iou")


def test_a_reflection_is_no_pose_in_exact_mode_and_a_negated_rotation_in_the_published_ones():
    mirrored = pose_at(turn=(20, 30, 40)) @ np.diag([-1.0, -1.0, -1.0, 1.0])  # determinant -1, the same box
    report = evaluate([[prediction(mirrored)]], [[truth(pose_at(turn=(20, 30, 40)))]], "exact")
    assert (report.invalid, report.ap["iou25"][CAMERA]) == (1, 0.0)
    report = evaluate([[prediction(mirrored)]], [[truth(pose_at(turn=(20, 30, 40)))]], "nocs")
    assert (report.invalid, report.ap["5d2cm"][CAMERA]) == (0, 100.0)


def test_a_symmetric_object_may_turn_about_y_and_only_about_y():
    for category, turn, hit in (
        ("bottle", (0, 77, 0), True),
        ("bottle", (77, 0, 0), False),
        ("camera", (0, 77, 0), False),
    ):
        size = (0.1, 0.2, 0.1)
        poses, truths = [[prediction(pose_at(turn=turn), size, category)]], [[truth(pose_at(), size, category)]]
        for mode in Mode:
            report = evaluate(poses, truths, mode)
            assert (report.ap["5d2cm"][NOCS.categories.index(category)] == 100.0) == hit, (category, turn, mode)


@ALL_MODES
@pytest.mark.parametrize(("visible", "expected"), [(True, 0.0), (False, 100.0)])
def test_a_mug_turns_freely_while_its_handle_is_hidden(mode, visible, expected):
    poses = [[prediction(pose_at(turn=(0, 90, 0)), (0.12, 0.1, 0.12), "mug")]]
    report = evaluate(poses, [[truth(pose_at(), (0.12, 0.1, 0.12), "mug", handle_visible=visible)]], mode)
    assert report.ap["10d2cm"][MUG] == expected


def test_housecat_takes_glasses_for_symmetric_and_has_no_handle_rule():
    glass = evaluate(
        [[prediction(pose_at(turn=(0, 90, 0)), (0.1, 0.2, 0.1), "glass")]],
        [[truth(pose_at(), (0.1, 0.2, 0.1), "glass")]],
        protocol=HOUSECAT6D,
    )
    assert glass.ap["5d2cm"][HOUSECAT6D.categories.index("glass")] == 100.0
    assert glass.mean("5d2cm") == pytest.approx(10.0)
    assert not HOUSECAT6D.is_symmetric(truth(pose_at(), category="mug", handle_visible=False))


def test_the_published_angle_of_equal_symmetric_poses_may_be_nan_and_a_nan_passes():
    rng = np.random.default_rng(0)
    T = np.stack([pose_at(turn=rng.uniform(-180, 180, 3)) for _ in range(500)])
    degrees = published_errors(T, T, np.ones(500, dtype=bool))[:, 0]
    assert np.isnan(degrees).any()  # the cosine is rounded above 1
    assert np.nanmax(degrees) < 1e-5
    assert match_by_pose(np.array([[[np.nan, 0.0]]]), np.array([[5.0, 2.0]]))[0, 0] == 0


def test_the_exact_angle_of_equal_symmetric_poses_is_zero():
    rng = np.random.default_rng(0)
    for _ in range(50):
        T = pose_at(turn=rng.uniform(-180, 180, 3))
        assert exact_errors(T[None], T[None], [Symmetry(("y",))])[0, 0] < 1e-5


def test_an_upside_down_bottle_is_wrong_in_every_mode():
    size = (0.1, 0.2, 0.1)
    for mode in Mode:
        report = evaluate(
            [[prediction(pose_at(turn=(179.0, 0, 0)), size, "bottle")]], [[truth(pose_at(), size, "bottle")]], mode
        )
        assert report.ap["10d5cm"][BOTTLE] == 0.0


def test_equal_scores_count_as_one_step_in_exact_mode():
    hits, scores = np.array([True, False, True, False]), np.full(4, 1.0)
    expected = 0.5  # two of four, in whatever order
    for order in ([0, 1, 2, 3], [1, 3, 0, 2], [2, 0, 3, 1]):
        assert average_precision(hits[order], scores, 2) == pytest.approx(expected)


def test_average_precision_by_hand():
    hits, scores = np.array([True, False, True]), np.array([0.9, 0.8, 0.7])
    expected = 0.25 * 1.0 + 0.25 * 2.0 / 3.0  # two of four objects found
    assert average_precision(hits, scores, 4) == pytest.approx(expected)
    assert published_average_precision(hits, scores, 4) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("distance_m", [0.6, 2.9, 3.1, 7.0])
def test_an_object_beyond_3_m_keeps_its_points_and_scores_as_a_near_one(distance_m):
    k = CameraIntrinsics(600.0, 600.0, 319.5, 239.5, 640, 480)
    frame = RgbdFrame(np.zeros((480, 640, 3), np.uint8), np.full((480, 640), distance_m, np.float32), k)
    mask = np.zeros((480, 640), bool)
    mask[100:140, 200:260] = True
    instance = Instance(mask, np.float32([200, 100, 260, 140]), "camera", 1.0)
    crops = make_crops(frame, [instance], crop_px=64, n_points=256, rng=np.random.default_rng(0))
    assert (crops.points_m + crops.centroid_m[:, None])[..., 2] == pytest.approx(distance_m)
    poses, truths = [[prediction(pose_at((0.01, 0, distance_m)))]], [[truth(pose_at((0, 0, distance_m)))]]
    assert evaluate(poses, truths, "exact").ap["iou75"][CAMERA] == 100.0
    assert evaluate(poses, truths, "exact").ap["5d2cm"][CAMERA] == 100.0


def test_categories_outside_the_protocol_are_ignored():
    report = evaluate([[prediction(pose_at(), category="shoe")]], [[truth(pose_at(), category="shoe")]])
    assert report.instances.sum() == report.predictions.sum() == 0
    assert report.statistics.pairs == ()
