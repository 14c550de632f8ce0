"""Weights to train on from: those of a whole network less what its ImageNet backbone has anyway."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from mkpose_ros.errors import ModelError
from mkpose_ros.segmentation.maskrcnn.backbone import imagenet_weights
from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn
from mkpose_ros.training.checkpoint import load_weights, save_weights

__all__ = ["load_imagenet", "load_trained", "save_trained"]

BACKBONE, LATERAL = "backbone.bottom_up.", "backbone.fpn_lateral"
RELIEF = BACKBONE + "relief."


def save_trained(model: MaskRcnn, path: Path) -> None:
    """Write a network's weights as safetensors; a frozen backbone's, which a package holds, are left out."""
    given = {BACKBONE + name: value for name, value in imagenet_weights(model.config.backbone).items()}
    weights = model.state_dict()
    save_weights(path, {k: v for k, v in weights.items() if k not in given or not torch.equal(v.cpu(), given[k])})


def load_imagenet(model: MaskRcnn) -> None:
    """Put ImageNet's weights into a network's backbone."""
    bottom_up = model.backbone.bottom_up
    bottom_up.load_state_dict(imagenet_weights(model.config.backbone), strict=bottom_up.relief is None)


def load_trained(model: MaskRcnn, path: Path) -> None:
    """Put such weights into a network, and ImageNet's where they have none. Raises ModelError for another network's."""
    load_imagenet(model)
    weights = _doubled(model, _widened(model, load_weights(path)))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    wrong = sorted(name for name, value in weights.items() if shapes.get(name) != value.shape)
    absent = sorted(name for name in shapes if name not in weights and not name.startswith(BACKBONE))
    if wrong or absent:
        raise ModelError(
            f"{path}: weights of another network than the config's: {len(wrong)} do not fit ({', '.join(wrong[:3])}), "
            f"{len(absent)} are missing ({', '.join(absent[:3])})"
        )
    model.load_state_dict(weights, strict=False)


def _doubled(model: MaskRcnn, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a network with one box head for one with a second: both begin as that one."""
    if not model.config.own_second_head or any("_again." in name for name in weights):
        return weights
    first = re.compile(r"roi_heads\.box_(head|predictor)\.")
    return weights | {
        first.sub(r"roi_heads.box_\1_again.", name): value for name, value in weights.items() if first.match(name)
    }


def _widened(model: MaskRcnn, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a network without relief for one that sees it: all as before until it has learnt what relief says."""
    if not model.config.relief or any(name.startswith(RELIEF) for name in weights):
        return weights
    own = model.state_dict()
    for name in weights:
        if name.startswith(LATERAL) and name.endswith("weight"):
            old, wide = weights[name], torch.zeros_like(own[name])
            wide[:, : old.shape[1]] = old
            weights = weights | {name: wide}
    return weights
