"""Which detection belongs to which track: one assignment over 3D distance and mask overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from mkpose_ros.types import ObjectPose

__all__ = ["associate", "mask_areas", "mask_iou"]

_FORBIDDEN = 1e6


def associate(costs: np.ndarray, possible: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (track, detection) of least total cost (T, D) among the possible ones (T, D) bool; most pairs first."""
    if costs.size == 0:
        return []
    rows, columns = linear_sum_assignment(np.where(possible, costs, _FORBIDDEN))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if possible[r, c]]


def mask_iou(
    a: Sequence[ObjectPose], areas_a: np.ndarray, b: Sequence[ObjectPose], areas_b: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """IoU (A, B) of the masks of detections where it is wanted (A, B) bool; 0 elsewhere or where a mask is missing.

    The areas are those of `mask_areas`.
    """
    iou = np.zeros((len(a), len(b)))
    for i, j in np.argwhere(wanted):
        first, second = a[i].mask, b[j].mask
        if first is None or second is None or first.shape != second.shape:
            continue
        x0, y0 = np.maximum(a[i].box2d[:2], b[j].box2d[:2]).astype(int).tolist()
        x1, y1 = np.minimum(a[i].box2d[2:], b[j].box2d[2:]).astype(int).tolist()
        if x1 > x0 and y1 > y0:
            window = _window(x0, y0, x1, y1)
            common = np.count_nonzero(first[window] & second[window])
            iou[i, j] = common / max(areas_a[i] + areas_b[j] - common, 1)
    return iou


def mask_areas(detections: Sequence[ObjectPose]) -> np.ndarray:
    """How many of every second row's every second pixel (D,) are in each mask; 0 without one."""
    return np.array(
        [0 if d.mask is None else np.count_nonzero(d.mask[_window(*d.box2d.astype(int).tolist())]) for d in detections]
    )


def _window(x0: int, y0: int, x1: int, y1: int) -> tuple[slice, slice]:
    """Every second row and column of a box, the same ones for all boxes."""
    return np.s_[y0 - y0 % 2 : y1 : 2, x0 - x0 % 2 : x1 : 2]
