"""How far a predicted pose is from the true one, as the field measures it and as it should be measured."""

from __future__ import annotations

import numpy as np

from mkpose_ros.geometry.symmetry import symmetric_rotation_error_rad
from mkpose_ros.types import Symmetry

__all__ = ["exact_errors", "published_errors"]


def published_errors(T_pred: np.ndarray, T_true: np.ndarray, symmetric: np.ndarray) -> np.ndarray:
    """Degrees and centimetres (n, 2) of n pairs of poses (n, 4, 4), by the field's formulas.

    For symmetric objects (n,) bool the angle between the y axes, whose arccos is not clipped: rounding can make it
    NaN, which later passes every threshold.
    """
    R_pred, R_true = _unscaled(T_pred), _unscaled(T_true)
    y_pred, y_true = R_pred[:, :, 1], R_true[:, :, 1]
    norms = np.linalg.norm(y_pred, axis=1) * np.linalg.norm(y_true, axis=1)
    trace = np.einsum("nij,nij->n", R_pred, R_true)
    with np.errstate(invalid="ignore"):
        between_axes = np.arccos((y_pred * y_true).sum(axis=1) / norms)
        geodesic = np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))
    degrees = np.where(symmetric, between_axes, geodesic) * 180.0 / np.pi
    centimetres = np.linalg.norm(T_pred[:, :3, 3] - T_true[:, :3, 3], axis=1) * 100.0
    return np.stack([degrees, centimetres], axis=1)


def _unscaled(T: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) without scale; a reflection's sign goes with it, as in the field's code."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return T[:, :3, :3] / np.cbrt(np.linalg.det(T[:, :3, :3]))[:, None, None]


def exact_errors(T_pred: np.ndarray, T_true: np.ndarray, symmetries: list[Symmetry]) -> np.ndarray:
    """Degrees and centimetres (n, 2) of n pairs of poses (n, 4, 4), the smallest over each truth's symmetry."""
    errors = np.empty((len(T_pred), 2))
    for index, symmetry in enumerate(symmetries):
        angle = symmetric_rotation_error_rad(T_pred[index, :3, :3], T_true[index, :3, :3], symmetry)
        errors[index] = np.degrees(angle), 100.0 * np.linalg.norm(T_pred[index, :3, 3] - T_true[index, :3, 3])
    return errors
