"""The heads: reconstruction (Eq 26, 27), NOCS, pose and size (Eq 19), uncertainty. Letters: b batch, k keypoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mkpose_ros.network.layers import SelfAttention, mlp

__all__ = ["NocsHead", "PoseSizeHead", "Reconstructor", "UncertaintyHead", "rotation_from_axes"]


class Reconstructor(nn.Module):
    """N_p offsets per keypoint: P_rec = P_kpt + offset, dense local clouds around the keypoints (before Eq 26)."""

    def __init__(self, d: int, points: int) -> None:
        super().__init__()
        self.net = mlp(d, d, d, 3 * points)

    def forward(self, keypoints_m: Tensor, f_kpt: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the reconstruction (B, K N_p, 3) and the offsets (B, K, N_p, 3), metres."""
        offsets_m = 0.05 * self.net(f_kpt).unflatten(-1, (-1, 3))
        return (keypoints_m[:, :, None] + offsets_m).flatten(1, 2), offsets_m


class NocsHead(nn.Module):
    """Normalised object coordinates (B, K, 3) in [-0.5, 0.5]: per axis the softmax expectation over bins."""

    def __init__(self, d: int, heads: int, bins: int) -> None:
        super().__init__()
        self.net = mlp(d, 2 * d, 2 * d, d)
        self.attention = nn.Sequential(SelfAttention(d, heads), SelfAttention(d, heads))
        self.to_bins = nn.Linear(d, 3 * bins)
        self.register_buffer("centres", (torch.arange(bins) + 0.5) / bins - 0.5, persistent=False)

    def forward(self, f_kpt: Tensor) -> Tensor:
        logits = self.to_bins(self.attention(self.net(f_kpt))).unflatten(-1, (3, -1))  # (b, k, 3, bins)
        return logits.softmax(dim=-1) @ self.centres


class PoseSizeHead(nn.Module):
    """Rotation (B, 3, 3), translation (B, 3) and size (B, 3) from keypoints, their NOCS and features (after DPDN)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.from_points, self.from_nocs = mlp(3, d // 4, d // 4), mlp(3, d // 4, d // 4)
        self.per_keypoint = mlp(d + d // 2, 2 * d, d)
        self.with_mean = mlp(2 * d, 2 * d, 2 * d)
        self.to_axes, self.to_translation, self.to_size = (mlp(2 * d, 2 * d, d, c) for c in (6, 3, 3))

    def forward(self, keypoints_m: Tensor, nocs: Tensor, f_kpt: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns rotation, translation_m, size_m and the pooled features (B, 2d)."""
        points = self.from_points(10.0 * keypoints_m)  # decimetres: inputs of order one
        x = self.per_keypoint(torch.cat([points, self.from_nocs(2.0 * nocs.detach()), f_kpt], dim=-1))
        x = self.with_mean(torch.cat([x, x.mean(dim=1, keepdim=True).expand_as(x)], dim=-1))
        pooled = x.mean(dim=1)
        rotation = rotation_from_axes(self.to_axes(pooled))
        size_m = 0.1 * F.softplus(self.to_size(pooled)) + 1e-3  # always positive
        return rotation, 0.1 * self.to_translation(pooled), size_m, pooled


def rotation_from_axes(axes: Tensor) -> Tensor:
    """Rotations (B, 3, 3) of two vectors (B, 6): y keeps the first's direction exactly, z = x cross y, x = y cross z.

    y is the symmetry axis of most classes, so it takes no share of the error in the second vector (x). Degenerate
    input gives a finite, not orthonormal matrix, which the caller of the network rejects.
    """
    y = F.normalize(axes[:, :3], dim=-1, eps=1e-6)
    z = F.normalize(torch.linalg.cross(axes[:, 3:], y, dim=-1), dim=-1, eps=1e-6)
    return torch.stack([torch.linalg.cross(y, z, dim=-1), y, z], dim=-1)


class UncertaintyHead(nn.Module):
    """log variances (B, 6) and the axis-symmetry logit (B,) from the pose head's pooled features.

    The variances' input is detached: they describe the pose's error and do not shape the pose. Order: translation
    x, y, z in the camera frame (m^2), then rotation about the object's x, y, z (rad^2).
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.to_log_variance, self.to_logit = mlp(2 * d, d, 6), mlp(2 * d, d, 1)
        # Where training starts: 2 cm and 12 degrees.
        self.register_buffer("start", torch.tensor([-7.8, -7.8, -7.8, -3.1, -3.1, -3.1]), persistent=False)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        log_variance = self.start + self.to_log_variance(pooled.detach())
        return log_variance.clamp(-16.0, 4.0), self.to_logit(pooled).squeeze(-1)
