"""Yardsticks on the same crops: a box by principal axes, a mean shape by ICP, and NOCS with a similarity fit.

Each takes CropSamples and returns rotation (B, 3, 3), translation_m (B, 3) relative to the centroid and size_m (B, 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.categories import load_categories
from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.geometry.rotations import project_to_rotation
from mkpose_ros.training.validate import Predictions

__all__ = ["Poses", "mean_shape_icp", "nocs_umeyama", "principal_box", "umeyama"]


class Poses(NamedTuple):
    """B estimates."""

    rotation: np.ndarray
    translation_m: np.ndarray
    size_m: np.ndarray


def principal_box(samples: CropSamples) -> Poses:
    """The category's mean box, its axes laid along the cloud's principal axes by order of length."""
    return _each(samples, _principal_box)


def _principal_box(points: np.ndarray, category: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = _mean_size(category)
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)  # rows, longest first
    rotation = np.empty((3, 3))
    rotation[:, np.argsort(-size)] = axes.T
    local = points @ rotation
    centre = rotation @ (0.5 * (local.min(axis=0) + local.max(axis=0)))
    return project_to_rotation(rotation), centre, size


def mean_shape_icp(samples: CropSamples, template: Callable[[str], np.ndarray], starts: int = 24) -> Poses:
    """A template of each category, scaled to its mean box, by point-to-point ICP from many orientations (open3d).

    `template`: category -> points (M, 3) in the object frame, centred. The start of highest overlap wins.
    """
    clouds = {name: _scaled(template(name), _mean_size(name)) for name in np.unique(samples.category)}
    turns = Rotation.random(starts, random_state=0).as_matrix()

    def fit(points: np.ndarray, category: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (*_best_icp(points, clouds[category], turns), _mean_size(category))

    return _each(samples, fit)


def _best_icp(points: np.ndarray, model: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import open3d

    observed, whole = open3d.geometry.PointCloud(), open3d.geometry.PointCloud()
    observed.points = open3d.utility.Vector3dVector(points[:256])
    whole.points = open3d.utility.Vector3dVector(model)
    method = open3d.pipelines.registration.TransformationEstimationPointToPoint()
    stop = open3d.pipelines.registration.ICPConvergenceCriteria(max_iteration=30)
    reach = 0.25 * np.linalg.norm(np.ptp(model, axis=0))
    best = None
    for turn in turns:  # the observed part moves onto the whole model: a part has a neighbour for each of its points
        start = np.eye(4)
        start[:3, :3] = turn.T
        found = open3d.pipelines.registration.registration_icp(observed, whole, reach, start, method, stop)
        cost = found.inlier_rmse + reach * (1.0 - found.fitness)
        if best is None or cost < best[0]:
            best = cost, found.transformation
    T_obj_cam = best[1]
    rotation = project_to_rotation(T_obj_cam[:3, :3].T)
    return rotation, -rotation @ T_obj_cam[:3, 3]


def nocs_umeyama(predictions: Predictions, *, keypoints_m: str = "keypoints_m", nocs: str = "nocs") -> Poses:
    """The pose by which the network's normalised coordinates fit its keypoints best, as NOCS (Wang et al., 2019) does.

    The extents are those of the normalised coordinates, symmetric about the origin, times the fitted scale.
    """
    rows = []
    for points, coordinates in zip(predictions[keypoints_m], predictions[nocs], strict=True):
        scale, rotation, translation = umeyama(coordinates.astype(float), points.astype(float))
        size = 2.0 * scale * np.abs(coordinates).max(axis=0)
        rows.append((rotation, translation, np.maximum(size, 1e-3)))
    return _stack(rows)


def umeyama(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation (3, 3) and translation (3,) of least squares: target = scale * R source + t (Umeyama, 1991).

    Points (N, 3). A source without extent gets scale 1.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_mean, target - target_mean
    U, strength, Vt = np.linalg.svd(target.T @ source)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    rotation = (U * flip) @ Vt
    spread = np.sum(source**2)
    scale = float(strength @ flip / spread) if spread > 0.0 else 1.0
    return scale, rotation, target_mean - scale * rotation @ source_mean


def _each(samples: CropSamples, fit: Callable[[np.ndarray, str], tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Poses:
    pairs = zip(samples.points_m.astype(np.float64), samples.category.tolist(), strict=True)
    return _stack([fit(points, category) for points, category in pairs])


def _stack(rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Poses:
    rotations, translations, sizes = zip(*rows, strict=True)
    return Poses(np.stack(rotations), np.stack(translations), np.stack(sizes))


def _mean_size(category: str) -> np.ndarray:
    size = load_categories()[category].mean_size_m
    return np.array(size if size else (0.1, 0.1, 0.1))


def _scaled(points: np.ndarray, size_m: np.ndarray) -> np.ndarray:
    return points / np.ptp(points, axis=0) * size_m
