"""The second look: what it sees, what it learns, and that it undoes what was done."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.errors import ModelError
from mkpose_ros.inference.refinement import (
    CELLS,
    QUANTILES,
    REACH,
    BoxPose,
    Refiner,
    Seen,
    box_features,
    brightness_of,
    corrected,
)
from mkpose_ros.training.perceptron import PerceptronConfig
from mkpose_ros.training.refinement import RefinerConfig, fit_refiner, refined, true_correction
from mkpose_ros.training.validate import errors_of

POINTS = 64


def _disturbed(crops: CropSamples, seed: int = 0) -> dict[str, np.ndarray]:
    """Predictions of a network that is some centimetres, degrees and percent off."""
    rng = np.random.default_rng(seed)
    b = len(crops)
    rotation = crops.rotation @ Rotation.from_rotvec(rng.normal(0.0, 0.15, (b, 3))).as_matrix()
    translation_m = crops.translation_m + rng.normal(0.0, 0.02, (b, 3))
    return {
        "rotation": rotation,
        "translation_m": translation_m,
        "size_m": crops.size_m * np.exp(rng.normal(0.0, 0.2, (b, 3))),
        "head_rotation": rotation,
        "head_translation_m": translation_m,
        "keypoints_m": crops.points_m[:, :8].astype(np.float64),
        "nocs": rng.uniform(-0.4, 0.4, (b, 8, 3)),
        "log_variance": np.full((b, 6), -6.0),
        "disagreement": np.zeros((b, 2)),
        "text": rng.normal(size=(b, 5)),
    }


def _pose(values: dict[str, np.ndarray]) -> BoxPose:
    return BoxPose(values["rotation"], values["translation_m"], values["size_m"])


def _seen(values: dict[str, np.ndarray], crops: CropSamples) -> Seen:
    points, pixels = crops.points_m.astype(np.float64), crops.pixels.astype(np.float64)
    return Seen(points, brightness_of(crops.image, pixels), *(values[name] for name in Seen._fields[2:]))


def test_the_true_correction_leads_to_the_truth(made_up_samples):
    crops = made_up_samples(20)
    wrong = _disturbed(crops)
    found = corrected(_pose(wrong), true_correction(_pose(wrong), crops))
    errors = errors_of({**wrong, **found._asdict()}, crops)
    assert errors.rotation_deg.max() < 0.01
    assert errors.translation_m.max() < 1e-6
    np.testing.assert_allclose(found.size_m, crops.size_m, rtol=1e-6)


def test_features_do_not_know_where_the_object_is_or_in_which_order_its_points_come(made_up_samples):
    crops = made_up_samples(6)
    wrong = _disturbed(crops)
    pose, seen = _pose(wrong), _seen(wrong, crops)
    moved = pose._replace(translation_m=pose.translation_m + [0.3, -0.2, 1.0])
    seen_there = seen._replace(
        points_m=seen.points_m[:, ::-1] + [0.3, -0.2, 1.0],
        brightness=seen.brightness[:, ::-1],
        keypoints_m=seen.keypoints_m + [0.3, -0.2, 1.0],
        head_translation_m=seen.head_translation_m + [0.3, -0.2, 1.0],
    )
    np.testing.assert_allclose(box_features(moved, seen_there), box_features(pose, seen), atol=2e-3)


def test_quantiles_and_grids_are_those_of_numpy(made_up_samples):
    crops = made_up_samples(3)
    values = _disturbed(crops)
    features = box_features(_pose(values), _seen(values, crops))
    for i in range(3):
        inside = (crops.points_m[i].astype(float) - values["translation_m"][i]) @ values["rotation"][i]
        inside *= 2.0 / values["size_m"][i]
        expected = np.quantile(inside, QUANTILES, axis=0, method="nearest")
        np.testing.assert_allclose(features[i, : 3 * len(QUANTILES)], expected.clip(-4, 4).ravel(), atol=1e-4)
        edges = np.linspace(-REACH, REACH, CELLS + 1)
        edges[[0, -1]] = -np.inf, np.inf
        counts, *_ = np.histogram2d(inside[:, 0], inside[:, 1], [edges, edges])
        start = features.shape[1] - values["text"].shape[1] - 6 * CELLS**2
        shares = features[i, start : start + CELLS**2] ** 2
        np.testing.assert_allclose(shares, counts.ravel() / len(inside), atol=1.5 / len(inside))


@pytest.fixture(scope="module")
def fitted(made_up_samples):
    crops = made_up_samples(600)
    config = RefinerConfig(PerceptronConfig(hidden=48, visits=40, batch=128))
    return fit_refiner(_disturbed(crops), crops, config, n_points=POINTS)


def test_a_refiner_mends_errors_on_objects_that_it_never_saw(fitted, made_up_samples):
    crops = made_up_samples(200, seed=1)
    wrong = _disturbed(crops, seed=1)
    before = errors_of(wrong, crops)
    after = errors_of(refined(wrong, crops, fitted, n_points=POINTS, trained=["mug", "bottle"]), crops)
    assert np.median(after.iou) > np.median(before.iou) + 0.05
    assert np.median(after.translation_m) < 0.8 * np.median(before.translation_m)


def test_poses_of_categories_that_it_does_not_know_stay(fitted, made_up_samples):
    crops = made_up_samples(10, seed=2)
    wrong = _disturbed(crops)
    found = refined(wrong, crops, fitted, n_points=POINTS, trained=["mug"])
    mugs = crops.category == "mug"
    for name in BoxPose._fields:
        np.testing.assert_array_equal(found[name][~mugs], wrong[name][~mugs])
        assert not np.allclose(found[name][mugs], wrong[name][mugs])


def test_no_object_is_no_fault(fitted, made_up_samples):
    crops = made_up_samples(2)
    none = {name: value[:0] for name, value in _disturbed(crops).items()}
    found = refined(none, crops.take(slice(0, 0)), fitted, n_points=POINTS, trained=["mug"])
    assert found["rotation"].shape == (0, 3, 3)


def test_metadata_bring_the_refiner_back(fitted, made_up_samples):
    again = Refiner.from_metadata(json.loads(json.dumps(fitted.to_metadata())))
    crops = made_up_samples(10, seed=3)
    wrong = _disturbed(crops)
    one, other = (refined(wrong, crops, r, n_points=POINTS, trained=["mug", "bottle"]) for r in (fitted, again))
    apart_m = np.abs(one["translation_m"] - other["translation_m"])
    assert np.median(apart_m) < 5e-4  # half precision; a point may change its cell
    np.testing.assert_allclose(one["size_m"], other["size_m"], rtol=0.1)
    assert Refiner.from_metadata(None) is None


@pytest.mark.parametrize("change", [{"float16": "AAAA"}, {"shapes": [[3], [4], [3, 9], [9]]}, {"rounds": "many"}])
def test_metadata_that_are_no_refiner_are_refused(fitted, change):
    with pytest.raises(ModelError, match="ship"):
        Refiner.from_metadata({**fitted.to_metadata(), **change})
