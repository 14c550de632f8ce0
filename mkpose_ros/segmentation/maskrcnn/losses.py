"""What Mask R-CNN is trained on: matching, sampling and the five losses, as in detectron2."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mkpose_ros.segmentation.maskrcnn.boxes import box_iou, encode
from mkpose_ros.segmentation.maskrcnn.config import SegmenterTrainConfig
from mkpose_ros.segmentation.maskrcnn.heads import MASK_POOL
from mkpose_ros.segmentation.maskrcnn.model import BOX_WEIGHTS, RPN_LEVELS, RPN_WEIGHTS, MaskRcnn
from mkpose_ros.segmentation.maskrcnn.roi_align import roi_align_pyramid

__all__ = ["Truth", "losses", "mask_targets"]

MASK_SIZE = 2 * MASK_POOL
TARGET_SAMPLES = 2  # a side of each cell of a mask to be learnt
TRAIN_PRE_NMS, TRAIN_PROPOSALS = 150, 100


class Truth(NamedTuple):
    """The objects of one picture; n may be 0."""

    boxes: Tensor  # (n, 4) pixels of the input
    labels: Tensor  # (n,) int64
    masks: Tensor  # (n, H, W) uint8, 1 where the object is seen
    ignored: Tensor  # (m, 4) boxes of objects too small or too hidden to be counted for or against


def losses(
    model: MaskRcnn, images: Tensor, truths: list[Truth], config: SegmenterTrainConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """The losses of (B, 3, H, W) uint8 images: rpn_objectness, rpn_box, class, box, mask; each a mean.

    A head of its own for the second look learns, as class_again and box_again, from the boxes that the first one moved.
    """
    pyramid = model.features(images)
    rpn = model.rpn(pyramid)
    result = _rpn_losses(model, rpn, truths, config.rpn_samples, generator)
    samples = []
    with torch.no_grad():
        for i, truth in enumerate(truths):
            proposals = torch.cat([model.propose(rpn, i, TRAIN_PRE_NMS, TRAIN_PROPOSALS), truth.boxes])
            samples.append(_sample_proposals(proposals, truth, model, config, generator))
    return (
        result
        | _box_losses(model, pyramid, samples, truths)
        | _mask_loss(model, pyramid, samples, truths, config.mask_samples)
    )


def _rpn_losses(
    model: MaskRcnn, rpn: list[tuple[Tensor, Tensor]], truths: list[Truth], count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    anchors = torch.cat([model.anchors(level) for level in RPN_LEVELS])
    logits = torch.cat([level_logits for level_logits, _ in rpn], dim=1)
    deltas = torch.cat([level_deltas for _, level_deltas in rpn], dim=1)
    objectness = logits.new_zeros(())
    box = logits.new_zeros(())
    for i, truth in enumerate(truths):
        state, matched = _match(anchors, truth, low=0.3, high=0.7, take_best=True)
        positive, negative = _draw(state, count, 0.5, generator)
        chosen = torch.cat([positive, negative])
        target = (state[chosen] == 1).to(logits.dtype)
        objectness = objectness + F.binary_cross_entropy_with_logits(logits[i][chosen], target, reduction="sum")
        if len(positive):
            wanted = encode(truth.boxes[matched[positive]], anchors[positive], RPN_WEIGHTS)
            box = box + (deltas[i][positive] - wanted).abs().sum()
    scale = 1.0 / (count * len(truths))
    return {"rpn_objectness": objectness * scale, "rpn_box": box * scale}


def _sample_proposals(
    proposals: Tensor, truth: Truth, model: MaskRcnn, config: SegmenterTrainConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Drawn proposals (P, 4), those on objects first, their classes (P,) and the objects (P,) they lie on."""
    state, matched = _match(proposals, truth, low=0.5, high=0.5, take_best=False)
    positive, negative = _draw(state, config.roi_samples, config.roi_share, generator)
    chosen = torch.cat([positive, negative])
    background = len(model.config.categories)
    labels = torch.full((len(chosen),), background, device=proposals.device)
    labels[: len(positive)] = truth.labels[matched[positive]]
    return proposals[chosen], labels, matched[chosen]


def _match(boxes: Tensor, truth: Truth, low: float, high: float, take_best: bool) -> tuple[Tensor, Tensor]:
    """State (N,) of each box: 1 object, 0 background, -1 neither; and the index (N,) of its best object."""
    state = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    matched = torch.zeros_like(state)
    if len(truth.boxes):
        overlaps = box_iou(boxes, truth.boxes)
        best, matched = overlaps.max(dim=1)
        state = torch.where(best >= high, 1, torch.where(best < low, 0, -1))
        if take_best:  # an object no box overlaps enough still gets its best ones
            best_of_object = overlaps.max(dim=0).values
            rows, _ = torch.nonzero((overlaps == best_of_object) & (best_of_object > 0.1), as_tuple=True)
            state[rows] = 1
    if len(truth.ignored):
        inside = box_iou(boxes, truth.ignored).max(dim=1).values > 0.3
        state = torch.where(inside & (state == 0), -1, state)
    return state, matched


