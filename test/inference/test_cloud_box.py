from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.errors import ModelError
from mkpose_ros.geometry.boxes import oriented_iou
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.geometry.symmetry import finite_rotations
from mkpose_ros.inference.cloud_box import (
    OUTPUTS,
    CloudBoxes,
    cloud_frame,
    completed,
    completion_features,
    named_box,
    tight_axes,
)
from mkpose_ros.inference.perceptron import Perceptron
from mkpose_ros.inference.refinement import BoxPose
from mkpose_ros.types import Symmetry

SIDES_M = np.array([0.09, 0.16, 0.05])
CENTRE_M = np.array([0.05, -0.1, 0.8])
NAMES = finite_rotations(Symmetry(orders=(4, 4, 4)))


def _carton(seed: int, count: int = 256, *, noise_m: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3) on the sides of a carton that the camera at the origin sees, its rotation and its centre."""
    rng = np.random.default_rng(seed)
    R = Rotation.random(random_state=seed).as_matrix()
    points, towards = [], -CENTRE_M @ R
    for axis in range(3):
        side = rng.uniform(-0.5, 0.5, (count, 3)) * SIDES_M
        side[:, axis] = 0.5 * SIDES_M[axis] * np.sign(towards[axis])
        if abs(towards[axis]) > 0.5 * SIDES_M[axis]:
            points.append(side)
    points = rng.permutation(np.concatenate(points))[:count]
    return points @ R.T + CENTRE_M + noise_m * rng.normal(size=(count, 3)), R, CENTRE_M


def _between_axes_deg(R_a: np.ndarray, R_b: np.ndarray) -> float:
    """The least turn between two boxes' axes, whatever they are called."""
    traces = np.einsum("ij,ik,gkj->g", R_a, R_b, NAMES)
    return float(np.degrees(np.arccos(np.clip((traces.max() - 1.0) / 2.0, -1.0, 1.0))))


def _iou(box: BoxPose, R: np.ndarray, t_m: np.ndarray, size_m: np.ndarray) -> float:
    found = compose_pose(box.rotation[0], box.translation_m[0])[None]
    return float(oriented_iou(found, box.size_m, compose_pose(R, t_m)[None], size_m[None])[0])


@pytest.mark.parametrize("seed", range(6))
def test_the_axes_of_a_carton_are_found_from_the_sides_that_are_seen(seed):
    points, R, _ = _carton(seed, noise_m=0.0005)
    assert _between_axes_deg(R, tight_axes(points - points.mean(axis=0))) < 5.0


@pytest.mark.parametrize("seed", range(6))
def test_a_carton_seen_from_a_corner_needs_no_completion(seed):
    points, R, t_m = _carton(seed)
    centroid_m = points.mean(axis=0)
    frame = cloud_frame((points - centroid_m)[None], centroid_m[None])
    box = completed(frame, np.zeros((1, OUTPUTS)))
    assert _iou(box, R, t_m - centroid_m, SIDES_M) > 0.75
    assert np.linalg.det(box.rotation[0]) == pytest.approx(1.0)


def test_shift_and_growth_work_along_the_axes_away_from_the_camera():
    points, _, _ = _carton(3)
    centroid_m = points.mean(axis=0)
    frame = cloud_frame((points - centroid_m)[None], centroid_m[None])
    start = completed(frame, np.zeros((1, OUTPUTS)))
    box = completed(frame, np.array([[1.0, 0.0, 0.0, np.log(2.0), 0.0, 0.0]]))
    moved_m = box.translation_m[0] - start.translation_m[0]
    assert moved_m @ centroid_m > 0.0  # away from the camera
    assert np.linalg.norm(moved_m) == pytest.approx(0.5 * start.size_m[0, 0])
    np.testing.assert_allclose(box.size_m[0] / start.size_m[0], [2.0, 1.0, 1.0])
    view = np.abs(centroid_m @ frame.axes[0])
    assert (np.diff(view) <= 0.0).all()  # most along the view first


