"""RoIAlign as ONNX and detectron2 (aligned, two samples a side) define it, in plain torch, and over a pyramid."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pyramid_level", "roi_align", "roi_align_pyramid"]

SAMPLES = 2  # a side of each output cell; their mean is the cell's value
CANONICAL_PX, CANONICAL_LEVEL = 224, 4  # the FPN paper's equation 1: a box of 224 px is pooled from p4
LEVELS = (2, 3, 4, 5)


def roi_align(features: Tensor, boxes: Tensor, size: int, scale: float) -> Tensor:
    """Pool boxes (N, 4), in pixels of the image, from one (C, H, W) map of `scale` cells a pixel: (N, C, size, size).

    A pixel's centre lies half a pixel from its corner (ONNX: half_pixel). Boxes lie inside the image, so samples
    beyond the outermost centres take the border's value. Bilinear sampling at a grid is separable: two matrix
    products, whose backward pass is twice as fast as that of scattered samples.
    """
    along_x = _weights(boxes[:, 0], boxes[:, 2], size, scale, features.shape[2])  # (N, size, W)
    along_y = _weights(boxes[:, 1], boxes[:, 3], size, scale, features.shape[1])  # (N, size, H)
    rows = torch.einsum("nyh,chw->nycw", along_y, features.to(along_y.dtype))
    return torch.einsum("nxw,nycw->ncyx", along_x, rows)


def _weights(low: Tensor, high: Tensor, size: int, scale: float, length: int) -> Tensor:
    """How much each of `length` cells counts for each of `size` output cells between low and high (N,)."""
    steps = size * SAMPLES
    fractions = (torch.arange(steps, device=low.device, dtype=low.dtype) + 0.5) / steps
    positions = (low[:, None] + fractions * (high - low)[:, None]) * scale - 0.5
    cells = torch.arange(length, device=low.device, dtype=low.dtype)
    weights = (1.0 - (positions.clamp(0, length - 1)[..., None] - cells).abs()).clamp(min=0.0)
    return weights.reshape(len(low), size, SAMPLES, length).mean(dim=2)


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
