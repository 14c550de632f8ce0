"""One pose of two answers: the pose head's, and the fit of the normalised coordinates to the keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mkpose_ros.categories import Category
from mkpose_ros.geometry.rotations import rotation_angle_rad
from mkpose_ros.geometry.symmetry import align_all
from mkpose_ros.types import Symmetry

__all__ = ["POSE_SOURCES", "FusedPoses", "fuse_poses", "seen_symmetry"]

# Whose pose a model gives; its calibration, which belongs to one, says which.
POSE_SOURCES = ("head", "fused", "refined")
HEAD_WEIGHT = 0.1  # of the head's rotation beside the fit's; docs/model.md has the measurement


class FusedPoses(NamedTuple):
    """B poses relative to the cloud's origin."""

    rotation: np.ndarray  # (B, 3, 3)
    translation_m: np.ndarray  # (B, 3)
    disagreement: np.ndarray  # (B, 2) between the two translations in metres, from the head's rotation in radians


def fuse_poses(
    rotation: np.ndarray,
    translation_m: np.ndarray,
    size_m: np.ndarray,
    keypoints_m: np.ndarray,
    nocs: np.ndarray,
    symmetries: Sequence[Symmetry],
) -> FusedPoses:
    """The rotation nearest to the least-squares fit of |s| NOCS to the keypoints, and a little to the head's; the mean
    of both translations.

    Args are the network's outputs: (B, 3, 3), (B, 3), (B, 3), (B, K, 3), (B, K, 3), and each object's symmetry, within
    which the head's rotation is turned to the fit's. The size is the head's; a fitted scale (Umeyama) is worse.
    """
    if not len(rotation):
        return FusedPoses(np.zeros((0, 3, 3)), np.zeros((0, 3)), np.zeros((0, 2)))
    head = rotation.astype(np.float64)
    model = nocs.astype(np.float64) * np.linalg.norm(size_m, axis=-1)[:, None, None]
    seen = keypoints_m.astype(np.float64)
    model_mean, seen_mean = model.mean(axis=1), seen.mean(axis=1)
    model, seen = model - model_mean[:, None], seen - seen_mean[:, None]
    spread = np.maximum((model**2).sum(axis=(1, 2)), 1e-12)  # coordinates in one spot say nothing: the head remains
    fit = np.swapaxes(seen, 1, 2) @ model / spread[:, None, None]
    head = align_all(head, _nearest_rotations(fit + 1e-6 * head), tuple(symmetries))
    fused = _nearest_rotations(fit + HEAD_WEIGHT * head)
    fitted_m = seen_mean - np.einsum("bij,bj->bi", fused, model_mean)
    apart = np.stack([np.linalg.norm(fitted_m - translation_m, axis=1), rotation_angle_rad(fused, head)], axis=1)
    return FusedPoses(fused, 0.5 * (fitted_m + translation_m), apart)


def _nearest_rotations(M: np.ndarray) -> np.ndarray:
    """The rotations (B, 3, 3) nearest to matrices (B, 3, 3)."""
    U, _, Vt = np.linalg.svd(M)
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
    return U @ Vt


def seen_symmetry(category: Category | None, axis_symmetric: float) -> Symmetry:
    """The category's symmetry; for hidden handles, and categories of which nothing is known, what is seen decides.

    ``axis_symmetric``: the network's probability that the object, as seen now, is continuous about its y axis.
    """
    if (category is None or category.hidden_handle) and axis_symmetric > 0.5:
        return Symmetry(infinite_axes=("y",))
    return category.symmetry if category else Symmetry()
