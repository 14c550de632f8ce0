"""The point encoder of Eq 2: PointNet++ with multi-scale grouping (Qi et al., 2017), in plain torch.

Points arrive in farthest-point order (geometry.sampling.farthest_point_order, done once per crop with numpy), so
the centres of each level are simply its first points: the graph holds no sampling loop and every engine runs it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mkpose_ros.network.config import PointLevel
from mkpose_ros.network.layers import PointMlp, gather_points, nearest, squared_distances

__all__ = ["PointNet2", "ball_query", "three_nearest_weights"]


class PointNet2(nn.Module):
    """Eq 2: points (B, N, 3), metres and centred, to F_PC (B, N, d2). Batch norm; translation does not matter."""

    def __init__(self, levels: tuple[PointLevel, ...], d_point: int) -> None:
        super().__init__()
        self.counts = [level.points for level in levels]
        widths = [0]
        for level in levels:
            widths.append(sum(mlp[-1] for mlp in level.widths))
        self.down = nn.ModuleList(SetAbstraction(level, c) for level, c in zip(levels, widths, strict=False))
        # Propagation from the coarsest level up: features of the level above, then the skip of the level below.
        coarse, up = widths[-1], []
        for level, skip in zip(reversed(levels), reversed(widths[:-1]), strict=True):
            up.append(PointMlp(coarse + skip, *level.up))
            coarse = level.up[-1]
        self.up = nn.ModuleList(up)
        self.project = nn.Linear(coarse, d_point)

    def forward(self, points_m: Tensor) -> Tensor:
        clouds, features = [points_m], [None]
        for count, down in zip(self.counts, self.down, strict=True):
            cloud = clouds[-1]
            features.append(down(cloud[:, :count], cloud, features[-1]))
            clouds.append(cloud[:, :count])
        x = features.pop()
        for up in self.up:
            coarse = clouds.pop()
            x = propagate(clouds[-1], coarse, x)
            skip = features.pop()
            x = up(x if skip is None else torch.cat([x, skip], dim=-1))
        return self.project(x)


class SetAbstraction(nn.Module):
    """Centres (B, M, 3), points (B, N, 3) and their features (B, N, C) or None to (B, M, sum of last widths)."""

    def __init__(self, level: PointLevel, c_in: int) -> None:
        super().__init__()
        self.scales = list(zip(level.radii_m, level.samples, strict=True))
        self.mlps = nn.ModuleList(PointMlp(3 + c_in, *widths) for widths in level.widths)

    def forward(self, centres_m: Tensor, points_m: Tensor, features: Tensor | None) -> Tensor:
        distances = squared_distances(centres_m, points_m)
        pooled = []
        for (radius_m, count), mlp in zip(self.scales, self.mlps, strict=True):
            index = ball_query(distances, radius_m, count)
            # The first layer is linear in [p_j - c_i, f_j]: applied once per point, then gathered.
            weight = mlp.linears[0].weight / _units(mlp.linears[0].weight, radius_m)
            values = points_m if features is None else torch.cat([points_m, features], dim=-1)
            x = gather_points(values @ weight.T, index) - (centres_m @ weight[:, :3].T)[:, :, None]
            x = mlp.activate(0, x)
            for i in range(1, len(mlp.linears)):
                x = mlp.layer(i, x)
            pooled.append(x.max(dim=2).values)  # its gradient is cheaper than that of amax
        return torch.cat(pooled, dim=-1)


def _units(weight: Tensor, radius_m: float) -> Tensor:
    """Divisors (c_in,) that express relative coordinates in radii and leave features alone."""
    divisor = torch.ones(weight.shape[1], dtype=weight.dtype, device=weight.device)
    divisor[:3] = radius_m
    return divisor


def ball_query(squared: Tensor, radius_m: float, count: int) -> Tensor:
    """Indices (B, M, count) of the first points, in index order, nearer than the radius; squared is (B, M, N).

    A ball with fewer points repeats its first, as in PointNet++. Each centre is one of the points, so no ball is empty.
    """
    n = squared.shape[-1]
    order = torch.arange(n, device=squared.device, dtype=torch.float32)
    keys = torch.where(squared < radius_m * radius_m, order, float(n))
    first = keys.topk(count, dim=-1, largest=False, sorted=True).values
    return torch.where(first < n, first, first[..., :1]).long()


def three_nearest_weights(points_m: Tensor, coarse_m: Tensor) -> tuple[Tensor, Tensor]:
    """For each point the indices (B, N, 3) of its nearest coarse points and their inverse-distance weights."""
    squared = squared_distances(points_m, coarse_m)
    index = nearest(squared, 3)
    inverse = 1.0 / (squared.gather(-1, index).sqrt() + 1e-6)
    return index, inverse / inverse.sum(dim=-1, keepdim=True)


def propagate(points_m: Tensor, coarse_m: Tensor, features: Tensor) -> Tensor:
    """Features (B, M, C) of coarse points, interpolated to the points: (B, N, C)."""
    index, weights = three_nearest_weights(points_m, coarse_m)
    return (gather_points(features, index) * weights[..., None]).sum(dim=2)
