"""Which prediction stands for which object: greedy, in the order and with the comparisons of the protocol."""

from __future__ import annotations

import numpy as np

__all__ = ["match_by_iou", "match_by_pose"]


def match_by_iou(overlaps: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The object (t, p) that each of p predictions takes at each of t thresholds, -1 for none.

    overlaps (p, g) has the predictions by descending score. Each takes the free object it overlaps most, if by
    strictly more than the threshold.
    """
    n_pred, n_true = overlaps.shape
    taken = np.full((len(thresholds), n_pred), -1)
    if n_pred == 0 or n_true == 0:
        return taken
    thresholds = thresholds.astype(overlaps.dtype)
    if n_pred == n_true == 1:
        taken[:, 0] = np.where(overlaps[0, 0] > thresholds, 0, -1)
        return taken
    best_first = [np.argsort(row)[::-1] for row in overlaps]
    for t, threshold in enumerate(thresholds):
        free = np.ones(n_true, dtype=bool)
        for i, order in enumerate(best_first):
            for j in order:
                if free[j] and overlaps[i, j] > threshold:
                    taken[t, i] = j
                    free[j] = False
                    break
    return taken


def match_by_pose(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The object (t, p) that each of p predictions takes at t thresholds (t, 2) of degrees and cm, -1 for none.

    errors (p, g, 2) has the predictions by descending score. Each takes the free object within both thresholds that
    has the smallest sum of degrees and centimetres. A NaN is not above any threshold, so it passes.
    """
    n_pred, n_true = errors.shape[:2]
    taken = np.full((len(thresholds), n_pred), -1)
    if n_pred == 0 or n_true == 0:
        return taken
    within = ~(errors[None] > thresholds[:, None, None]).any(axis=-1)  # (t, p, g)
    if n_pred == n_true == 1:
        taken[:, 0] = np.where(within[:, 0, 0], 0, -1)
        return taken
    best_first = [np.argsort(row) for row in errors.sum(axis=-1)]
    for t in range(len(thresholds)):
        free = np.ones(n_true, dtype=bool)
        for i, order in enumerate(best_first):
            for j in order:
                if free[j] and within[t, i, j]:
                    taken[t, i] = j
                    free[j] = False
                    break
    return taken
