"""The network beside the yardsticks of baselines.py, on the held-out crops of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.errors import MkposeError
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.network.model import load_checkpoint
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.training.baselines import Poses, mean_shape_icp, nocs_umeyama, principal_box
from mkpose_ros.training.batches import TextTable, symmetries_of
from mkpose_ros.training.metrics import pose_errors, summary
from mkpose_ros.training.validate import load_crops, predict

__all__ = ["compare"]


def compare(weights: Path, folders: list[str], *, limit: int | None = None) -> dict[str, dict[str, float]]:
    """Metrics by method on the crops of `folders`: mean box, mean shape with ICP, NOCS with Umeyama, the network.

    `weights` is a run's best.safetensors or a shipped model.safetensors. Raises MkposeError without crops.
    """
    crops = load_crops(folders, limit=limit)
    if crops is None:
        raise MkposeError(f"no crops in {', '.join(folders)}; render some with `mkpose train --render N --split val`")
    model, _ = load_checkpoint(weights)
    device = torch.device("cpu")
    predictions = predict(model, crops, TextTable(load_text_features(), device), device, model.config)
    network = Poses(predictions["rotation"], predictions["translation_m"], predictions["size_m"])
    methods = {
        "mean box by principal axes": principal_box(crops),
        "mean shape by ICP": mean_shape_icp(crops, _template),
        "NOCS and Umeyama": nocs_umeyama(predictions),
        f"MK-Pose {model.config.name}": network,
    }
    return {name: _metrics(poses, crops) for name, poses in methods.items()}


def _template(category: str) -> np.ndarray:
    """Points (1000, 3) on the surface of a generated training shape."""
    shape = ShapeLibrary("train").get(category, 0)
    corners = shape.vertices_m[shape.faces].astype(np.float64)  # (F, 3, 3)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    rng = np.random.default_rng(0)
    chosen = corners[rng.choice(len(corners), 1000, p=areas / areas.sum())]
    weights = rng.dirichlet(np.ones(3), 1000)
    return np.einsum("nk,nkc->nc", weights, chosen)


def _metrics(poses: Poses, crops: CropSamples) -> dict[str, float]:
    errors = pose_errors(
        *poses,
        true_rotation=crops.rotation,
        true_translation_m=crops.translation_m,
        true_size_m=crops.size_m,
        symmetries=symmetries_of(crops.infinite, crops.orders),
        category=crops.category,
    )
    return summary(errors)
