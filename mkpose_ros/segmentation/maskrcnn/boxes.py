"""Boxes (x0, y0, x1, y1) in pixels: anchors, their coding, overlap and suppression."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig

__all__ = ["anchors_of_level", "box_iou", "clip_boxes", "decode", "encode", "nms", "offset_by_group", "voted"]

MAX_LOG_SCALE = math.log(1000.0 / 16)  # detectron2's bound on how much a box may grow


def anchors_of_level(config: MaskRcnnConfig, level: int) -> Tensor:
    """The anchors (H * W * A, 4) of p`level`, centred on the cells of its (H, W) grid, sizes before ratios."""
    stride = 2**level
    rows, columns = math.ceil(config.input_height / stride), math.ceil(config.input_width / stride)
    cells = []
    for size in config.anchor_sizes[level - 3]:
        for ratio in config.anchor_ratios:
            width = math.sqrt(size**2 / ratio)
            height = ratio * width
            cells.append([-width / 2, -height / 2, width / 2, height / 2])
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) * stride, (torch.arange(columns) + 0.5) * stride, indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (shifts + torch.tensor(cells)).reshape(-1, 4)


def encode(boxes: Tensor, anchors: Tensor, weights: tuple[float, ...]) -> Tensor:
    """The deltas (N, 4) that `decode` turns back into boxes (N, 4)."""
    size, target = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    shift = ((boxes[:, :2] + boxes[:, 2:]) - (anchors[:, :2] + anchors[:, 2:])) / 2 / size
    return torch.cat([shift, torch.log(target / size)], dim=1) * torch.tensor(weights, device=boxes.device)


def decode(deltas: Tensor, anchors: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Boxes (N, 4) from deltas (N, 4): dx, dy in anchor sizes, dw, dh logarithmic, each times its weight."""
    deltas = deltas / torch.tensor(weights, device=deltas.device)
    size = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * size
    half = torch.exp(deltas[:, 2:].clamp(max=MAX_LOG_SCALE)) * size / 2
    return torch.cat([centre - half, centre + half], dim=1)


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (N, 4) cut at the border of the image."""
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return torch.stack([x0.clamp(0, width), y0.clamp(0, height), x1.clamp(0, width), y1.clamp(0, height)], dim=1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=2)
    areas_a, areas_b = (a[:, 2:] - a[:, :2]).prod(dim=1), (b[:, 2:] - b[:, :2]).prod(dim=1)
    return common / (areas_a[:, None] + areas_b[None] - common).clamp(min=1e-9)


def nms(boxes: Tensor, scores: Tensor, iou: float, limit: int, min_score: float) -> Tensor:
    """Indices (K,) of the at most `limit` boxes that greedy non-maximum suppression keeps, best first.

    Boxes whose score is not above `min_score` take no part. One node NonMaxSuppression in an exported graph.
    """
    return _Nms.apply(boxes, scores, iou, limit, min_score)


def offset_by_group(boxes: Tensor, group: Tensor, side: float) -> Tensor:
    """Boxes (N, 4) moved so far by their group (N,) that boxes of two groups of an image of `side` never overlap."""
    return boxes + (group.to(boxes.dtype) * (side + 1.0))[:, None]


def voted(boxes: Tensor, certainty: Tensor, iou: float) -> Tensor:
    """Each of the boxes (N, 4) as the mean of those that overlap it by more than `iou`, weighted by certainty (N,) and
    by how much more; from an `iou` of 1 on the boxes as they are.

    Box voting (Gidaris and Komodakis, *Object detection via a multi-region & semantic segmentation-aware CNN model*,
    2015), before suppression instead of after it. Weights begin at nothing: a vote that came all at once would make
    runtimes differ whose last digits do.
    """
    if iou >= 1.0:
        return boxes
    alike = (box_iou(boxes, boxes) - iou).clamp(min=0) / (1.0 - iou)
    itself = torch.eye(len(boxes), device=boxes.device)  # a box without an area overlaps nothing
    weight = torch.maximum(alike, itself) * certainty.clamp(min=1e-6)[None]
    shift = boxes[None] - boxes[:, None]  # small numbers: in bfloat16 a mean of the boxes themselves loses pixels
    return boxes + (weight[:, :, None] * shift).sum(dim=1) / weight.sum(dim=1, keepdim=True)


def _greedy(boxes: np.ndarray, iou: float, limit: int) -> Tensor:
    """The rows of boxes (N, 4), best first, that suppression keeps: faster than sweeps over all pairs on a CPU."""
    x0, y0, x1, y1 = boxes.T
    areas = (x1 - x0) * (y1 - y0)
    alive, kept = np.arange(len(boxes)), []
    while len(alive) and len(kept) < limit:
        best, rest = alive[0], alive[1:]
        kept.append(int(best))
        wide = np.minimum(x1[best], x1[rest]) - np.maximum(x0[best], x0[rest])
        high = np.minimum(y1[best], y1[rest]) - np.maximum(y0[best], y0[rest])
        common = np.maximum(wide, 0) * np.maximum(high, 0)
        alive = rest[common <= iou * np.maximum(areas[best] + areas[rest] - common, 1e-9)]
    return torch.tensor(kept, dtype=torch.int64)


class _Nms(torch.autograd.Function):
    @staticmethod
    def forward(context, boxes, scores, iou, limit, min_score):
        candidates = torch.nonzero(scores > min_score).flatten()
        order = candidates[torch.argsort(scores[candidates], descending=True, stable=True)]
        if boxes.device.type == "cpu":
            return order[_greedy(boxes[order].float().numpy(), iou, limit)]
        overlaps = torch.triu(box_iou(boxes[order], boxes[order]) > iou, diagonal=1)
        keep = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
        # The greedy answer is the fixed point of "kept: overlaps no better kept box", which a few sweeps reach.
        while True:
            kept = ~(overlaps & keep[:, None]).any(dim=0)
            if torch.equal(keep, kept):
                return order[keep][:limit]
            keep = kept

    @staticmethod
    def symbolic(graph, boxes, scores, iou, limit, min_score):
        def constant(value, kind):
            return graph.op("Constant", value_t=torch.tensor(value, dtype=kind))

        first = constant([0], torch.int64)
        second = constant([0, 1], torch.int64)
        selected = graph.op(
            "NonMaxSuppression",
            graph.op("Unsqueeze", boxes, first),
            graph.op("Unsqueeze", scores, second),
            constant([limit], torch.int64),
            constant([iou], torch.float32),
            constant([min_score], torch.float32),
        )
        return graph.op("Gather", selected, constant(2, torch.int64), axis_i=1)
