"""An exponential moving average of a model, with a warm-up of its memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["moving_average"]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of `model` whose update_parameters(model) keeps decay = min(decay, (1 + n) / (10 + n)) of itself.

    Early on a fixed decay would average in the random initialisation; buffers (batch-norm statistics) are averaged
    like weights, counters copied.
    """

    def update(averaged: list[Tensor], current: list[Tensor], n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        keep = min(decay, (1.0 + n) / (10.0 + n))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1.0 - keep)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
