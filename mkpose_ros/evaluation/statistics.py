"""What average precision leaves out: medians, sizes, box distance, misses, and whether the covariance is honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from mkpose_ros.evaluation.errors import exact_errors
from mkpose_ros.evaluation.overlap import exact_iou
from mkpose_ros.evaluation.protocol import Protocol
from mkpose_ros.geometry.boxes import box_corners
from mkpose_ros.geometry.symmetry import align_to_reference
from mkpose_ros.types import ObjectPose, ObjectTruth, Symmetry

__all__ = ["COVERAGE_LEVELS", "Pair", "Statistics", "collect_statistics", "is_pose", "mahalanobis"]

COVERAGE_LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class Pair:
    """A prediction and the object it stands for: the nearest of its category, within that object's diagonal."""

    image: int
    pose: ObjectPose
    truth: ObjectTruth
    degrees: float
    centimetres: float
    iou: float  # oriented
    size_error: float  # mean over the extents of |predicted / true - 1|
    box_distance_m: float  # mean distance of corresponding corners, after the symmetric turn that suits best
    coverage: tuple[bool, ...] | None  # is the truth inside the 50 % and the 90 % region; None: no covariance


@dataclass(frozen=True)
class Statistics:
    """The pairs of an evaluation, and what paired with nothing."""

    pairs: tuple[Pair, ...]
    missed: int  # objects without a prediction
    unpaired: int  # predictions without an object

    def summary(self, category: str | None = None) -> dict[str, float | int | None]:
        """Medians and shares over the pairs of a category (None: all); None for values that no pair supports."""
        pairs = [p for p in self.pairs if category is None or p.truth.category == category]
        covered = [p.coverage for p in pairs if p.coverage is not None]

        def median(values: list[float]) -> float | None:
            return float(np.median(values)) if values else None

        def share(flags: list[bool]) -> float | None:
            return 100.0 * float(np.mean(flags)) if flags else None

        close = [p.box_distance_m < 0.1 * np.linalg.norm(p.truth.size_m) for p in pairs]
        return {
            "pairs": len(pairs),
            "median_rotation_deg": median([p.degrees for p in pairs]),
            "median_translation_cm": median([p.centimetres for p in pairs]),
            "median_iou": median([p.iou for p in pairs]),
            "median_size_error_percent": median([100.0 * p.size_error for p in pairs]),
            "median_box_distance_cm": median([100.0 * p.box_distance_m for p in pairs]),
            "box_distance_below_10_percent": share(close),
        } | {
            f"covered_{round(100 * level)}_percent": share([c[i] for c in covered])
            for i, level in enumerate(COVERAGE_LEVELS)
        }


def collect_statistics(
    predictions: Sequence[Sequence[ObjectPose]], truths: Sequence[Sequence[ObjectTruth]], protocol: Protocol
) -> Statistics:
    """Pair every prediction, by descending score, with the nearest free object of its category, and measure."""
    found: list[tuple[int, ObjectPose, ObjectTruth]] = []
    missed = unpaired = 0
    for image, (poses, objects) in enumerate(zip(predictions, truths, strict=True)):
        free = [t for t in objects if t.category in protocol.categories]
        for pose in sorted((p for p in poses if p.category in protocol.categories), key=lambda p: -p.score):
            truth = _nearest(pose, free)
            if truth is None:
                unpaired += 1
            else:
                free = [t for t in free if t is not truth]
                found.append((image, pose, truth))
        missed += len(free)
    return Statistics(_measured(found), missed, unpaired)


def is_pose(pose: ObjectPose) -> bool:
    """Whether a prediction has a finite pose without reflection and three positive extents."""
    T, size_m = np.asarray(pose.T_cam_obj), np.asarray(pose.size_m)
    finite = bool(np.isfinite(T).all() and np.isfinite(size_m).all())
    return finite and bool((size_m > 0.0).all()) and np.linalg.det(T[:3, :3]) > 0.0


