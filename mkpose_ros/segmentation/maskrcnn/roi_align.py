"""RoIAlign as ONNX and detectron2 (aligned, two samples a side) define it, in plain torch, and over a pyramid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["pyramid_level", "roi_align", "roi_align_pyramid"]

SAMPLES = 2  # a side of each output cell; their mean is the cell's value
CANONICAL_PX, CANONICAL_LEVEL = 224, 4  # the FPN paper's equation 1: a box of 224 px is pooled from p4
LEVELS = (2, 3, 4, 5)


def roi_align(features: Tensor, boxes: Tensor, size: int, scale: float) -> Tensor:
    """Pool boxes (N, 4), in pixels of the image, from one (C, H, W) map of `scale` cells a pixel: (N, C, size, size).

    A pixel's centre lies half a pixel from its corner (ONNX: half_pixel). Boxes lie inside the image, so samples
    beyond the outermost centres take the border's value.
    """
    channels, height, width = features.shape
    if len(boxes) == 0:
        return features.new_zeros((0, channels, size, size))
    points = (torch.arange(size * SAMPLES, device=boxes.device, dtype=boxes.dtype) + 0.5) / (size * SAMPLES)
    x = (boxes[:, 0:1] + points * (boxes[:, 2:3] - boxes[:, 0:1])) * (scale * 2 / width) - 1  # (N, size * 2)
    y = (boxes[:, 1:2] + points * (boxes[:, 3:4] - boxes[:, 1:2])) * (scale * 2 / height) - 1
    steps = size * SAMPLES
    grid = torch.stack([x[:, None, :].expand(-1, steps, -1), y[:, :, None].expand(-1, -1, steps)], dim=-1)
    sampled = F.grid_sample(
        features[None], grid.reshape(1, -1, steps, 2), "bilinear", padding_mode="border", align_corners=False
    )
    return F.avg_pool2d(sampled, SAMPLES).reshape(channels, len(boxes), size, size).transpose(0, 1)


def pyramid_level(boxes: Tensor) -> Tensor:
    """The level (N,), 2 to 5, that each box (N, 4) is pooled from."""
    side = torch.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_PX + 1e-8))
    return level.clamp(LEVELS[0], LEVELS[-1]).to(torch.int64)


def roi_align_pyramid(pyramid: dict[str, Tensor], image: int, boxes: Tensor, size: int) -> Tensor:
    """Pool boxes (N, 4) of the image-th picture of a batch, each from its level: (N, C, size, size)."""
    if torch.onnx.is_in_onnx_export():
        return _traced(pyramid, boxes, size)
    level = pyramid_level(boxes)
    channels = pyramid["p2"].shape[1]
    pooled = boxes.new_zeros((len(boxes), channels, size, size))
    for index in LEVELS:
        chosen = torch.nonzero(level == index).flatten()
        if len(chosen):
            part = roi_align(pyramid[f"p{index}"][image], boxes[chosen], size, 0.5**index)
            pooled = pooled.index_copy(0, chosen, part)
    return pooled


def _traced(pyramid: dict[str, Tensor], boxes: Tensor, size: int) -> Tensor:
    """The same for one image without data-dependent shapes: pool from every level, keep the right one."""
    level = pyramid_level(boxes)
    total = None
    for index in LEVELS:
        part = _OnnxRoiAlign.apply(pyramid[f"p{index}"], boxes, size, 0.5**index)
        part = part * (level == index).to(part.dtype)[:, None, None, None]
        total = part if total is None else total + part
    return total


class _OnnxRoiAlign(torch.autograd.Function):
    """A single node RoiAlign in an exported graph."""

    @staticmethod
    def forward(context, features, boxes, size, scale):
        return roi_align(features[0], boxes, size, scale)

    @staticmethod
    def symbolic(graph, features, boxes, size, scale):
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
            sampling_ratio_i=SAMPLES,
            spatial_scale_f=scale,
        )
