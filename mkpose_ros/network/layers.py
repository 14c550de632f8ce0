"""Small building blocks. Letters in shapes: b batch, n points, k keypoints, m neighbours, d channels, h heads."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "CrossAttention", "FeedForward", "PointMlp", "PositionMlp", "SelfAttention", "gather_points", "mlp", "nearest",
    "squared_distances",
]  # fmt: skip


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [nn.ReLU(), nn.Linear(a, b)] if i else [nn.Linear(a, b)]
    return nn.Sequential(*layers)


class PositionMlp(nn.Module):
    """MLP(P) of Eq 5, 14 and 17: (..., 3) metres to (..., d).

    `unit_m` is the length that becomes 1, so that the first layer sees numbers of order one.
    """

    def __init__(self, d: int, unit_m: float) -> None:
        super().__init__()
        self.unit_m = unit_m
        self.net = mlp(3, d, d)

    def forward(self, points_m: Tensor) -> Tensor:
        return self.net(points_m / self.unit_m)


class PointMlp(nn.Module):
    """Shared layers Linear, BatchNorm, ReLU on (..., c); in evaluation each norm is folded into its layer."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.linears = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for _, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(len(self.linears)):
            x = self.layer(i, x)
        return x

    def layer(self, i: int, x: Tensor) -> Tensor:
        """Layer i on (..., c_in)."""
        if self.training:
            return self.activate(i, self.linears[i](x))
        scale, shift = self._affine(i)
        return F.relu(F.linear(x, self.linears[i].weight * scale[:, None], shift))

    def activate(self, i: int, x: Tensor) -> Tensor:
        """The norm and ReLU of layer i on its linear part (..., c_out)."""
        if self.training:
            return F.relu(self.norms[i](x.reshape(-1, x.shape[-1])).view(x.shape))
        scale, shift = self._affine(i)
        return F.relu(x * scale + shift)

    def _affine(self, i: int) -> tuple[Tensor, Tensor]:
        norm = self.norms[i]
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return scale, norm.bias - norm.running_mean * scale


class CrossAttention(nn.Module):
    """Pre-norm multi-head attention with a residual: queries (b, q, d) attend to a memory (b, n, d)."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_memory = nn.LayerNorm(d), nn.LayerNorm(d)
        self.to_q, self.to_kv, self.out = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        return query + self.attend(self.norm_query(query), self.norm_memory(memory))

    def attend(self, query: Tensor, memory: Tensor) -> Tensor:
        q, kv = self.to_q(query), self.to_kv(memory)
        k, v = kv.chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v))
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (b, h, n, d / h)


class SelfAttention(CrossAttention):
    """Pre-norm multi-head self-attention with a residual, (b, n, d) to (b, n, d)."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__(d, heads)
        self.norm_memory = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm_query(x)
        return x + self.attend(normed, normed)


class FeedForward(nn.Module):
    """Pre-norm feed-forward layer with a residual and hidden width d."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm, self.net = nn.LayerNorm(d), mlp(d, d, d)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(self.norm(x))


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances (B, M, N) of points (B, M, 3) and (B, N, 3); without gradient.

    Computed by differences: the expansion with a matrix product loses millimetres to rounding in half precision.
    """
    with torch.no_grad():
        x, y, z = ((p[:, :, None] - q[:, None, :]).square() for p, q in zip(a.unbind(-1), b.unbind(-1), strict=True))
        return x + y + z


def nearest(distances: Tensor, count: int) -> Tensor:
    """Indices (B, M, count) of the smallest entries along the last axis of (B, M, N), nearest first."""
    return distances.topk(count, dim=-1, largest=False, sorted=True).indices


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values (B, N, C) at index (B, ...) in [0, N): (B, ..., C).

    One flat gather on the first axis: the form that every inference engine runs fast.
    """
    b, n, c = values.shape
    offset = torch.arange(b, device=index.device).view(b, *[1] * (index.dim() - 1)) * n
    rows = values.reshape(b * n, c).index_select(0, (index + offset).flatten())
    return rows.view(*index.shape, c)
