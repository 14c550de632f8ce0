"""Fits the completion of inference/cloud_box.py: what of a box the camera can't see, learnt from known categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mkpose_ros.categories import load_categories
from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.geometry.symmetry import align_all, finite_rotations
from mkpose_ros.inference.cloud_box import (
    LARGEST,
    CloudBoxes,
    CloudFrame,
    cloud_frame,
    completed,
    completion_features,
)
from mkpose_ros.training.batches import symmetries_of
from mkpose_ros.training.perceptron import PerceptronConfig, fit_perceptron
from mkpose_ros.training.validate import Predictions
from mkpose_ros.types import Symmetry

__all__ = ["boxed", "fit_completion", "true_completion"]


def fit_completion(crops: CropSamples, config: PerceptronConfig | None = None, *, n_points: int) -> CloudBoxes:
    """Boxes from `n_points` of each crop's points; the categories are not told, so it serves others as well."""
    frame = cloud_frame(crops.points_m[:, :n_points].astype(np.float64), crops.centroid_m.astype(np.float64))
    targets = true_completion(frame, crops).clip(-LARGEST, LARGEST)
    return CloudBoxes(fit_perceptron(completion_features(frame), targets, config or PerceptronConfig()))


def boxed(
    predictions: Predictions, crops: CropSamples, boxes: CloudBoxes, *, n_points: int, trained: Sequence[str]
) -> Predictions:
    """`validate.fused` predictions with the boxes that the node gives categories that are not `trained`."""
    rows = np.flatnonzero(~np.isin(crops.category, trained))
    categories, part = load_categories(), crops.take(rows)
    pose = boxes(
        part.points_m[:, :n_points].astype(np.float64),
        part.centroid_m.astype(np.float64),
        predictions["head_rotation"][rows],
        symmetries_of(part.infinite, part.orders),
        [categories[name].mean_size_m if name in categories else None for name in part.category.tolist()],
    )
    changed = {name: predictions[name].copy() for name in pose._fields}
    for name, value in pose._asdict().items():
        changed[name][rows] = value
    return {**predictions, **changed}


def true_completion(frame: CloudFrame, crops: CropSamples) -> np.ndarray:
    """What `completed` needs (B, 6) to turn tight boxes into the true ones, up to the turn that is left between them.

    A true side is held against the axis that it is nearest to, of all ways to name the box's axes.
    """
    symmetries = tuple(symmetries_of(crops.infinite, crops.orders))
    truth, true_m = crops.rotation.astype(np.float64), crops.size_m.astype(np.float64)
    axes = completed(frame, np.zeros((len(truth), 6))).rotation
    nearest, sides_m = np.full(len(truth), -np.inf), np.empty_like(true_m)
    for names in finite_rotations(Symmetry(orders=(4, 4, 4))):
        candidate = axes @ names
        near = np.einsum("bij,bij->b", align_all(truth, candidate, symmetries), candidate)
        rows = near > nearest
        nearest[rows], sides_m[rows] = near[rows], (true_m @ np.abs(names).T)[rows]
    centre_m = np.einsum("bi,bij->bj", crops.translation_m.astype(np.float64), frame.axes)
    return np.concatenate([2.0 * (centre_m - frame.centre_m) / frame.sides_m, np.log(sides_m / frame.sides_m)], axis=1)
