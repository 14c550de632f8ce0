"""RoIAlign as ONNX and detectron2 (aligned) define it, in plain torch, and over a pyramid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["pyramid_level", "roi_align", "roi_align_pyramid"]

CANONICAL_PX, CANONICAL_LEVEL = 224, 4  # the FPN paper's equation 1: a box of 224 px is pooled from p4
HIGHEST_LEVEL = 5


def roi_align(features: Tensor, boxes: Tensor, size: int, scale: float, samples: int = 2) -> Tensor:
    """Pool boxes (N, 4), in pixels of the image, from one (C, H, W) map of `scale` cells a pixel: (N, C, size, size).

    A pixel's centre lies half a pixel from its corner (ONNX: half_pixel). Boxes lie inside the image, so samples
    beyond the outermost centres take the border's value.
    """
    _, height, width = features.shape
    sizes = boxes.new_tensor([[scale, height, width]]).expand(len(boxes), 3)
    return _pool(
        features.flatten(1).t(), boxes, size, samples, *sizes.unbind(1), boxes.new_zeros(len(boxes), dtype=torch.int64)
    )


def _pool(
    table: Tensor, boxes: Tensor, size: int, samples: int, scale: Tensor, height: Tensor, width: Tensor, start: Tensor
) -> Tensor:
    """Pool each box (N, 4) from its own map of height x width cells, its rows from `start` on in a table (R, C).

    A cell of the result is a weighted sum of rows: samples x samples points, each between 2x2 rows. That is an
    embedding bag, whose forward and backward passes are several times faster than those of scattered samples.
    """
    x, along_x = _cells(boxes[:, 0], boxes[:, 2], size, samples, scale, width)  # (N, size, 2 * samples)
    y, along_y = _cells(boxes[:, 1], boxes[:, 3], size, samples, scale, height)
    rows = y[:, :, None, :, None] * width.to(torch.int64)[:, None, None, None, None] + x[:, None, :, None, :]
    weights = along_y[:, :, None, :, None] * along_x[:, None, :, None, :]
    rows = (rows + start[:, None, None, None, None]).flatten(0, 2).flatten(1)
    pooled = F.embedding_bag(
        rows, table.to(weights.dtype), mode="sum", per_sample_weights=weights.flatten(0, 2).flatten(1)
    )
    return pooled.reshape(len(boxes), size, size, table.shape[1]).permute(0, 3, 1, 2)  # channels last in memory


def _cells(low: Tensor, high: Tensor, size: int, samples: int, scale: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The map's cells, and their weights, that make up each of `size` cells from low to high (N,)."""
    steps = size * samples
    fractions = (torch.arange(steps, device=low.device, dtype=low.dtype) + 0.5) / steps
    positions = (low[:, None] + fractions * (high - low)[:, None]) * scale[:, None] - 0.5
    last = (length - 1)[:, None]
    positions = torch.minimum(positions.clamp(min=0), last)
    below = torch.minimum(positions.floor(), (last - 1).clamp(min=0))
    share = positions - below
    cells = torch.stack([below, torch.minimum(below + 1, last)], dim=-1).to(torch.int64)
    weights = torch.stack([1 - share, share], dim=-1) / samples
    return cells.reshape(len(low), size, 2 * samples), weights.reshape(len(low), size, 2 * samples)


def pyramid_level(boxes: Tensor, lowest: int = 2) -> Tensor:
    """The level (N,), from the lowest to 5, that each box (N, 4) is pooled from."""
    side = torch.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_PX + 1e-8))
    return level.clamp(lowest, HIGHEST_LEVEL).to(torch.int64)


def roi_align_pyramid(
    pyramid: dict[str, Tensor], image: Tensor | int, boxes: Tensor, size: int, samples: int = 2
) -> Tensor:
    """Pool boxes (N, 4), each from its level of its picture `image` (N,) of a batch: (N, C, size, size)."""
    if torch.onnx.is_in_onnx_export():
        return _traced(pyramid, boxes, size, samples)
    levels = _levels(pyramid)
    maps = [pyramid[f"p{level}"] for level in levels]
    table = torch.cat([m.permute(0, 2, 3, 1).flatten(0, 2) for m in maps])
    shapes = boxes.new_tensor([[0.5**level, *m.shape[2:]] for level, m in zip(levels, maps, strict=True)])
    cells = torch.tensor([m.shape[2] * m.shape[3] for m in maps], device=boxes.device)
    begins = torch.cumsum(cells * maps[0].shape[0], 0) - cells * maps[0].shape[0]
    chosen = pyramid_level(boxes, levels[0]) - levels[0]
    return _pool(table, boxes, size, samples, *shapes[chosen].unbind(1), begins[chosen] + image * cells[chosen])


def _levels(pyramid: dict[str, Tensor]) -> list[int]:
    return [level for level in range(2, HIGHEST_LEVEL + 1) if f"p{level}" in pyramid]


def _traced(pyramid: dict[str, Tensor], boxes: Tensor, size: int, samples: int) -> Tensor:
    """The same for one image without data-dependent shapes: pool from every level, keep the right one."""
    levels = _levels(pyramid)
    level = pyramid_level(boxes, levels[0])
    total = None
    for index in levels:
        part = _OnnxRoiAlign.apply(pyramid[f"p{index}"], boxes, size, 0.5**index, samples)
        part = part * (level == index).to(part.dtype)[:, None, None, None]
        total = part if total is None else total + part
    return total


class _OnnxRoiAlign(torch.autograd.Function):
    """A single node RoiAlign in an exported graph."""

    @staticmethod
    def forward(context, features, boxes, size, scale, samples):
        return roi_align(features[0], boxes, size, scale, samples)

    @staticmethod
    def symbolic(graph, features, boxes, size, scale, samples):
        count = graph.op("Shape", boxes)
        first = graph.op("Constant", value_t=torch.tensor([0]))
        rows = graph.op("Gather", count, first, axis_i=0)
        batch = graph.op("ConstantOfShape", rows, value_t=torch.tensor([0], dtype=torch.int64))
        return graph.op(
            "RoiAlign",
            features,
            boxes,
            batch,
            coordinate_transformation_mode_s="half_pixel",
            mode_s="avg",
            output_height_i=size,
            output_width_i=size,
            sampling_ratio_i=samples,
            spatial_scale_f=scale,
        )
