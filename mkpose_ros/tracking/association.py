"""Which detection belongs to which track: one assignment over 3D distance and mask overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["associate", "mask_iou"]

_FORBIDDEN = 1e6


def associate(
    distances: np.ndarray, overlaps: np.ndarray, allowed: np.ndarray, *, gate_distance: float
) -> list[tuple[int, int]]:
    """Pairs (track, detection) of least total cost.

    distances (T, D): centre distance over the object's largest extent; overlaps (T, D): mask IoU in [0, 1] between the
    track's last mask and the detection; allowed (T, D) bool: same category. A pair farther than gate_distance in 3D is
    never made, whatever its overlap: masks of a nested or hidden object overlap too.
    """
    if distances.size == 0:
        return []
    cost = distances + (1.0 - overlaps)
    possible = allowed & (distances <= gate_distance)
    rows, columns = linear_sum_assignment(np.where(possible, cost, _FORBIDDEN))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if possible[r, c]]


def mask_iou(masks_a: Sequence[np.ndarray | None], masks_b: Sequence[np.ndarray | None]) -> np.ndarray:
    """IoU (A, B) of boolean masks (H, W), looked at every fourth pixel; 0 where a mask is missing."""
    iou = np.zeros((len(masks_a), len(masks_b)))
    thinned_b = [None if mask is None else mask[::4, ::4].copy() for mask in masks_b]  # strided access is slow
    for i, mask_a in enumerate(masks_a):
        if mask_a is None:
            continue
        a = mask_a[::4, ::4].copy()
        for j, b in enumerate(thinned_b):
            if b is not None and b.shape == a.shape:
                union = np.count_nonzero(a | b)
                iou[i, j] = np.count_nonzero(a & b) / union if union else 0.0
    return iou
