"""Held-out crops through the network: errors for metrics, and raw outputs for calibration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from mkpose_ros.categories import load_categories
from mkpose_ros.datasets.samples import CropSamples, concatenate
from mkpose_ros.inference.fusion import fuse_poses, seen_symmetry
from mkpose_ros.network.config import ModelConfig
from mkpose_ros.network.keypoints import masked_mean
from mkpose_ros.training.augment import farthest_first, subset_points
from mkpose_ros.training.batches import TextTable, symmetries_of, to_batch
from mkpose_ros.training.config import TrainConfig
from mkpose_ros.training.metrics import PoseErrors, per_category, pose_errors, summary
from mkpose_ros.training.shards import list_shards, read_shard

__all__ = ["Predictions", "Validator", "errors_of", "fused", "load_crops", "predict"]

# rotation, translation_m, size_m, log_variance, axis_symmetric_logit, keypoints_m, nocs, text (the mean token), and of
# fused() head_rotation, head_translation_m and disagreement: one row per sample
Predictions = dict[str, np.ndarray]


class Validator:
    """Metrics of a model on the configured held-out crops, loaded once."""

    def __init__(self, config: TrainConfig, model: ModelConfig, text: TextTable, device: torch.device) -> None:
        self._text, self._device, self._model = text, device, model
        self._exclude = tuple(config.data.exclude)
        self._samples = load_crops(config.data.val_shards, limit=config.data.val_limit)

    @property
    def has_data(self) -> bool:
        return self._samples is not None

    def __call__(self, model: torch.nn.Module) -> dict[str, float]:
        """Flat metrics of the trained categories; `score`, the mean of four of them, picks the best weights."""
        raw = predict(model, self._samples, self._text, self._device, self._model)
        errors = errors_of(fused(raw, self._samples), self._samples)
        known = ~np.isin(errors.category, self._exclude)
        result = summary(errors.select(known))
        result["score"] = float(np.mean([result[k] for k in ("iou50", "iou75", "5d2cm", "10d5cm")]))
        if not known.all():
            result.update({f"zero_shot/{k}": v for k, v in summary(errors.select(~known)).items()})
        for name, values in per_category(errors).items():
            result.update({f"{name}/{k}": values[k] for k in ("iou50", "10d5cm", "median_rotation_deg")})
        return result


def load_crops(folders: list[str], *, limit: int | None = None) -> CropSamples | None:
    """The crops of the folders' shards, spread evenly when `limit` cuts them; None when there are none."""
    parts = [read_shard(path) for path in list_shards([Path(f) for f in folders])]
    if not parts:
        return None
    samples = concatenate(parts)
    if limit is None or len(samples) <= limit:
        return samples
    return samples.take(np.linspace(0, len(samples) - 1, limit).astype(int))


@torch.no_grad()
def predict(
    model: torch.nn.Module,
    samples: CropSamples,
    text: TextTable,
    device: torch.device,
    config: ModelConfig,
    *,
    batch: int = 64,
) -> Predictions:
    """The network's outputs for all samples, unaugmented, as numpy arrays of one row per sample."""
    model.eval()
    parts = []
    for rows in _slices(len(samples), batch):
        part = samples.take(rows)
        inputs = farthest_first(subset_points(to_batch(part, device), config.n_points), config.point[0].points)
        tokens, mask = text(part.category.tolist())
        output = model(inputs.image, inputs.points_m, inputs.pixels, tokens, mask)
        names = ("rotation", "translation_m", "size_m", "log_variance", "axis_symmetric_logit", "keypoints_m", "nocs")
        parts.append({name: getattr(output, name).float().cpu().numpy() for name in names})
        parts[-1]["text"] = masked_mean(tokens, mask).cpu().numpy()
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def fused(predictions: Predictions, samples: CropSamples) -> Predictions:
    """Predictions with the pose of the head and the keypoints together; the head's own is `head_...` then, and how far
    the two are apart is `disagreement`."""
    categories = load_categories()
    symmetries = [
        seen_symmetry(categories.get(name), float(logit > 0.0))
        for name, logit in zip(samples.category.tolist(), predictions["axis_symmetric_logit"], strict=True)
    ]
    names = ("rotation", "translation_m", "size_m", "keypoints_m", "nocs")
    found = fuse_poses(*(predictions[name] for name in names), symmetries)
    head = {f"head_{name}": predictions[name] for name in ("rotation", "translation_m")}
    return {**predictions, **head, **found._asdict()}


def errors_of(predictions: Predictions, samples: CropSamples) -> PoseErrors:
    """pose_errors of predictions against their samples' truth."""
    return pose_errors(
        predictions["rotation"],
        predictions["translation_m"],
        predictions["size_m"],
        true_rotation=samples.rotation,
        true_translation_m=samples.translation_m,
        true_size_m=samples.size_m,
        symmetries=symmetries_of(samples.infinite, samples.orders),
        category=samples.category,
    )


def _slices(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))
