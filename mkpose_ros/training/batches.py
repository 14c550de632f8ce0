"""From CropSamples to what the network and its loss take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.symmetry import finite_rotations
from mkpose_ros.inference.text_features import TextFeatures
from mkpose_ros.network.losses import Targets
from mkpose_ros.training.augment import Batch
from mkpose_ros.types import Symmetry

__all__ = ["TextTable", "build_targets", "symmetries_of", "symmetry_rotations", "to_batch"]


class TextTable:
    """The descriptions' token features on the training device, looked up by category."""

    def __init__(self, features: TextFeatures, device: torch.device) -> None:
        self._row = {name: i for i, name in enumerate(features.names)}
        text, mask = features.batch(features.names)
        self._text, self._mask = torch.from_numpy(text).to(device), torch.from_numpy(mask).to(device)

    def __call__(self, categories: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """(text (B, T, D), mask (B, T)) of B categories. Raises InputError for one without features."""
        unknown = sorted(set(categories) - set(self._row))
        if unknown:
            raise InputError(f"no text features for {', '.join(unknown)}; there are {', '.join(self._row)}")
        rows = torch.tensor([self._row[c] for c in categories], device=self._text.device)
        return self._text[rows], self._mask[rows]


def to_batch(samples: CropSamples, device: torch.device) -> Batch:
    """The samples as tensors on `device`, in the precision that training works in."""

    def tensor(array: np.ndarray, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    return Batch(
        image=tensor(samples.image),
        points_m=tensor(samples.points_m, torch.float32),
        pixels=tensor(samples.pixels, torch.float32),
        rotation=tensor(samples.rotation),
        translation_m=tensor(samples.translation_m),
        size_m=tensor(samples.size_m),
        infinite=tensor(samples.infinite),
        orders=tensor(samples.orders, torch.int64),
    )


def build_targets(batch: Batch) -> Targets:
    """The ground truth in the form of the losses."""
    rotations, counts = symmetry_rotations(batch.infinite, batch.orders)
    return Targets(
        rotation=batch.rotation,
        translation_m=batch.translation_m,
        size_m=batch.size_m,
        axis_mask=batch.infinite.float(),
        symmetries=rotations,
        symmetry_count=counts,
    )


def symmetries_of(infinite: np.ndarray, orders: np.ndarray) -> list[Symmetry]:
    """The Symmetry of each row of (B, 3) bool and (B, 3) int."""
    return [
        Symmetry(tuple(a for a, is_free in zip("xyz", row, strict=True) if is_free), tuple(int(n) for n in turns))
        for row, turns in zip(infinite, orders, strict=True)
    ]


def symmetry_rotations(infinite: torch.Tensor, orders: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, G, 3, 3) finite symmetry turns, padded with the identity, and their count (B,)."""
    groups = [finite_rotations(s) for s in symmetries_of(infinite.cpu().numpy(), orders.cpu().numpy())]
    padded = np.tile(np.eye(3, dtype=np.float32), (len(groups), max(len(g) for g in groups), 1, 1))
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = group
    counts = torch.tensor([len(g) for g in groups], device=infinite.device)
    return torch.from_numpy(padded).to(infinite.device), counts
