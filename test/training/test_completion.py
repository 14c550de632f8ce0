from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.inference.cloud_box import cloud_frame, completed
from mkpose_ros.training.batches import symmetries_of
from mkpose_ros.training.completion import boxed, fit_completion, true_completion
from mkpose_ros.training.perceptron import PerceptronConfig
from mkpose_ros.training.validate import errors_of


def _errors(pose, crops):
    return errors_of(pose._asdict(), crops)


def test_the_true_completion_leads_to_the_true_box(made_up_samples):
    crops = made_up_samples(40, seed=3)
    frame = cloud_frame(crops.points_m.astype(np.float64), crops.centroid_m.astype(np.float64))
    pose = completed(frame, true_completion(frame, crops))
    np.testing.assert_allclose(pose.translation_m, crops.translation_m, atol=1e-6)
    np.testing.assert_allclose(np.sort(pose.size_m, axis=1), np.sort(crops.size_m, axis=1), rtol=1e-6)
    assert np.median(_errors(pose, crops).iou) > 0.85  # what is missing is the turn between the axes


def test_a_fitted_completion_knows_how_deep_a_cube_is_whose_front_is_seen(made_up_samples):
    crops, held_out = _fronts_of_cubes(made_up_samples(300, seed=1)), _fronts_of_cubes(made_up_samples(60, seed=2))
    boxes = fit_completion(crops, PerceptronConfig(hidden=32, visits=40), n_points=96)
    points, centroid_m = held_out.points_m.astype(np.float64), held_out.centroid_m.astype(np.float64)
    tight = completed(cloud_frame(points, centroid_m), np.zeros((len(points), 6)))
    symmetries = symmetries_of(held_out.infinite, held_out.orders)
    whole = boxes(points, centroid_m, held_out.rotation.astype(np.float64), symmetries, [None] * len(points))
    assert np.median(_errors(tight, held_out).iou) < 0.4
    assert np.median(_errors(whole, held_out).iou) > 0.6


def _fronts_of_cubes(crops):
    """The same crops with the third of a cube before the camera that is nearest to it as their cloud."""
    rng = np.random.default_rng(0)
    count, n = crops.points_m.shape[:2]
    side_m = crops.size_m[:, :1]
    turn = Rotation.from_rotvec(rng.normal(0.0, 0.2, (count, 3))).as_matrix()
    local = rng.uniform(-0.5, 0.5, (count, n, 3)) * [1.0, 1.0, 1.0 / 3.0] - [0.0, 0.0, 1.0 / 3.0]
    cloud = np.einsum("bij,bnj->bni", turn, local * side_m[:, None])
    centroid_m = cloud.mean(axis=1)
    return replace(
        crops,
        points_m=(cloud - centroid_m[:, None]).astype(np.float16),
        centroid_m=(centroid_m + [0.0, 0.0, 0.8]).astype(np.float32),
        rotation=turn.astype(np.float32),
        translation_m=-centroid_m.astype(np.float32),
        size_m=np.repeat(side_m, 3, axis=1),
        infinite=np.zeros((count, 3), bool),
    )


def test_only_categories_that_were_not_trained_on_get_their_box_from_the_cloud(made_up_samples):
    crops = made_up_samples(20, seed=1)
    boxes = fit_completion(crops, PerceptronConfig(hidden=8, visits=2), n_points=96)
    before = {
        "rotation": crops.rotation + 0.0, "translation_m": crops.translation_m + 0.1, "size_m": crops.size_m * 2.0,
        "head_rotation": crops.rotation,
    }  # fmt: skip
    after = boxed(before, crops, boxes, n_points=96, trained=["mug"])
    mugs = crops.category == "mug"
    for name in ("rotation", "translation_m", "size_m"):
        np.testing.assert_array_equal(after[name][mugs], before[name][mugs])
        assert not np.isclose(after[name][~mugs], before[name][~mugs]).all()
