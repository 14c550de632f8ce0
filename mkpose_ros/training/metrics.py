"""How good poses are, crop by crop: the numbers watched during training and printed on the model card.

Every crop has one truth and one prediction here, so each figure is a plain share of the instances. The benchmark's
average precision, with its matching over frames, is `mkpose eval`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mkpose_ros.geometry.boxes import oriented_iou
from mkpose_ros.geometry.rotations import compose_pose, rotation_angle_rad
from mkpose_ros.geometry.symmetry import align_to_reference
from mkpose_ros.types import Symmetry

__all__ = ["THRESHOLDS", "PoseErrors", "per_category", "pose_errors", "summary"]

# name -> (degrees, metres)
THRESHOLDS = {"5d2cm": (5.0, 0.02), "5d5cm": (5.0, 0.05), "10d2cm": (10.0, 0.02), "10d5cm": (10.0, 0.05)}
_IOUS = {"iou25": 0.25, "iou50": 0.50, "iou75": 0.75}


@dataclass(frozen=True)
class PoseErrors:
    """Errors of B predictions."""

    rotation_deg: np.ndarray  # (B,) the symmetry's free turns forgiven
    translation_m: np.ndarray  # (B,)
    iou: np.ndarray  # (B,) of the oriented boxes, exact, the truth turned to the prediction where it is free
    category: np.ndarray  # (B,) str

    def select(self, rows: np.ndarray) -> PoseErrors:
        """Those of `rows` (indices, or B booleans)."""
        return PoseErrors(self.rotation_deg[rows], self.translation_m[rows], self.iou[rows], self.category[rows])


def pose_errors(
    rotation: np.ndarray,
    translation_m: np.ndarray,
    size_m: np.ndarray,
    *,
    true_rotation: np.ndarray,
    true_translation_m: np.ndarray,
    true_size_m: np.ndarray,
    symmetries: Sequence[Symmetry],
    category: np.ndarray,
) -> PoseErrors:
    """Compare B poses (B, 3, 3), (B, 3), (B, 3) with the truth of the same shapes."""
    aligned = np.empty((len(rotation), 3, 3))
    for i, symmetry in enumerate(symmetries):
        aligned[i] = align_to_reference(true_rotation[i].astype(float), rotation[i].astype(float), symmetry)
    iou = oriented_iou(
        compose_pose(rotation, translation_m), size_m, compose_pose(aligned, true_translation_m), true_size_m
    )
    return PoseErrors(
        rotation_deg=np.degrees(rotation_angle_rad(rotation, aligned)),
        translation_m=np.linalg.norm(translation_m - true_translation_m, axis=-1),
        iou=iou,
        category=np.asarray(category),
    )


def summary(errors: PoseErrors) -> dict[str, float]:
    """Shares in percent at the usual thresholds, and medians; {} for no instance.

    >>> summary(PoseErrors(np.array([4.0]), np.array([0.01]), np.array([0.6]), np.array(["mug"])))["5d2cm"]
    100.0
    """
    if len(errors.iou) == 0:
        return {}
    result = {name: 100.0 * float(np.mean(errors.iou >= least)) for name, least in _IOUS.items()}
    for name, (degrees, metres) in THRESHOLDS.items():
        good = (errors.rotation_deg <= degrees) & (errors.translation_m <= metres)
        result[name] = 100.0 * float(np.mean(good))
    result["median_rotation_deg"] = float(np.median(errors.rotation_deg))
    result["median_translation_cm"] = 100.0 * float(np.median(errors.translation_m))
    result["median_iou"] = float(np.median(errors.iou))
    result["instances"] = len(errors.iou)
    return result


def per_category(errors: PoseErrors) -> Mapping[str, dict[str, float]]:
    """summary() of each category present, by name."""
    result = {}
    for name in np.unique(errors.category):
        result[str(name)] = summary(errors.select(errors.category == name))
    return result
