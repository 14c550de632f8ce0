"""Fits the small perceptrons that travel in a model's metadata (inference/perceptron.py)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mkpose_ros.inference.perceptron import Perceptron
from mkpose_ros.network.layers import mlp

__all__ = ["PerceptronConfig", "fit_perceptron"]


class PerceptronConfig(NamedTuple):
    """How a perceptron is fitted."""

    hidden: int = 128
    visits: int = 60  # of each row
    batch: int = 256
    lr: float = 3e-3
    weight_decay: float = 0.05
    dropout: float = 0.2  # of the first hidden layer
    seed: int = 0


def fit_perceptron(
    features: np.ndarray, targets: np.ndarray, config: PerceptronConfig, *, scaled_by: np.ndarray | None = None
) -> Perceptron:
    """A perceptron with two hidden layers from float32 features (B, F) to targets (B, outputs).

    ``scaled_by`` (.., F): the features whose mean and spread centre and scale them; None: all.
    """
    typical = features if scaled_by is None else scaled_by
    mean, scale = typical.mean(axis=0), typical.std(axis=0) + 0.01
    x, y = torch.from_numpy((features - mean) / scale), torch.from_numpy(targets.astype(np.float32))
    layers = [layer for layer in _fit(x, y, config) if isinstance(layer, nn.Linear)]
    weights = tuple(layer.weight.detach().numpy().T for layer in layers)
    return Perceptron(mean, scale, weights, tuple(layer.bias.detach().numpy() for layer in layers))


def _fit(x: torch.Tensor, y: torch.Tensor, config: PerceptronConfig) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = mlp(x.shape[1], config.hidden, config.hidden, y.shape[1])
        net.insert(2, nn.Dropout(config.dropout))
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
