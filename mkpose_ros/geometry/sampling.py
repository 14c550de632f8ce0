"""Farthest-point order of a cloud: any prefix of it covers the cloud evenly."""

from __future__ import annotations

import numpy as np

__all__ = ["farthest_point_order"]


def farthest_point_order(points_m: np.ndarray, count: int | None = None) -> np.ndarray:
    """A permutation (N,) int64 of points (N, 3) whose first `count` (default N // 2) are farthest-point samples.

    The first is the point nearest to the centroid; each next one is the farthest from all before it. The rest keep
    their order. The network's point encoder takes the centres of its levels from the front (Qi et al., 2017).

    >>> farthest_point_order(np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0], [2, 0, 0]]), count=3)
    array([3, 2, 0, 1])
    """
    points = np.asarray(points_m, dtype=np.float32)
    n = len(points)
    count = n // 2 if count is None else min(count, n)
    if count == 0:
        return np.arange(n)
    centred = points - points.mean(axis=0)
    norms = np.einsum("ij,ij->i", centred, centred)
    # |p|^2 + |q|^2 - 2 p.q for all pairs as one matrix product; then a step is one minimum and one argmax over a row.
    one = np.ones((n, 1), dtype=np.float32)
    squared = np.hstack([-2.0 * centred, norms[:, None], one]) @ np.hstack([centred, one, norms[:, None]]).T
    chosen = np.empty(count, dtype=np.int64)
    current = int(norms.argmin())
    nearest = np.full(n, np.inf, dtype=np.float32)
    for i in range(count):
        chosen[i] = current
        np.minimum(nearest, squared[current], out=nearest)
        nearest[current] = -1.0  # never again, duplicates or not
        current = int(nearest.argmax())
    rest = np.ones(n, dtype=bool)
    rest[chosen] = False
    return np.concatenate([chosen, np.flatnonzero(rest)])
