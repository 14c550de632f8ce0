"""The losses of Eq 19-27 for every kind of symmetry, and the two of our own heads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mkpose_ros.network.config import ModelConfig
from mkpose_ros.network.model import ModelOutput
from mkpose_ros.network.symmetry import align_ground_truth, rotation_vector

__all__ = [
    "Targets", "chamfer_loss", "delta_loss", "diversity_loss", "gaussian_nll", "nocs_loss", "on_object",
    "pose_residual", "pose_size_loss", "reconstruction_loss", "rotation_loss", "total_loss",
]  # fmt: skip


class Targets(NamedTuple):
    """The ground truth of a batch, in the frame of the points (same origin, camera axes), metres.

    A mug whose handle is hidden has axis_mask (0, 1, 0) in that view.
    """

    rotation: Tensor  # (B, 3, 3) camera from object
    translation_m: Tensor  # (B, 3) of the object's centre
    size_m: Tensor  # (B, 3) full extents
    axis_mask: Tensor  # (B, 3) float, 1 for each axis of continuous symmetry
    symmetries: Tensor  # (B, G, 3, 3) finite turns R_s, the first the identity, padded with anything
    symmetry_count: Tensor  # (B,) int64, how many are meant (>= 1)


def total_loss(
    output: ModelOutput, targets: Targets, config: ModelConfig, points_m: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq 22: the weighted sum of all terms, and each term unweighted and detached.

    Args:
        output: of MKPose in training, for `points_m` (B, N, 3).
        targets: the ground truth in the frame of those points.
        config: whose `loss` holds the weights and whose `ablation` switches terms off.
    """
    loss, ablation = config.loss, config.ablation
    if not ablation.symmetry_loss:
        targets = _without_symmetry(targets)
    aligned = align_ground_truth(
        targets.rotation, targets.symmetries, targets.symmetry_count, targets.axis_mask, output.rotation.detach()
    )
    seen = on_object(points_m, targets)
    terms = {
        "pose": pose_size_loss(output, targets, loss.translation, loss.size),
        "chamfer": chamfer_loss(output.keypoints_m, points_m, seen),
        "diversity": diversity_loss(output.keypoints_m, loss.diversity_distance_m),
        "nocs": nocs_loss(output, targets, aligned, loss.nocs_delta),
        "uncertainty": gaussian_nll(output, targets, aligned),
        "axis_symmetric": F.binary_cross_entropy_with_logits(output.axis_symmetric_logit, targets.axis_mask[:, 1]),
    }
    if output.reconstruction_m is not None:
        terms["reconstruction"] = reconstruction_loss(output.reconstruction_m, points_m, seen)
        terms["delta"] = delta_loss(output.offsets_m)
    total = torch.stack([getattr(loss, name) * term for name, term in terms.items()]).sum()
    return total, {name: term.detach() for name, term in terms.items()}


def pose_size_loss(output: ModelOutput, targets: Targets, translation: float = 1.0, size: float = 1.0) -> Tensor:
    """Eq 19: rotation up to symmetry + |t_gt - t| + |s_gt - s|, averaged over the batch."""
    rotation = rotation_loss(output.rotation, targets)
    t = (targets.translation_m - output.translation_m).norm(dim=-1)
    s = (targets.size_m - output.size_m).norm(dim=-1)
    return (rotation + translation * t + size * s).mean()


def rotation_loss(rotation: Tensor, targets: Targets) -> Tensor:
    """Eq 19-21, rotation part (B,): min over R_s of the mean over a in A of |R_gt R_s e_a - R e_a|.

    A is all three axes, or the axis alone for an infinite symmetry: as printed, Eq 20's v does the inverse, and for an
    object without symmetry v = (1, 1, 1) cannot see a turn about itself. With two infinite axes nothing is punished.
    """
    axes = targets.axis_mask.sum(dim=1, keepdim=True)  # (B, 1)
    weight = torch.where(axes > 0.5, targets.axis_mask, torch.ones_like(targets.axis_mask))
    weight = weight * (axes < 1.5) / weight.sum(dim=1, keepdim=True)
    difference = targets.rotation[:, None] @ targets.symmetries - rotation[:, None]  # (B, G, 3, 3)
    lengths = difference.norm(dim=-2)  # (B, G, 3): one per column, that is R e_a
    errors = (lengths * weight[:, None]).sum(dim=-1)
    unused = torch.arange(errors.shape[1], device=errors.device) >= targets.symmetry_count[:, None]
    return errors.masked_fill(unused, torch.inf).amin(dim=1)


def on_object(points_m: Tensor, targets: Targets, margin: float = 0.1) -> Tensor:
    """Which points (B, N) lie within the ground-truth box, grown by `margin` NOCS units (times |s|): the others are
    background that bled into the mask, and no keypoint should be drawn to them."""
    local = (points_m - targets.translation_m[:, None]) @ targets.rotation
    limit = 0.5 * targets.size_m + margin * targets.size_m.norm(dim=-1, keepdim=True)
    return (local.abs() <= limit[:, None]).all(dim=-1)


