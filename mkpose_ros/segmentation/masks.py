"""Masks: label images in and out, boxes of masks, and the network's small masks pasted into the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mkpose_ros.array_pool import Empty, parts
from mkpose_ros.errors import InputError
from mkpose_ros.types import Instance

__all__ = ["instances_from_label_image", "label_image", "mask_box", "mask_iou", "paste_mask"]


def mask_box(mask: np.ndarray) -> np.ndarray:
    """The tight box (4,) float32 of a (H, W) bool mask: x0, y0, x1, y1, the latter exclusive; zeros when empty.

    >>> mask_box(np.eye(3, dtype=bool))
    array([0., 0., 3., 3.], dtype=float32)
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return np.zeros(4, np.float32)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def instances_from_label_image(
    labels: np.ndarray, categories: Mapping[int, str], scores: Mapping[int, float] | None = None
) -> list[Instance]:
    """The instances of a (H, W) integer label image, whose pixel values are the keys of `categories`.

    Values that `categories` does not name (0, a background of 255) are no objects. `scores` default to 1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"label image: got {labels.shape} {labels.dtype}, expected (H, W) of integers, one value an instance"
        )
    present = set(np.unique(labels).tolist())
    instances = []
    for value, category in categories.items():
        if int(value) in present:
            mask = labels == int(value)
            score = 1.0 if scores is None else float(scores.get(value, 1.0))
            instances.append(Instance(mask, mask_box(mask), category, score))
    return sorted(instances, key=lambda instance: -instance.score)


def label_image(instances: Sequence[Instance], height: int, width: int) -> np.ndarray:
    """A (H, W) uint16 image: 0 background, i + 1 the i-th instance; an earlier one wins where two overlap."""
    labels = np.zeros((height, width), np.uint16)
    for value in range(len(instances), 0, -1):
        labels[instances[value - 1].mask] = value
    return labels


def paste_mask(
    probability: np.ndarray, box: np.ndarray, height: int, width: int, threshold: float = 0.5, empty: Empty = np.empty
) -> np.ndarray:
    """A (h, w) float mask probability, stretched over `box` (pixels), as a (height, width) bool mask.

    Only the pixels inside the box are computed. Sampling is bilinear at pixel centres, zero outside, which is
    detectron2's paste_masks_in_image. `empty` makes the mask, and what is needed on the way.
    """
    mask = empty((height, width), bool)
    mask.fill(False)
    x0, y0, x1, y1 = (float(v) for v in box)
    left, top = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
    right, bottom = min(int(np.ceil(x1)), width), min(int(np.ceil(y1)), height)
    if right <= left or bottom <= top or x1 <= x0 or y1 <= y0:
        return mask
    rows, columns = probability.shape
    x = (np.arange(left, right, dtype=np.float32) + 0.5 - x0) * (columns / (x1 - x0)) - 0.5
    y = (np.arange(top, bottom, dtype=np.float32) + 0.5 - y0) * (rows / (y1 - y0)) - 0.5
    scratch = parts(empty, height * width)
    map_x, map_y, pasted = (scratch((bottom - top, right - left), np.float32) for _ in range(3))
    map_x[...], map_y[...] = x, y[:, None]
    source = probability.astype(np.float32, copy=False)
    cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR, pasted, cv2.BORDER_CONSTANT, 0)
    np.greater_equal(pasted, threshold, out=mask[top:bottom, left:right])
    return mask


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Pixels of both masks (H, W) bool over pixels of either; 0 for two empty ones."""
    return float(np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1))
