"""Farthest-point order of a cloud: any prefix of it covers the cloud evenly."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["farthest_point_order"]


def farthest_point_order(points_m: np.ndarray, count: int | None = None) -> np.ndarray:
    """Permutations (..., N) int64 of points (..., N, 3) that put `count` (default N // 2) farthest-point samples first.

    The first is the point nearest to the centroid; each next one is the farthest from all before it. The rest keep
    their order. The network's point encoder takes the centres of its levels from the front (Qi et al., 2017).

    >>> farthest_point_order(np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0], [2, 0, 0]]), count=3)
    array([3, 2, 0, 1])
    """
    points = np.asarray(points_m, dtype=np.float32)
    *shape, n, _ = points.shape
    clouds = points.reshape(math.prod(shape), n, 3)
    count = n // 2 if count is None else min(count, n)
    order = np.tile(np.arange(n), (len(clouds), 1))
    if count:
        order = _samples_first(_farthest_samples(clouds, count), n)
    return order.reshape(*shape, n)


def _farthest_samples(clouds_m: np.ndarray, count: int) -> np.ndarray:
    """Indices (B, count) of the samples of clouds (B, N, 3) in the order in which they are found."""
    b, n, _ = clouds_m.shape
    centred = clouds_m - clouds_m.mean(axis=1, keepdims=True)
    norms = np.einsum("bij,bij->bi", centred, centred)
    # |p|^2 + |q|^2 - 2 p.q as a product of five numbers of p with five of q. The matrix of all pairs, of which only
    # count rows are needed, would take longer to write than all steps take.
    left, right = np.ones((b * n, 1, 5), np.float32), np.ones((b, 5, n), np.float32)
    left[:, 0, :3], left[:, 0, 3] = -2.0 * centred.reshape(-1, 3), norms.reshape(-1)
    right[:, :3], right[:, 4] = centred.swapaxes(1, 2), norms
    found = np.empty((count, b), dtype=np.int64)
    found[0] = norms.argmin(axis=1)
    first_row, row = np.arange(b) * n, np.empty(b, dtype=np.int64)
    newest, distances = np.empty((b, 1, 5), np.float32), np.empty((b, 1, n), np.float32)
    distance_of, nearest = distances[:, 0], np.full((b, n), np.inf, dtype=np.float32)
    for i in range(1, count):
        np.add(found[i - 1], first_row, out=row)
        left.take(row, axis=0, out=newest, mode="clip")  # mode: the checking one would buffer
        np.matmul(newest, right, out=distances)
        np.minimum(nearest, distance_of, out=nearest)
        nearest.put(row, -1.0, mode="clip")  # never again, duplicates or not
        nearest.argmax(axis=1, out=found[i])
    return found.T


def _samples_first(samples: np.ndarray, n: int) -> np.ndarray:
    """Permutations (B, n): the samples (B, count), then the rest in order."""
    rest = np.ones((len(samples), n), dtype=bool)
    rest[np.arange(len(samples))[:, None], samples] = False
    return np.concatenate([samples, np.nonzero(rest)[1].reshape(len(samples), n - samples.shape[1])], axis=1)
