"""Ground truth up to symmetry, batched in torch: the equal pose that is nearest to a prediction."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["align_ground_truth", "rotation_vector"]


@torch.no_grad()
def align_ground_truth(
    rotation: Tensor, symmetries: Tensor, symmetry_count: Tensor, axis_mask: Tensor, reference: Tensor
) -> Tensor:
    """Rotations (B, 3, 3), equal to the ground truth under its symmetry, nearest to the reference; no gradient.

    Args:
        rotation: (B, 3, 3) ground truth.
        symmetries: (B, G, 3, 3) finite turns R_s, the first the identity.
        symmetry_count: (B,) how many of them are meant.
        axis_mask: (B, 3), 1 for each axis of continuous symmetry.
        reference: (B, 3, 3) the prediction.
    """
    candidates = rotation[:, None] @ symmetries  # (B, G, 3, 3)
    relative = candidates.transpose(-1, -2) @ reference[:, None]
    candidates = candidates @ _twist(relative, axis_mask)
    trace = (candidates * reference[:, None]).sum(dim=(-1, -2))
    unused = torch.arange(symmetries.shape[1], device=trace.device) >= symmetry_count[:, None]
    best = trace.masked_fill(unused, -torch.inf).argmax(dim=1)
    aligned = candidates[torch.arange(len(best), device=best.device), best]
    free = axis_mask.sum(dim=1) > 1.5  # two continuous axes: a sphere, every rotation is equal
    return torch.where(free[:, None, None], reference, aligned)


def _twist(relative: Tensor, axis_mask: Tensor) -> Tensor:
    """The turn (B, G, 3, 3) about the masked axis that is nearest to `relative`; identity without an axis."""
    axis = axis_mask[:, None, :].expand(relative.shape[:2] + (3,))  # one-hot or zero
    sine = (_skew_part(relative) * axis).sum(dim=-1)
    diagonal = relative.diagonal(dim1=-2, dim2=-1)
    cosine = (diagonal * (1.0 - axis)).sum(dim=-1)
    angle = torch.atan2(sine, cosine) * (axis.sum(dim=-1) > 0.5)
    # Rodrigues about a coordinate axis: I + sin K + (1 - cos) K^2.
    K = _cross_matrix(axis)
    eye = torch.eye(3, dtype=relative.dtype, device=relative.device)
    return eye + angle.sin()[..., None, None] * K + (1.0 - angle.cos())[..., None, None] * (K @ K)


def rotation_vector(rotation: Tensor) -> Tensor:
    """The rotation vectors (B, 3), radians, of rotations (B, 3, 3); exact near 0, finite at pi."""
    vector = _skew_part(rotation)
    sine2 = vector.norm(dim=-1)
    angle = torch.atan2(sine2, rotation.diagonal(dim1=-2, dim2=-1).sum(dim=-1) - 1.0)
    small = sine2 < 1e-6
    scale = torch.where(small, torch.full_like(angle, 0.5), angle / sine2.clamp_min(1e-6))
    # At pi the skew part vanishes; its axis then comes from R + I = 2 a a^T.
    symmetric = rotation + torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    columns = symmetric.gather(2, symmetric.diagonal(dim1=1, dim2=2).argmax(dim=1)[:, None, None].expand(-1, 3, 1))
    at_pi = torch.nn.functional.normalize(columns.squeeze(2), dim=-1) * torch.pi
    return torch.where((small & (angle > 1.0))[:, None], at_pi, vector * scale[:, None])


def _skew_part(R: Tensor) -> Tensor:
    """(..., 3): twice sin(angle) times the axis."""
    return torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], dim=-1)


def _cross_matrix(v: Tensor) -> Tensor:
    x, y, z = v.unbind(dim=-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