def _nearest(pose: ObjectPose, objects: list[ObjectTruth]) -> ObjectTruth | None:
    if not is_pose(pose):
        return None
    candidates = [
        (float(np.linalg.norm(pose.T_cam_obj[:3, 3] - t.T_cam_obj[:3, 3])), i)
        for i, t in enumerate(objects)
        if t.category == pose.category
    ]
    distance, index = min(candidates, default=(np.inf, -1))
    return objects[index] if index >= 0 and distance < np.linalg.norm(objects[index].size_m) else None


def _measured(found: list[tuple[int, ObjectPose, ObjectTruth]]) -> tuple[Pair, ...]:
    if not found:
        return ()
    T_pred, T_true = np.stack([p.T_cam_obj for _, p, _ in found]), np.stack([t.T_cam_obj for _, _, t in found])
    size_pred, size_true = np.stack([p.size_m for _, p, _ in found]), np.stack([t.size_m for _, _, t in found])
    symmetries = [t.symmetry for _, _, t in found]
    errors = exact_errors(T_pred, T_true, symmetries)
    ious = exact_iou(T_pred, size_pred, T_true, size_true, symmetries)
    return tuple(
        Pair(
            image=image,
            pose=pose,
            truth=truth,
            degrees=float(errors[i, 0]),
            centimetres=float(errors[i, 1]),
            iou=float(ious[i]),
            size_error=float(np.abs(size_pred[i] / size_true[i] - 1.0).mean()),
            box_distance_m=_box_distance_m(pose, truth),
            coverage=_coverage(pose, truth),
        )
        for i, (image, pose, truth) in enumerate(found)
    )


def _aligned_truth(pose: ObjectPose, truth: ObjectTruth) -> np.ndarray:
    """The true pose (4, 4), turned by its symmetry as near to the prediction as it gets."""
    T = truth.T_cam_obj.copy()
    T[:3, :3] = align_to_reference(T[:3, :3], pose.T_cam_obj[:3, :3], truth.symmetry)
    return T


def _box_distance_m(pose: ObjectPose, truth: ObjectTruth) -> float:
    """A distance like ADD that needs no model: of the eight corners, which feel rotation, translation and size."""
    predicted = box_corners(pose.T_cam_obj, pose.size_m)
    true = box_corners(_aligned_truth(pose, truth), truth.size_m)
    return float(np.linalg.norm(predicted - true, axis=1).mean())


def _coverage(pose: ObjectPose, truth: ObjectTruth) -> tuple[bool, ...] | None:
    """Whether the truth lies in the covariance's regions; None when the covariance is unknown (zero)."""
    distance, freedom = mahalanobis(pose, _aligned_truth(pose, truth), truth.symmetry)
    return None if freedom == 0 else tuple(bool(distance <= chi2.ppf(level, freedom)) for level in COVERAGE_LEVELS)


def mahalanobis(pose: ObjectPose, T_true: np.ndarray, symmetry: Symmetry) -> tuple[float, int]:
    """The squared distance of the true pose (4, 4) in units of the covariance, and its degrees of freedom.

    The turn about a continuous axis is left out: nothing can be right or wrong about it. (0, 0) for a covariance
    that is zero, not finite or not positive definite.
    """
    turn = Rotation.from_matrix(T_true[:3, :3] @ pose.T_cam_obj[:3, :3].T).as_rotvec()
    error = np.concatenate([T_true[:3, 3] - pose.T_cam_obj[:3, 3], turn])
    turns = np.eye(3)[[name not in symmetry.infinite_axes for name in "xyz"]]  # about object axes that can be seen
    if len(symmetry.infinite_axes) > 1:
        turns = np.zeros((0, 3))  # a ball
    keep = np.zeros((3 + len(turns), 6))
    keep[:3, :3] = np.eye(3)
    keep[3:, 3:] = turns @ pose.T_cam_obj[:3, :3].T
    covariance = keep @ pose.covariance @ keep.T
    error = keep @ error
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return 0.0, 0
    whitened = np.linalg.solve(factor, error)
    return (float(whitened @ whitened), len(error)) if np.isfinite(whitened).all() else (0.0, 0)
