"""Fits the completion of inference/cloud_box.py: what of a box the camera can't see, learnt from known categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

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
from mkpose_ros.inference.perceptron import Perceptron
from mkpose_ros.training.batches import symmetries_of
from mkpose_ros.training.validate import Predictions
from mkpose_ros.types import Symmetry

__all__ = ["CompletionConfig", "boxed", "fit_completion", "true_completion"]


class CompletionConfig(NamedTuple):
    """How a completion is fitted."""

    hidden: int = 128
    visits: int = 60  # of each crop
    batch: int = 256
    lr: float = 3e-3
    weight_decay: float = 0.05
    dropout: float = 0.2  # of the first hidden layer
    seed: int = 0


def fit_completion(crops: CropSamples, config: CompletionConfig | None = None, *, n_points: int) -> CloudBoxes:
    """Boxes from `n_points` of each crop's points; the categories are not told, so it serves others as well."""
    config = config or CompletionConfig()
    frame = cloud_frame(crops.points_m[:, :n_points].astype(np.float64), crops.centroid_m.astype(np.float64))
    features = completion_features(frame)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 0.01
    x = torch.from_numpy((features - mean) / scale)
    y = torch.from_numpy(true_completion(frame, crops).clip(-LARGEST, LARGEST).astype(np.float32))
    layers = [layer for layer in _fit(x, y, config) if isinstance(layer, nn.Linear)]
    weights = tuple(layer.weight.detach().numpy().T for layer in layers)
    return CloudBoxes(Perceptron(mean, scale, weights, tuple(layer.bias.detach().numpy() for layer in layers)))


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


def _fit(x: torch.Tensor, y: torch.Tensor, config: CompletionConfig) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = nn.Sequential(
            nn.Linear(x.shape[1], config.hidden), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden), nn.ReLU(), nn.Linear(config.hidden, y.shape[1]),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        steps = -(-config.visits * len(x) // config.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            rows = torch.randint(len(x), (config.batch,))
            loss = F.smooth_l1_loss(net(x[rows]), y[rows], beta=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net
