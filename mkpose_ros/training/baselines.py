"""Yardsticks for the network: a box by principal axes, a mean shape by ICP, and NOCS with a similarity fit.

Each takes the points (N, 3) of one object and its category, and returns its rotation, translation and size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.categories import load_categories
from mkpose_ros.geometry.rotations import project_to_rotation

__all__ = ["Box", "MeanShapeIcp", "nocs_umeyama", "principal_box", "umeyama"]


class Box(NamedTuple):
    """An estimate in the frame of the points, metres."""

    rotation: np.ndarray
    translation_m: np.ndarray
    size_m: np.ndarray


def principal_box(points: np.ndarray, category: str) -> Box:
    """The category's mean box, its axes laid along the cloud's principal axes by order of length."""
    size = _mean_size(category)
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)  # rows, longest first
    rotation = np.empty((3, 3))
    rotation[:, np.argsort(-size)] = axes.T
    local = points @ rotation
    centre = rotation @ (0.5 * (local.min(axis=0) + local.max(axis=0)))
    return Box(project_to_rotation(rotation), centre, size)


class MeanShapeIcp:
    """A template of each category, scaled to its mean box, by point-to-point ICP from many orientations (open3d)."""

    def __init__(self, template: Callable[[str], np.ndarray], starts: int = 24) -> None:
        """`template`: category -> points (M, 3) in the object frame, centred. The start of highest overlap wins."""
        self._template = template
        self._turns = Rotation.random(starts, random_state=0).as_matrix()
        self._clouds: dict[str, np.ndarray] = {}

    def __call__(self, points: np.ndarray, category: str) -> Box:
        size = _mean_size(category)
        if category not in self._clouds:
            template = self._template(category)
            self._clouds[category] = template / np.ptp(template, axis=0) * size
        centre = points.mean(axis=0)
        rotation, translation = _best_icp(points - centre, self._clouds[category], self._turns)
        return Box(rotation, translation + centre, size)


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


def nocs_umeyama(keypoints_m: np.ndarray, nocs: np.ndarray) -> Box:
    """The pose by which the network's normalised coordinates fit its keypoints best, as NOCS (Wang et al., 2019) does.

    The extents are those of the normalised coordinates (K, 3), symmetric about the origin, times the fitted scale.
    """
    scale, rotation, translation = umeyama(nocs.astype(float), keypoints_m.astype(float))
    return Box(rotation, translation, np.maximum(2.0 * scale * np.abs(nocs).max(axis=0), 1e-3))


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


def _mean_size(category: str) -> np.ndarray:
    size = load_categories()[category].mean_size_m
    return np.array(size if size else (0.1, 0.1, 0.1))
