"""The graph-enhanced local and global feature fusion module (Eq 11-18)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mkpose_ros.network.layers import PositionMlp, SelfAttention, gather_points, mlp, nearest, squared_distances

__all__ = ["FeatureFusion", "FusionBlock"]


class FeatureFusion(nn.Module):
    """Keypoints (B, K, 3) with features (B, K, d) and the object's points (B, N, 3) with F_obj to refined (B, K, d).

    Coordinates are used as given (detached): this module shapes features, the keypoint losses shape positions.
    """

    def __init__(self, d: int, heads: int, neighbors: int, blocks: int) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.blocks = nn.ModuleList(FusionBlock(d, heads) for _ in range(blocks))

    def forward(self, keypoints_m: Tensor, f_kpt: Tensor, points_m: Tensor, f_obj: Tensor) -> Tensor:
        keypoints_m = keypoints_m.detach()
        # Eq 11 and 12: the k nearest observed points of each keypoint.
        index = nearest(squared_distances(keypoints_m, points_m), self.neighbors)
        p_knn, f_knn = gather_points(points_m, index), gather_points(f_obj, index)  # Eq 13
        # Eq 15: relative to the object's centre, and each neighbour relative to its keypoint.
        kpt_rel = keypoints_m - points_m.mean(dim=1, keepdim=True)
        knn_rel = p_knn - keypoints_m[:, :, None]
        for block in self.blocks:
            f_kpt = block(f_kpt, f_knn, keypoints_m, kpt_rel, knn_rel)
        return f_kpt


class FusionBlock(nn.Module):
    """One round of the local stage (Eq 14, 16) and the global stage (Eq 17, 18)."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.position_kpt, self.position_knn = PositionMlp(d, unit_m=0.1), PositionMlp(d, unit_m=0.02)
        self.norm_query, self.norm_memory = nn.LayerNorm(d), nn.LayerNorm(d)
        self.to_q, self.to_kv, self.out = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)
        self.position = PositionMlp(d, unit_m=0.1)
        self.fuse_global = mlp(2 * d, d, d)
        self.attention = SelfAttention(d, heads)

    def forward(self, f_kpt: Tensor, f_knn: Tensor, keypoints_m: Tensor, kpt_rel: Tensor, knn_rel: Tensor) -> Tensor:
        f_kpt = f_kpt + self.position_kpt(kpt_rel)  # Eq 14
        f_knn = f_knn + self.position_knn(knn_rel)
        f_kpt = f_kpt + self.attend_neighbors(f_kpt, f_knn)
        f_kpt = f_kpt + self.position(keypoints_m)  # Eq 17
        f_global = f_kpt.mean(dim=1, keepdim=True).expand_as(f_kpt)  # Eq 18
        f_kpt = f_kpt + self.fuse_global(torch.cat([f_kpt, f_global], dim=-1))
        return self.attention(f_kpt)

    def attend_neighbors(self, f_kpt: Tensor, f_knn: Tensor) -> Tensor:
        """Eq 16: each keypoint (B, K, d) attends to its own neighbours (B, K, m, d) only; (B, K, d).

        The flattening of the paper would let keypoints attend to each other's neighbours.
        """
        q = self.to_q(self.norm_query(f_kpt)).unflatten(-1, (self.heads, -1))  # (b, k, h, c)
        kv = self.to_kv(self.norm_memory(f_knn)).unflatten(-1, (2, self.heads, -1))  # (b, k, m, 2, h, c)
        keys, values = kv.unbind(dim=3)
        scores = (q[:, :, None] * keys).sum(dim=-1, keepdim=True) * keys.shape[-1] ** -0.5  # (b, k, m, h, 1)
        mixed = (scores.softmax(dim=2) * values).sum(dim=2)
        return self.out(mixed.flatten(2))