def _draw(state: Tensor, count: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random indices of at most count * share objects, and of background up to count."""
    drawn = []
    for value, most in ((1, int(count * share)), (0, count)):
        candidates = torch.nonzero(state == value).flatten()
        wanted = most if value == 1 else count - len(drawn[0])
        order = torch.randperm(len(candidates), generator=generator)[:wanted].to(candidates.device)
        drawn.append(candidates[order])
    return drawn[0], drawn[1]


def _box_losses(
    model: MaskRcnn, pyramid: dict[str, Tensor], samples: list[tuple[Tensor, Tensor, Tensor]], truths: list[Truth]
) -> dict[str, Tensor]:
    boxes = torch.cat([b for b, _, _ in samples])
    picture = _picture([b for b, _, _ in samples])
    logits, deltas = model.look(pyramid, picture, boxes, again=False)
    result = _look_losses(model, boxes, logits, deltas, samples, truths)
    if not model.config.own_second_head:
        return result
    moved = model.moved(boxes, deltas).detach().split([len(b) for b, _, _ in samples])
    samples = [_labelled(b, truth, model) for b, truth in zip(moved, truths, strict=True)]
    boxes, picture = torch.cat([b for b, _, _ in samples]), _picture([b for b, _, _ in samples])
    again = _look_losses(model, boxes, *model.look(pyramid, picture, boxes, again=True), samples, truths)
    return result | {f"{name}_again": value for name, value in again.items()}


def _labelled(boxes: Tensor, truth: Truth, model: MaskRcnn) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes, less those that count neither for nor against, their classes and the objects they lie on."""
    state, matched = _match(boxes, truth, low=0.5, high=0.5, take_best=False)
    labels = torch.full_like(matched, len(model.config.categories))
    if len(truth.boxes):
        labels = torch.where(state == 1, truth.labels[matched], labels)
    counted = state >= 0
    return boxes[counted], labels[counted], matched[counted]


def _look_losses(
    model: MaskRcnn,
    boxes: Tensor,
    logits: Tensor,
    deltas: Tensor,
    samples: list[tuple[Tensor, Tensor, Tensor]],
    truths: list[Truth],
) -> dict[str, Tensor]:
    labels = torch.cat([label for _, label, _ in samples])
    wanted = torch.cat([t.boxes[m] if len(t.boxes) else b for (b, _, m), t in zip(samples, truths, strict=True)])
    positive = torch.nonzero(labels < len(model.config.categories)).flatten()
    box = (deltas[positive] - encode(wanted[positive], boxes[positive], BOX_WEIGHTS)).abs().sum() / max(len(labels), 1)
    return {"class": F.cross_entropy(logits, labels), "box": box}


def _mask_loss(
    model: MaskRcnn,
    pyramid: dict[str, Tensor],
    samples: list[tuple[Tensor, Tensor, Tensor]],
    truths: list[Truth],
    most: int,
) -> dict[str, Tensor]:
    found, targets = [], []
    for (boxes, labels, matched), truth in zip(samples, truths, strict=True):
        positive = torch.nonzero(labels < len(model.config.categories)).flatten()[:most]  # in random order
        found.append(boxes[positive])
        if len(positive):
            targets.append(mask_targets(truth.masks, matched[positive], boxes[positive]))
    if not targets:
        return {"mask": pyramid["p5"].sum() * 0.0}
    pooled = roi_align_pyramid(pyramid, _picture(found), torch.cat(found), MASK_POOL, model.config.pool_samples)
    logits = model.roi_heads["mask_head"](pooled)
    return {"mask": F.binary_cross_entropy_with_logits(logits, torch.cat(targets).to(logits.dtype))}


def _picture(boxes: list[Tensor]) -> Tensor:
    """The picture (N,) of a batch that each box belongs to, given the boxes of each picture."""
    counts = torch.tensor([len(b) for b in boxes], device=boxes[0].device)
    return torch.repeat_interleave(torch.arange(len(boxes), device=counts.device), counts)


def mask_targets(masks: Tensor, chosen: Tensor, boxes: Tensor) -> Tensor:
    """What the mask head is to say in each box (P, 4): (P, 28, 28) bool of masks (n, H, W) at the rows `chosen` (P,).

    A cell is object when at least half of its 2x2 samples are, each the pixel that it falls into.
    """
    steps = MASK_SIZE * TARGET_SAMPLES
    fractions = (torch.arange(steps, device=boxes.device, dtype=boxes.dtype) + 0.5) / steps
    positions = boxes[:, None, :2] + fractions[:, None] * (boxes[:, None, 2:] - boxes[:, None, :2])  # (P, steps, 2)
    x = positions[..., 0].to(torch.int64).clamp(0, masks.shape[2] - 1)
    y = positions[..., 1].to(torch.int64).clamp(0, masks.shape[1] - 1)
    seen = masks[chosen[:, None, None], y[:, :, None], x[:, None, :]]
    cells = seen.reshape(len(boxes), MASK_SIZE, TARGET_SAMPLES, MASK_SIZE, TARGET_SAMPLES).sum(dim=(2, 4))
    return 2 * cells >= TARGET_SAMPLES**2
