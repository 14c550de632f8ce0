"""Fits the refiner of inference/refinement.py to a trained network's errors on its training crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.geometry.rotations import rotations_of, turns_of
from mkpose_ros.geometry.symmetry import align_all
from mkpose_ros.inference.refinement import LARGEST_CORRECTION, BoxPose, Refiner, Seen, box_features, brightness_of
from mkpose_ros.training.batches import symmetries_of
from mkpose_ros.training.perceptron import PerceptronConfig, fit_perceptron
from mkpose_ros.training.validate import Predictions

__all__ = ["RefinerConfig", "fit_refiner", "refined", "true_correction"]


class RefinerConfig(NamedTuple):
    """How a refiner is fitted."""

    perceptron: PerceptronConfig = PerceptronConfig(hidden=256, visits=40, batch=512)
    disturbed: int = 2  # copies of each crop from a pose that is a little worse than the network's
    turn_rad: float = 0.06  # standard deviations of that disturbance
    shift: float = 0.025  # of the box's diagonal
    growth: float = 0.05


def fit_refiner(
    predictions: Predictions, crops: CropSamples, config: RefinerConfig | None = None, *, n_points: int
) -> Refiner:
    """A refiner of `validate.fused` predictions, from as many of each crop's points as the network saw.

    A network that knows its training crops no better than others makes the errors there that it makes elsewhere.
    """
    config = config or RefinerConfig()
    rng = np.random.default_rng(config.perceptron.seed)
    pose, total = _pose(predictions), crops.points_m.shape[1]
    inputs, targets = [], []
    for copy in range(1 + config.disturbed):
        start = pose if copy == 0 else _disturbed(pose, config, rng)
        columns = np.arange(n_points) if copy == 0 else rng.choice(total, n_points, replace=False)
        seen = _seen(predictions, crops, columns)
        inputs.append(box_features(start, seen))
        targets.append(true_correction(start, crops))
    corrections = np.concatenate(targets).clip(-LARGEST_CORRECTION, LARGEST_CORRECTION)
    return Refiner(fit_perceptron(np.concatenate(inputs), corrections, config.perceptron, scaled_by=inputs[0]))


def refined(
    predictions: Predictions, crops: CropSamples, refiner: Refiner, *, n_points: int, trained: Sequence[str]
) -> Predictions:
    """`validate.fused` predictions with the pose and the size that the node gives in the end.

    `trained`: the categories that the network was trained on; the others' poses stay.
    """
    seen = _seen(predictions, crops, np.arange(n_points))
    return {**predictions, **refiner(_pose(predictions), seen, np.isin(crops.category, trained))._asdict()}


def true_correction(pose: BoxPose, crops: CropSamples) -> np.ndarray:
    """What `refinement.corrected` needs (B, 9) to turn poses into the truth; 0 about a continuous axis."""
    symmetries = tuple(symmetries_of(crops.infinite, crops.orders))
    truth = align_all(crops.rotation.astype(np.float64), pose.rotation.astype(np.float64), symmetries)
    turn = turns_of(np.swapaxes(pose.rotation, 1, 2) @ truth)
    shift = 2.0 * np.einsum("bi,bij->bj", crops.translation_m - pose.translation_m, pose.rotation) / pose.size_m
    return np.concatenate([shift, np.log(crops.size_m / pose.size_m), np.where(crops.infinite, 0.0, turn)], axis=1)


def _pose(predictions: Predictions) -> BoxPose:
    return BoxPose(*(predictions[name] for name in BoxPose._fields))


def _seen(predictions: Predictions, crops: CropSamples, columns: np.ndarray) -> Seen:
    return Seen(
        crops.points_m[:, columns].astype(np.float32),
        brightness_of(crops.image, crops.pixels[:, columns].astype(np.float32)),
        *(predictions[name] for name in Seen._fields[2:]),
    )


def _disturbed(pose: BoxPose, config: RefinerConfig, rng: np.random.Generator) -> BoxPose:
    turn, shift, growth = rng.normal(size=(3, len(pose.rotation), 3))
    diagonal_m = np.linalg.norm(pose.size_m, axis=1, keepdims=True)
    return BoxPose(
        pose.rotation @ rotations_of(config.turn_rad * turn),
        pose.translation_m + config.shift * diagonal_m * shift,
        pose.size_m * np.exp(config.growth * growth),
    )
