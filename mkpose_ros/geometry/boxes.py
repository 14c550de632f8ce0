"""Oriented boxes: corners, and how much two of them overlap."""

from __future__ import annotations

import numpy as np

__all__ = ["BOX_EDGES", "BOX_FACES", "box_corners", "oriented_intersection_m3", "oriented_iou"]

# Corner i has the signs of its bits: bit 2 is x, bit 1 is y, bit 0 is z; a set bit means the positive side.
_SIGNS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
BOX_EDGES = tuple((i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit)
BOX_FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))


def box_corners(T_a_obj: np.ndarray, size_m: np.ndarray) -> np.ndarray:
    """Corners (..., 8, 3) in frame a of boxes with poses (..., 4, 4) and full extents (..., 3).

    Corner i lies on the positive side of x, y, z where bit 2, 1, 0 of i is set (BOX_EDGES, BOX_FACES).

    >>> box_corners(np.eye(4), np.array([2.0, 4.0, 6.0]))[7]
    array([1., 2., 3.])
    """
    T = np.asarray(T_a_obj, dtype=np.float64)
    local = 0.5 * _SIGNS * np.asarray(size_m, dtype=np.float64)[..., None, :]  # (..., 8, 3)
    return local @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3]


def oriented_iou(T_1: np.ndarray, size_1_m: np.ndarray, T_2: np.ndarray, size_2_m: np.ndarray) -> np.ndarray:
    """The exact intersection over union (...) of oriented boxes: poses (..., 4, 4), full extents (..., 3), broadcast.

    0 where both boxes are empty; NaN where a pose or a size is not finite.

    >>> far = np.eye(4); far[0, 3] = 5.0
    >>> oriented_iou(np.eye(4), np.ones(3), np.stack([np.eye(4), far]), np.ones(3))
    array([1., 0.])
    """
    intersection = oriented_intersection_m3(T_1, size_1_m, T_2, size_2_m)
    volumes = np.prod(np.abs(size_1_m), axis=-1) + np.prod(np.abs(size_2_m), axis=-1)
    union = volumes - intersection
    return np.where(np.isnan(intersection), np.nan, intersection / np.where(union > 0.0, union, 1.0))


def oriented_intersection_m3(
    T_1: np.ndarray, size_1_m: np.ndarray, T_2: np.ndarray, size_2_m: np.ndarray
) -> np.ndarray:
    """The exact volume (...) that two oriented boxes share; arguments as for oriented_iou.

    Box 1 becomes the unit cube. By the divergence theorem the volume is the flux of (clamp(x, 0, 1), 0, 0) through
    the faces of box 2 that lie over the unit square of y and z: a sum over clipped quadrilaterals. It varies
    continuously with both boxes, so that shared faces, edges and identical boxes need no special case.
    """
    T_1, T_2 = np.asarray(T_1, dtype=np.float64), np.asarray(T_2, dtype=np.float64)
    size_1, size_2 = np.abs(np.asarray(size_1_m, dtype=np.float64)), np.abs(np.asarray(size_2_m, dtype=np.float64))
    shape = np.broadcast_shapes(T_1.shape[:-2], T_2.shape[:-2], size_1.shape[:-1], size_2.shape[:-1])
    T_1, T_2 = (np.broadcast_to(T, (*shape, 4, 4)).reshape(-1, 4, 4) for T in (T_1, T_2))
    size_1, size_2 = (np.broadcast_to(s, (*shape, 3)).reshape(-1, 3) for s in (size_1, size_2))
    volume = np.zeros(len(T_1))
    finite = np.isfinite(T_1).all(axis=(1, 2)) & np.isfinite(T_2).all(axis=(1, 2))
    finite &= np.isfinite(size_1).all(axis=1) & np.isfinite(size_2).all(axis=1)
    volume[~finite] = np.nan
    solid = finite & (size_1.min(axis=1, initial=np.inf) > 0.0) & (size_2.min(axis=1, initial=np.inf) > 0.0)
    near = np.zeros(len(T_1), dtype=bool)
    reach = 0.5 * (np.linalg.norm(size_1[solid], axis=1) + np.linalg.norm(size_2[solid], axis=1))
    near[solid] = np.linalg.norm(T_1[solid, :3, 3] - T_2[solid, :3, 3], axis=1) < reach
    indices = np.flatnonzero(near)
    for start in range(0, len(indices), _CHUNK):
        i = indices[start : start + _CHUNK]
        volume[i] = _intersections(T_1[i], size_1[i], T_2[i], size_2[i])
    return volume.reshape(shape)


_CHUNK = 512  # pairs whose arrays fit the processor's cache
_SNAP = 1e-12  # of box 1's extents: nearer to a clipping plane than this is on it


def _intersections(T_1: np.ndarray, size_1: np.ndarray, T_2: np.ndarray, size_2: np.ndarray) -> np.ndarray:
    corners = box_corners(T_2, size_2) - T_1[:, None, :3, 3]
    corners = corners @ T_1[:, :3, :3] / size_1[:, None, :] + 0.5  # (n, 8, 3) in box 1's unit cube
    quads = corners[:, _OUTWARD_FACES].transpose(3, 2, 0, 1)  # (3, 4, n, 6): coordinate, corner, pair, face
    start = np.ascontiguousarray(quads)
    end = np.ascontiguousarray(np.roll(quads, -1, axis=1))
    reference = start[:, 0].copy()
    for axis in (1, 2):
        for side in (1.0, -1.0):
            start, end = _clip(start, end, axis, 0.0 if side > 0 else 1.0, side)
    flux = _flux_above(start, end, reference, 0.0) - _flux_above(start, end, reference, 1.0)
    return np.abs(flux.sum(axis=-1)) * np.prod(size_1, axis=1)


# Corners of each face in the order that turns about the outward normal.
_OUTWARD_FACES = np.array(
    [face if np.linalg.det(_SIGNS[list(face[:3])]) > 0 else face[::-1] for face in BOX_FACES], dtype=np.intp
)


def _clip(start: np.ndarray, end: np.ndarray, axis: int, level: float, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut convex polygons to side * (coordinate[axis] - level) >= 0.

    A polygon is a set of m directed edges start -> end, each (3, m, ...); a lost edge shrinks to a point, and one
    edge is added that closes the cut.
    """
    d0, d1 = side * (start[axis] - level), side * (end[axis] - level)
    d0[np.abs(d0) < _SNAP] = 0.0
    d1[np.abs(d1) < _SNAP] = 0.0
    in0, in1 = d0 >= 0.0, d1 >= 0.0
    crosses = in0 != in1
    cut = start + (end - start) * (d0 / np.where(crosses, d0 - d1, 1.0))
    cut[axis] = level
    exits = np.where(crosses & in0, cut, 0.0).sum(axis=1, keepdims=True)
    enters = np.where(crosses & in1, cut, 0.0).sum(axis=1, keepdims=True)
    start = np.concatenate([np.where(in0, start, cut), exits], axis=1)
    end = np.concatenate([np.where(in1, end, cut), enters], axis=1)
    return start, end


def _flux_above(start: np.ndarray, end: np.ndarray, reference: np.ndarray, level: float) -> np.ndarray:
    """The integral of max(x - level, 0) dy dz over polygons, by triangles from a point (3, ...) of their planes."""
    start, end = _clip(start, end, 0, level, 1.0)
    p, q = start - reference[:, None], end - reference[:, None]
    area = 0.5 * (p[1] * q[2] - p[2] * q[1])
    return (area * ((reference[0] + start[0] + end[0]) / 3.0 - level)).sum(axis=0)