def chamfer_loss(keypoints_m: Tensor, points_m: Tensor, seen: Tensor) -> Tensor:
    """Eq 23: the mean distance of each keypoint to the nearest observed point on the object."""
    return _nearest_distance(keypoints_m, points_m, ignore=~seen).mean()


def diversity_loss(keypoints_m: Tensor, threshold_m: float) -> Tensor:
    """Eq 24 and 25: the mean over pairs i != j of 1 - min(|P_i - P_j|, T) / T."""
    k = keypoints_m.shape[1]
    squared = (keypoints_m[:, :, None] - keypoints_m[:, None]).square().sum(dim=-1)
    # The small constant keeps the gradient finite where two keypoints coincide.
    distance = (squared + 1e-12).sqrt().clamp_max(threshold_m)
    off_diagonal = 1.0 - torch.eye(k, dtype=distance.dtype, device=distance.device)
    return ((1.0 - distance / threshold_m) * off_diagonal).sum(dim=(1, 2)).mean() / (k * (k - 1))


def reconstruction_loss(reconstruction_m: Tensor, points_m: Tensor, seen: Tensor) -> Tensor:
    """Eq 26 in AG-Pose's form: half the mean distance from the seen points to the reconstruction, half the reverse."""
    covered = _nearest_distance(points_m, reconstruction_m)
    weight = seen.to(covered.dtype)
    to_rec = (covered * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)
    to_points = _nearest_distance(reconstruction_m, points_m, ignore=~seen).mean(dim=1)
    return (0.5 * to_rec + 0.5 * to_points).mean()


def delta_loss(offsets_m: Tensor) -> Tensor:
    """Eq 27: the mean length of the reconstruction's offsets."""
    return _length(offsets_m).mean()


def nocs_loss(output: ModelOutput, targets: Targets, aligned: Tensor, delta: float) -> Tensor:
    """L_nocs of Eq 22: smooth-L1 summed over x, y, z, mean over keypoints, to R_gt^T (P_kpt - t) / |s|.

    `aligned` is the ground truth turned, within its symmetry, to the prediction: any fixed choice of turn about a
    continuous axis makes the target jump somewhere.
    """
    scale = targets.size_m.norm(dim=-1)[:, None, None]
    truth = (output.keypoints_m.detach() - targets.translation_m[:, None]) / scale @ aligned
    return F.smooth_l1_loss(output.nocs, truth, beta=delta, reduction="none").sum(dim=-1).mean()


def pose_residual(output: ModelOutput, targets: Targets, aligned: Tensor) -> Tensor:
    """Squared residuals (B, 6) of the pose, in the order of ModelOutput.log_variance; without gradient.

    About a continuous axis any turn is right, so the residual is that of a uniform turn, pi^2 / 3: the network learns
    a variance that says so.
    """
    with torch.no_grad():
        t = (targets.translation_m - output.translation_m).square()
        turn = rotation_vector(output.rotation.transpose(1, 2) @ aligned).square()
        turn = torch.where(targets.axis_mask > 0.5, torch.full_like(turn, torch.pi**2 / 3.0), turn)
        return torch.cat([t, turn], dim=1)


def gaussian_nll(output: ModelOutput, targets: Targets, aligned: Tensor) -> Tensor:
    """The mean Gaussian negative log likelihood of the residuals under log_variance; the pose gets no gradient."""
    log_variance = output.log_variance
    return 0.5 * (pose_residual(output, targets, aligned) * (-log_variance).exp() + log_variance).mean()


def _nearest_distance(a: Tensor, b: Tensor, ignore: Tensor | None = None) -> Tensor:
    """For each point of a (B, M, 3) the distance (B, M) to the nearest of b (B, N, 3) that is not ignored (B, N).

    Only the nearest pair has a gradient, so the search runs without one.
    """
    with torch.no_grad():
        distances = torch.cdist(a, b)
        if ignore is not None:
            distances = distances + 1e3 * ignore[:, None]  # finite: where all are ignored the nearest still counts
        index = distances.argmin(dim=-1)
    return _length(a - b.gather(1, index[..., None].expand(-1, -1, 3)))


def _length(v: Tensor) -> Tensor:
    return (v.square().sum(dim=-1) + 1e-12).sqrt()


def _without_symmetry(targets: Targets) -> Targets:
    """The ablation "w/o sym" of Table III: a plain L2 loss on one ground truth.

    The axis-symmetry head then learns "none" as well.
    """
    return targets._replace(
        axis_mask=torch.zeros_like(targets.axis_mask), symmetry_count=torch.ones_like(targets.symmetry_count)
    )
