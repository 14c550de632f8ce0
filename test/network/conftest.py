"""Small networks and batches that the network tests share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mkpose_ros.network.config import ImageConfig, ModelConfig, PointLevel, load_config
from mkpose_ros.network.export import random_inputs
from mkpose_ros.network.losses import Targets
from mkpose_ros.network.model import MKPose


def tiny_config(**changes: object) -> ModelConfig:
    """A network that runs in milliseconds and has every part."""
    values = {
        "name": "tiny",
        "crop_px": 32,
        "n_points": 32,
        "n_keypoints": 6,
        "d": 16,
        "d_image": 8,
        "d_point": 8,
        "heads": 2,
        "detector_blocks": 1,
        "fusion_blocks": 1,
        "neighbors": 4,
        "reconstruction_points": 3,
        "nocs_bins": 8,
        "text_dim": 12,
        "text_tokens": 5,
        "image": ImageConfig("efficientnet-lite0", (2, 3)),
        "point": (
            PointLevel(16, (0.03, 0.06), (4, 8), ((8, 8), (8, 8)), (8,)),
            PointLevel(8, (0.1,), (4,), ((16,),), (8,)),
        ),
    }
    return ModelConfig(**{**values, **changes})


def tensors(config: ModelConfig, batch: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Inputs of MKPose.forward."""
    return tuple(torch.from_numpy(v) for v in random_inputs(config, batch, seed).values())


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, rng=np.random.default_rng(seed)).as_matrix())


def make_targets(rotation: torch.Tensor, seed: int = 0, **changes: object) -> Targets:
    """Ground truth without symmetry, of the dtype of `rotation`."""
    b, g = len(rotation), torch.Generator().manual_seed(seed)
    values = {
        "rotation": rotation,
        "translation_m": 0.02 * torch.randn(b, 3, generator=g, dtype=rotation.dtype),
        "size_m": 0.05 + 0.2 * torch.rand(b, 3, generator=g, dtype=rotation.dtype),
        "axis_mask": torch.zeros(b, 3, dtype=rotation.dtype),
        "symmetries": torch.eye(3, dtype=rotation.dtype).expand(b, 1, 3, 3),
        "symmetry_count": torch.ones(b, dtype=torch.long),
    }
    return Targets(**{**values, **changes})


@pytest.fixture(scope="session")
def tiny() -> MKPose:
    torch.manual_seed(0)
    return MKPose(tiny_config()).eval()


@pytest.fixture(scope="session")
def small() -> MKPose:
    torch.manual_seed(0)
    return MKPose(load_config("small")).eval()
