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


_CHUNK = 384  # pairs whose arrays fit the processor's cache
_SNAP = 1e-12  # of box 1's extents: nearer to a clipping plane than this is on it
_SIDES = ((1, 0.0, 1.0), (1, 1.0, -1.0), (2, 0.0, 1.0), (2, 1.0, -1.0))  # axis, level, side that stays: 0 <= y, z <= 1

# Corners of each face in the order that turns about the outward normal.
_OUTWARD_FACES = np.array(
    [face if np.linalg.det(_SIGNS[list(face[:3])]) > 0 else face[::-1] for face in BOX_FACES], dtype=np.intp
)


def _intersections(T_1: np.ndarray, size_1: np.ndarray, T_2: np.ndarray, size_2: np.ndarray) -> np.ndarray:
    corners = box_corners(T_2, size_2) - T_1[:, None, :3, 3]
    corners = corners @ T_1[:, :3, :3] / size_1[:, None, :] + 0.5  # (n, 8, 3) in box 1's unit cube
    quads = np.ascontiguousarray(corners.transpose(2, 1, 0))[:, _OUTWARD_FACES.T].reshape(3, 4, -1)
    low, high = quads.min(axis=1), quads.max(axis=1)  # (3, 6 n)
    faces = np.flatnonzero((high > 0.0).all(axis=0) & (low[1:] < 1.0).all(axis=0))  # the others have no flux
    quads = quads[:, :, faces]
    # A polygon is a set of directed edges start -> end, (3, 8, m); each cut fills one more, which is a point till then.
    start = np.concatenate([quads, np.repeat(quads[:, :1], 4, axis=1)], axis=1)
    end = np.concatenate([quads[:, 1:], np.repeat(quads[:, :1], 5, axis=1)], axis=1)
    for count, (axis, level, side) in enumerate(_SIDES, start=4):
        _cut(start, end, count, axis, level, side)
    flux = np.zeros(6 * len(T_1))
    for level, sign in ((0.0, 1.0), (1.0, -1.0)):
        above = np.flatnonzero(high[0, faces] > level)
        polygons = (a[..., above] for a in (start, end, quads[:, 0]))
        flux[faces[above]] += sign * _flux_above(*polygons, level)
    return np.abs(flux.reshape(6, -1).sum(axis=0)) * np.prod(size_1, axis=1)


def _cut(start: np.ndarray, end: np.ndarray, count: int, axis: int, level: float, side: float) -> None:
    """Cut convex polygons in place to side * (coordinate[axis] - level) >= 0.

    The first `count` edges are used; a lost one shrinks to a point, and edge `count` closes the cut.
    """
    s, e = start[:, :count], end[:, :count]
    d0, d1 = side * (s[axis] - level), side * (e[axis] - level)
    d0 *= np.abs(d0) >= _SNAP
    d1 *= np.abs(d1) >= _SNAP
    in0, in1 = d0 >= 0.0, d1 >= 0.0
    point = e - s
    point *= d0 / np.where(in0 == in1, 1.0, d0 - d1)
    point += s
    point[axis] = level
    start[:, count] = np.einsum("cmn,mn->cn", point, in0 & ~in1)
    end[:, count] = np.einsum("cmn,mn->cn", point, in1 & ~in0)
    np.copyto(s, point, where=~in0)
    np.copyto(e, point, where=~in1)


def _flux_above(start: np.ndarray, end: np.ndarray, reference: np.ndarray, level: float) -> np.ndarray:
    """The integral (m,) of max(x - level, 0) dy dz over polygons, by triangles from a point (3, m) of their planes."""
    lowest = start[0].min(axis=0)
    above, crossed = np.flatnonzero(lowest >= level), np.flatnonzero(lowest < level)
    flux = np.empty(len(lowest))
    flux[above] = _moment(start[..., above], end[..., above], reference[:, above], level)
    start, end = (np.concatenate([a[..., crossed], np.zeros((3, 1, len(crossed)))], axis=1) for a in (start, end))
    _cut(start, end, 8, 0, level, 1.0)
    flux[crossed] = _moment(start, end, reference[:, crossed], level)
    return flux


def _moment(start: np.ndarray, end: np.ndarray, reference: np.ndarray, level: float) -> np.ndarray:
    p, q = start[1:] - reference[1:, None], end[1:] - reference[1:, None]
    height = start[0] + end[0] + (reference[0] - 3.0 * level)
    return np.einsum("mn,mn->n", p[0] * q[1] - p[1] * q[0], height) / 6.0
