"""Average precision: all-point interpolation of precision over recall."""

from __future__ import annotations

import numpy as np

__all__ = ["average_precision", "published_average_precision"]


def published_average_precision(hits: np.ndarray, scores: np.ndarray, n_true: int) -> float:
    """AP in [0, 1] of predictions with hits (n,) bool and scores (n,) against n_true objects; 0 without any.

    Number for number the field's: recall is rounded to float32, and equal scores come in whatever order numpy's
    unstable sort leaves them.
    """
    if n_true == 0:
        return 0.0
    hits = hits[np.argsort(scores)[::-1]]
    found = np.cumsum(hits)
    precision = np.concatenate([[0.0], found / (np.arange(len(hits)) + 1), [0.0]])
    recall = np.concatenate([[0.0], (found.astype(np.float32) / np.float32(n_true)).astype(np.float64), [1.0]])
    return _area(precision, recall)


def average_precision(hits: np.ndarray, scores: np.ndarray, n_true: int) -> float:
    """AP in [0, 1]; predictions of equal score count as one step, so that their order means nothing."""
    if n_true == 0:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits, scores = hits[order], scores[order]
    last = np.flatnonzero(np.diff(scores, append=np.nan) != 0.0)  # the end of each run of equal scores
    found = np.cumsum(hits)[last]
    precision = np.concatenate([[0.0], found / (last + 1.0), [0.0]])
    recall = np.concatenate([[0.0], found / n_true, [1.0]])
    return _area(precision, recall)


def _area(precision: np.ndarray, recall: np.ndarray) -> float:
    """The area below the precision's envelope, which never rises with recall."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * envelope[steps]).sum())