def test_features_say_nothing_of_the_order_of_points():
    points, _, _ = _carton(1, count=128)
    centroid_m = points.mean(axis=0)
    cloud = (points - centroid_m)[None]
    frame = cloud_frame(cloud, centroid_m[None])
    mixed = cloud_frame(cloud[:, ::-1], centroid_m[None])
    np.testing.assert_allclose(completion_features(frame), completion_features(mixed), atol=1e-5)


@pytest.mark.parametrize("names", NAMES[::5])
def test_whatever_a_boxs_axes_were_called_the_networks_rotation_names_them(names):
    R = Rotation.random(random_state=4).as_matrix()
    box = BoxPose((R @ names)[None], np.zeros((1, 3)), (np.abs(names).T @ SIDES_M)[None])
    near = R @ Rotation.from_rotvec([0.3, -0.2, 0.1]).as_matrix()
    named = named_box(box, near[None], [Symmetry()], [None])
    np.testing.assert_allclose(named.rotation[0], R, atol=1e-12)
    np.testing.assert_allclose(named.size_m[0], SIDES_M)


def test_typical_sides_name_the_axes_that_a_wrong_rotation_would_not():
    R = Rotation.random(random_state=4).as_matrix()
    wrong = R @ NAMES[np.argmin([np.trace(n) for n in NAMES])]  # half a turn off
    wrong = wrong @ Rotation.from_rotvec([0.0, 0.0, np.pi / 2]).as_matrix()
    box = BoxPose(R[None], np.zeros((1, 3)), SIDES_M[None])
    named = named_box(box, wrong[None], [Symmetry()], [1.3 * SIDES_M])
    np.testing.assert_allclose(named.size_m[0], SIDES_M)
    assert not np.allclose(named_box(box, wrong[None], [Symmetry()], [None]).size_m[0], SIDES_M)


def test_sides_about_a_continuous_axis_become_equal():
    box = BoxPose(np.eye(3)[None], np.zeros((1, 3)), np.array([[0.06, 0.2, 0.08]]))
    named = named_box(box, np.eye(3)[None], [Symmetry(infinite_axes=("y",))], [None])
    np.testing.assert_allclose(named.size_m, [[0.07, 0.2, 0.07]])


def test_no_object_is_no_box():
    boxes = CloudBoxes(_perceptron())
    box = boxes(np.zeros((0, 64, 3)), np.zeros((0, 3)), np.zeros((0, 3, 3)), [], [])
    assert [part.shape for part in box] == [(0, 3, 3), (0, 3), (0, 3)]


def test_a_flat_cloud_has_a_box_with_a_least_side():
    rng = np.random.default_rng(0)
    points = np.zeros((1, 64, 3))
    points[0, :, :2] = rng.uniform(-0.1, 0.1, (64, 2))
    frame = cloud_frame(points, np.array([[0.0, 0.0, 0.7]]))
    assert frame.sides_m.min() == pytest.approx(0.008)
    assert np.isfinite(completion_features(frame)).all()


def test_boxes_travel_in_metadata_and_damage_is_said():
    boxes = CloudBoxes(_perceptron())
    values = boxes.to_metadata()
    again = CloudBoxes.from_metadata(values)
    points, _, _ = _carton(2)
    arguments = (points - CENTRE_M)[None], CENTRE_M[None], np.eye(3)[None], [Symmetry()], [None]
    for a, b in zip(boxes(*arguments), again(*arguments), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    assert CloudBoxes.from_metadata(None) is None
    with pytest.raises(ModelError, match=r"model completion.*mkpose train --ship"):
        CloudBoxes.from_metadata({**values, "float16": values["float16"][:40]})


def _perceptron() -> Perceptron:
    points, _, _ = _carton(0)
    count = completion_features(cloud_frame((points - CENTRE_M)[None], CENTRE_M[None])).shape[1]
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.05, (count, 8)).astype(np.float32), rng.normal(0, 0.2, (8, OUTPUTS)).astype(np.float32)
    return Perceptron(
        np.zeros(count, np.float32), np.ones(count, np.float32), weights, (np.zeros(8), np.zeros(OUTPUTS))
    )
