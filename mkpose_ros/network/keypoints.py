"""The keypoint detection module: fusion of the modalities (Eq 3-5), detection (Eq 6-9), graph attention (Eq 10)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mkpose_ros.network.config import ModelConfig
from mkpose_ros.network.layers import CrossAttention, FeedForward, PositionMlp, SelfAttention, mlp

__all__ = ["GraphAttention", "KeypointDetector", "Keypoints", "ObjectFeatures", "TextTokens", "masked_mean"]


class TextTokens(nn.Module):
    """Eq 3: the text encoder's token features (B, T, D) of the category's description, projected to F_text (B, T, d).

    The paper repeats one text vector N times, which makes the attention of Eq 4 uniform; the token sequence does not.
    """

    def __init__(self, text_dim: int, d: int) -> None:
        super().__init__()
        self.norm, self.project = nn.LayerNorm(text_dim), nn.Linear(text_dim, d)

    def forward(self, text: Tensor) -> Tensor:
        return self.project(self.norm(text))


class ObjectFeatures(nn.Module):
    """Eq 4 and 5: F_RGB (B, N, d1), F_PC (B, N, d2) and F_text (B, T, d) to F_obj and F'_obj, both (B, N, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, self.ablation = config.d, config.ablation
        self.fuse = nn.Linear(config.d_image + config.d_point, d)
        self.to_q, self.to_k, self.to_v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.position = PositionMlp(d, unit_m=0.1)
        self.enrich = mlp(2 * d if self.ablation.global_features else d, d, d)

    def forward(
        self, f_rgb: Tensor, f_pc: Tensor, f_text: Tensor, text_mask: Tensor, points_m: Tensor
    ) -> tuple[Tensor, Tensor]:
        f_obj = self.fuse(torch.cat([f_rgb, f_pc], dim=-1))
        if self.ablation.text:
            f_obj = f_obj + self.attend_text(f_obj, f_text, text_mask)
        return f_obj, self.with_context(f_obj, points_m)

    def attend_text(self, f_obj: Tensor, f_text: Tensor, text_mask: Tensor) -> Tensor:
        """Eq 4: softmax(Q K^T / sqrt(d)) V, with Q of the fused image and points, K and V of the text tokens."""
        scores = self.to_q(f_obj) @ self.to_k(f_text).transpose(1, 2) * f_obj.shape[-1] ** -0.5  # (b, n, t)
        scores = scores + (text_mask[:, None, :] - 1.0) * 1e4  # finite in half precision
        return scores.softmax(dim=-1) @ self.to_v(f_text)

    def with_context(self, f_obj: Tensor, points_m: Tensor) -> Tensor:
        """Eq 5: F' = MLP([F + MLP(P), mean over the points of (F + MLP(P))])."""
        x = f_obj + self.position(points_m)
        if self.ablation.global_features:
            x = torch.cat([x, x.mean(dim=1, keepdim=True).expand_as(x)], dim=-1)
        return self.enrich(x)


class Keypoints(NamedTuple):
    """Keypoints of a batch."""

    points_m: Tensor  # P_kpt (B, K, 3)
    features: Tensor  # F_kpt (B, K, d)
    heatmap: Tensor  # H (B, K, N), rows sum to one


class KeypointDetector(nn.Module):
    """Eq 6-9: learnt queries, conditioned on the text, attend to F'_obj and pick keypoints by a soft heatmap.

    The paper's queries come "from category embeddings"; a table per class could not serve an unseen category, so they
    are learnt vectors plus MLP(mean of F_text).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, self.temperature, self.use_text = config.d, config.temperature, config.ablation.text
        self.queries = nn.Parameter(torch.randn(config.n_keypoints, d) * 0.5)
        self.category = mlp(d, d, d)
        self.blocks = nn.ModuleList(DetectorBlock(d, config.heads) for _ in range(config.detector_blocks))

    def forward(
        self, f_obj: Tensor, f_obj_context: Tensor, f_text: Tensor, text_mask: Tensor, points_m: Tensor
    ) -> Keypoints:
        f_out = self.decode(f_obj_context, f_text, text_mask)
        heatmap = self.heatmap(f_out, f_obj)
        return Keypoints(heatmap @ points_m, heatmap @ f_obj, heatmap)  # Eq 7

    def decode(self, f_obj_context: Tensor, f_text: Tensor, text_mask: Tensor) -> Tensor:
        """Eq 6: F_kpt^out = Attn(F_kpt^in, F'_obj), (B, K, d)."""
        x = self.queries.expand(f_obj_context.shape[0], -1, -1)
        if self.use_text:
            x = x + self.category(masked_mean(f_text, text_mask))[:, None]
        for block in self.blocks:
            x = block(x, f_obj_context)
        return x

    def heatmap(self, f_out: Tensor, f_obj: Tensor) -> Tensor:
        """Eq 8 and 9: H = softmax over the points of the cosine of F_kpt^out and F_obj, over tau: (B, K, N).

        Eq 9 names F_kpt, which is itself computed from H; F_kpt^out is meant. Normalising both is the cosine.
        """
        cosine = F.normalize(f_out, dim=-1, eps=1e-7) @ F.normalize(f_obj, dim=-1, eps=1e-7).transpose(1, 2)
        return (cosine / self.temperature).softmax(dim=-1)


class DetectorBlock(nn.Module):
    """Cross-attention to the object, self-attention among the queries, feed-forward."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.cross, self.self_, self.feed = CrossAttention(d, heads), SelfAttention(d, heads), FeedForward(d)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.feed(self.self_(self.cross(x, memory)))


class GraphAttention(nn.Module):
    """Eq 10 on the fully connected graph of keypoints: h_i' = h_i + ELU(sum_j alpha_ij W h_j), (B, K, d).

    alpha_ij = softmax_j LeakyReLU(a . [W h_i, W h_j]) per head (Velickovic et al., 2018).
    """

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.weight = nn.LayerNorm(d), nn.Linear(d, d, bias=False)
        self.a_self, self.a_other = (nn.Parameter(torch.randn(heads, d // heads) * 0.1) for _ in range(2))

    def forward(self, h: Tensor) -> Tensor:
        w = self.weight(self.norm(h)).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (b, heads, k, d / heads)
        mine = (w * self.a_self[:, None]).sum(dim=-1)
        others = (w * self.a_other[:, None]).sum(dim=-1)
        alpha = F.leaky_relu(mine[..., :, None] + others[..., None, :], 0.2).softmax(dim=-1)  # (b, heads, k, k)
        return h + F.elu((alpha @ w).transpose(1, 2).flatten(2))


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean (B, d) of the tokens (B, T, d) whose mask (B, T) is 1."""
    weights = mask[..., None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)
