"""Augmentation of a batch on the training device: vectorised, and a function of its generator alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mkpose_ros.training.config import AugmentConfig

__all__ = ["Batch", "augment", "augment_images", "augment_points", "farthest_first", "mirror", "subset_points"]


class Batch(NamedTuple):
    """B samples as tensors on one device; frames and units as in CropSamples."""

    image: Tensor  # (B, S, S, 3) uint8
    points_m: Tensor  # (B, N, 3) float32
    pixels: Tensor  # (B, N, 2) float32
    rotation: Tensor  # (B, 3, 3)
    translation_m: Tensor  # (B, 3)
    size_m: Tensor  # (B, 3)
    infinite: Tensor  # (B, 3) bool
    orders: Tensor  # (B, 3) int64


def augment(batch: Batch, config: AugmentConfig, generator: torch.Generator) -> Batch:
    """A changed copy of the batch whose targets still fit its inputs."""
    if config.mirror_share > 0.0:
        batch = mirror(batch, config.mirror_share, generator)
    batch = batch._replace(image=augment_images(batch.image, config, generator))
    return augment_points(batch, config, generator)


def mirror(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """A share of the samples as a mirror on the camera's y-z plane shows them: another view, of the mirrored object.

    Points o of the object go to F (R o + t) = (F R M)(M o) + F t with F = diag(-1, 1, 1) and M = diag(1, 1, -1). The
    mirrored object M o is of the same category in the same frame, because every shipped category is, left and right
    of its x-y plane, nearly its own mirror image; its symmetries stay what they are.
    """
    device = batch.points_m.device
    flip = _uniform((len(batch.points_m),), generator, device) < share
    sign = torch.where(flip, -1.0, 1.0)
    one = torch.ones_like(sign)
    F_camera, M_object = torch.stack([sign, one, one], dim=1), torch.stack([one, one, sign], dim=1)
    return batch._replace(
        image=torch.where(flip[:, None, None, None], batch.image.flip(2), batch.image),
        points_m=batch.points_m * F_camera[:, None],
        pixels=batch.pixels * F_camera[:, None, :2],
        rotation=F_camera[:, :, None] * batch.rotation * M_object[:, None],
        translation_m=batch.translation_m * F_camera,
    )


def subset_points(batch: Batch, n_points: int, generator: torch.Generator | None = None) -> Batch:
    """Each cloud cut to n_points: at random, or its first ones (which make_crops drew at random) without generator."""
    b, n = batch.points_m.shape[:2]
    if n <= n_points and generator is None:
        return batch
    if generator is None:
        index = torch.arange(n_points, device=batch.points_m.device).expand(b, -1)
    else:
        index = _uniform((b, n), generator, batch.points_m.device).argsort(dim=1)[:, :n_points]
    rows = torch.arange(b, device=index.device)[:, None]
    return batch._replace(points_m=batch.points_m[rows, index], pixels=batch.pixels[rows, index])


def farthest_first(batch: Batch, count: int) -> Batch:
    """Each cloud reordered so that its first `count` points are farthest-point samples, as the network expects.

    The same order as geometry.sampling.farthest_point_order, for a whole batch at once.
    """
    points = batch.points_m
    b, n = points.shape[:2]
    rows = torch.arange(b, device=points.device)
    current = (points - points.mean(dim=1, keepdim=True)).square().sum(dim=-1).argmin(dim=1)
    nearest = torch.full((b, n), torch.inf, device=points.device)
    rank = torch.arange(n, device=points.device).repeat(b, 1) + n  # the rest keep their order
    for i in range(min(count, n)):
        rank[rows, current] = i
        nearest = torch.minimum(nearest, (points - points[rows, current][:, None]).square().sum(dim=-1))
        nearest[rows, current] = -1.0
        current = nearest.argmax(dim=1)
    order = rank.argsort(dim=1)
    return batch._replace(points_m=points[rows[:, None], order], pixels=batch.pixels[rows[:, None], order])


def augment_points(batch: Batch, config: AugmentConfig, generator: torch.Generator) -> Batch:
    """Noise and occlusion on the cloud; shift, turn and scale on cloud and targets alike.

    p' = scale * E p + shift, hence R' = E R, t' = scale * E t + shift, s' = scale * s.
    """
    device, b = batch.points_m.device, len(batch.points_m)
    points, pixels = _drop_ball(batch, config.drop_share, generator)
    sigma = config.point_noise_m
    points = points + (_normal(points.shape, generator, device) * sigma).clamp(-5 * sigma, 5 * sigma)
    angles = (_uniform((b, 3), generator, device) * 2 - 1) * math.radians(config.euler_deg)
    scale = 1 + (_uniform((b, 1), generator, device) * 2 - 1) * config.scale
    shift = (_uniform((b, 3), generator, device) * 2 - 1) * config.shift_m
    turn = _euler(angles)  # (B, 3, 3)
    return batch._replace(
        points_m=scale[:, None] * points @ turn.mT + shift[:, None],
        pixels=pixels,
        rotation=turn @ batch.rotation,
        translation_m=scale * torch.einsum("bij,bj->bi", turn, batch.translation_m) + shift,
        size_m=scale * batch.size_m,
    )


def _drop_ball(batch: Batch, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """In a share of the clouds, points within a random ball are replaced by copies of points outside it."""
    points, pixels = batch.points_m, batch.pixels
    device, (b, n) = points.device, points.shape[:2]
    pick = (_uniform((b,), generator, device) * n).long()
    centre = points[torch.arange(b, device=device), pick]
    distance = (points - centre[:, None]).norm(dim=-1)  # (B, N)
    cut = (0.05 + 0.3 * _uniform((b,), generator, device)) * n  # the ball takes 5 to 35 % of the points
    rank = distance.argsort(dim=1).argsort(dim=1)
    dropped = (rank < cut[:, None]) & (_uniform((b, 1), generator, device) < share)
    order = torch.where(dropped, 2.0, _uniform((b, n), generator, device)).argsort(dim=1)  # survivors first, shuffled
    survivors = (~dropped).sum(dim=1, keepdim=True)
    substitute = order.gather(1, torch.arange(n, device=device).expand(b, n) % survivors)
    index = torch.where(dropped, substitute, torch.arange(n, device=device).expand(b, n))
    rows = torch.arange(b, device=device)[:, None]
    return points[rows, index], pixels[rows, index]


def augment_images(image: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Colour jitter, greys, blur, erased rectangles and noise on (B, S, S, 3) uint8; the same type comes back."""
    x = image.permute(0, 3, 1, 2).float() / 255.0  # (B, 3, S, S)
    x = _jitter_colours(x, config, generator)
    x = _blur(x, config.blur_share, generator)
    x = _erase(x, config.erase_share, generator)
    strength = _uniform((len(x), 1, 1, 1), generator, x.device) * config.image_noise
    x = x + _normal(x.shape, generator, x.device) * strength
    return (x.clamp(0, 1) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _jitter_colours(x: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue: each is linear in the colour, so all are one 3x3 matrix per image."""
    b, device = len(x), x.device

    def factor(reach: float) -> Tensor:
        return 1 + (_uniform((b, 1, 1), generator, device) * 2 - 1) * reach

    brightness, contrast, saturation = (factor(r) for r in (config.brightness, config.contrast, config.saturation))
    grey = _uniform((b, 1, 1), generator, device) < config.grey_share
    saturation = torch.where(grey, 0.0, saturation)
    angle = (_uniform((b,), generator, device) * 2 - 1) * 2 * math.pi * config.hue
    luma = x.new_tensor([0.299, 0.587, 0.114]).expand(3, 3)
    colours = _hue_matrix(angle) @ (luma + saturation * (torch.eye(3, device=device) - luma))  # (B, 3, 3)
    mean = x.mean(dim=(1, 2, 3))[:, None, None, None]
    offset = (1 - contrast[..., None]) * brightness[..., None] * mean  # greys, and so this offset, pass `colours` as is
    return torch.einsum("bij,bjhw->bihw", colours * brightness * contrast, x) + offset


def _hue_matrix(angle: Tensor) -> Tensor:
    """(B, 3, 3) turns of RGB about its grey diagonal by `angle` (B,), Rodrigues' formula."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    k = 1 / math.sqrt(3.0)
    cross = angle.new_tensor([[0, -k, k], [k, 0, -k], [-k, k, 0]])
    outer = angle.new_full((3, 3), 1 / 3)
    return cos * torch.eye(3, device=angle.device) + sin * cross + (1 - cos) * outer


def _blur(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A share of the images, as if seen from further away: every pixel is the mean of 2x2 or 4x4."""
    draw = _uniform((len(x),), generator, x.device)
    for factor, low, high in ((2, 0.0, 0.6 * share), (4, 0.6 * share, share)):
        rows = torch.nonzero((draw >= low) & (draw < high)).squeeze(1)
        if len(rows):
            coarse = F.avg_pool2d(x[rows], factor)
            x = x.index_copy(0, rows, F.interpolate(coarse, x.shape[-2:], mode="bilinear", align_corners=False))
    return x


def _erase(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A share of the images gets one rectangle of a random grey."""
    b, _, height, width = x.shape
    u = _uniform((b, 6, 1, 1), generator, x.device)
    row = torch.arange(height, device=x.device)[None, :, None] / height
    column = torch.arange(width, device=x.device)[None, None, :] / width
    inside = ((row - u[:, 0]).abs() < 0.05 + 0.15 * u[:, 1]) & ((column - u[:, 2]).abs() < 0.05 + 0.15 * u[:, 3])
    return torch.where((inside & (u[:, 4] < share))[:, None], u[:, 5:6], x)


def _euler(angles: Tensor) -> Tensor:
    """(B, 3, 3) turns Rz Ry Rx of angles (B, 3) rad."""
    cos, sin = angles.cos(), angles.sin()
    zero, one = torch.zeros_like(cos[:, 0]), torch.ones_like(cos[:, 0])

    def stack(rows: list[Tensor]) -> Tensor:
        return torch.stack(rows, dim=-1).reshape(-1, 3, 3)

    turn_x = stack([one, zero, zero, zero, cos[:, 0], -sin[:, 0], zero, sin[:, 0], cos[:, 0]])
    turn_y = stack([cos[:, 1], zero, sin[:, 1], zero, one, zero, -sin[:, 1], zero, cos[:, 1]])
    turn_z = stack([cos[:, 2], -sin[:, 2], zero, sin[:, 2], cos[:, 2], zero, zero, zero, one])
    return turn_z @ turn_y @ turn_x


def _uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """In [0, 1); drawn where the generator lives."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def _normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device).to(device)
