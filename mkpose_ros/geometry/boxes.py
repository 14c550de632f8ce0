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

    Continuous in both boxes: shared faces, edges and identical boxes are no special case to the caller.
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
    near = np.flatnonzero(solid)
    reach = 0.5 * (np.linalg.norm(size_1[near], axis=1) + np.linalg.norm(size_2[near], axis=1))
    near = near[np.linalg.norm(T_1[near, :3, 3] - T_2[near, :3, 3], axis=1) < reach]
    cosines = np.swapaxes(T_1[near, :3, :3], 1, 2) @ T_2[near, :3, :3]
    oblique = np.abs(cosines.reshape(-1, 9)).min(axis=1) >= _OBLIQUE
    for pairs, volumes in ((near[oblique], _by_edges), (near[~oblique], _by_cuts)):
        for start in range(0, len(pairs), _CHUNK):
            i = pairs[start : start + _CHUNK]
            volume[i] = np.clip(volumes(T_1[i], size_1[i], T_2[i], size_2[i]), 0.0, None)
    return volume.reshape(shape)


_CHUNK = 384  # pairs whose arrays fit the processor's cache
_OBLIQUE = 1e-3  # sums over edges are fast and have an error of 5e-16 over the least cosine between axes of the boxes
_NEXT, _LAST = [1, 2, 0], [2, 0, 1]  # the axes after and before x, y, z
_BOTH = np.array([[-1.0], [1.0]])  # sides of a box along an axis


def _by_edges(T_1: np.ndarray, size_1: np.ndarray, T_2: np.ndarray, size_2: np.ndarray) -> np.ndarray:
    """Volumes (n,) from the edges of the intersection, for boxes of which no two axes are at right angles.

    A polyhedron's volume is a third of the sum over faces of distance from the origin times area, and an area half the
    sum over edges of distance within the face times length. The edges here are parts of edges of either box, and of
    the 36 lines in which a face of one crosses a face of the other; each belongs to two faces.
    """
    turn = np.swapaxes(T_1[:, :3, :3], 1, 2)
    R = np.moveaxis(turn @ T_2[:, :3, :3], 0, -1).copy()  # (3, 3, n) box 2's axes in box 1's frame
    R[:, 2] = np.cross(R[:, 0], R[:, 1], axis=0)  # of a reflected pose, which has the same box
    centre = (turn @ (T_2[:, :3, 3:] - T_1[:, :3, 3:]))[..., 0].T.copy()  # (3, n)
    half_1, half_2 = 0.5 * size_1.T.copy(), 0.5 * size_2.T.copy()
    offset = np.einsum("ijn,in->jn", R, centre)  # box 2's centre along its own axes
    inverse = 1.0 / R
    distance_1 = np.repeat(half_1[:, None], 2, axis=1)  # (3, 2, n) of box 1's faces from the origin, its centre
    distance_2 = half_2[:, None] + _BOTH * offset[:, None]  # (3, 2, n) of box 2's faces
    turned, turned_inverse = R.swapaxes(0, 1), inverse.swapaxes(0, 1)
    return (
        _edge_terms(R, inverse, half_1, half_2, offset, distance_1)
        + _edge_terms(turned, turned_inverse, half_2, half_1, -centre, distance_2)
        + _line_terms(R, inverse, half_1, half_2, offset, distance_2)
    ) / 6.0


def _edge_terms(
    R: np.ndarray, inverse: np.ndarray, half: np.ndarray, other: np.ndarray, offset: np.ndarray, distance: np.ndarray
) -> np.ndarray:
    """What the parts inside the other box of a box's edges add. Axes: edge's direction, its two sides, other's axis."""
    side = (_BOTH * half[:, None])[:, :, None] * R[:, None]  # (3, 2, 3, n) a face's middle along the other's axes
    middle = side[_NEXT][:, :, None] + side[_LAST][:, None]  # (3, 2, 2, 3, n)
    middle -= offset
    middle *= -inverse[:, None, None]  # of the part between two faces of the other box, along the edge
    reach = (other * np.abs(inverse))[:, None, None]
    end = np.minimum((middle + reach).min(axis=3), half[:, None, None])
    start = np.maximum((middle - reach).max(axis=3), -half[:, None, None])
    length = np.maximum(end - start, 0.0)
    return 2.0 * np.einsum("kpqn,kpn,kqn->n", length, distance[_NEXT], distance[_LAST])


def _line_terms(
    R: np.ndarray, inverse: np.ndarray, half_1: np.ndarray, half_2: np.ndarray, offset: np.ndarray, distance: np.ndarray
) -> np.ndarray:
    """What the lines add in which faces cross. Axes: box 1's axis i, box 2's axis j, the side along each."""
    wide = (slice(None), slice(None), None, None)
    side_1, side_2 = _BOTH[:, None], _BOTH
    cosine = side_1 * side_2 * R[wide]
    h_1, h_2 = half_1[:, None, None, None], distance[None, :, None]
    sine_2 = (R[_NEXT] ** 2 + R[_LAST] ** 2)[wide]  # squared; 1 - cosine ** 2 would cancel
    along_1 = side_1 * (h_1 - h_2 * cosine) / sine_2  # a point of the line is along_1 * axis i + along_2 * axis j
    along_2 = side_2 * (h_2 - h_1 * cosine) / sine_2
    start, end = -np.inf, np.inf
    # The line's direction is the cross product of the axes i and j, whose length, the sine, cancels in the sum.
    for slope, point, half in (
        (-inverse[_LAST], along_2 * R[_NEXT][wide], half_1[_NEXT][:, None]),
        (inverse[_NEXT], along_2 * R[_LAST][wide], half_1[_LAST][:, None]),
        (inverse[:, _LAST], along_1 * R[:, _NEXT][wide] - offset[_NEXT][:, None, None], half_2[_NEXT]),
        (-inverse[:, _NEXT], along_1 * R[:, _LAST][wide] - offset[_LAST][:, None, None], half_2[_LAST]),
    ):
        point *= -slope[wide]  # now the middle of the part between two faces, along the line
        reach = (half * np.abs(slope))[wide]
        start = np.maximum(start, point - reach)
        point += reach
        end = np.minimum(end, point)
    end -= start
    length = np.maximum(end, 0.0, out=end)
    return np.einsum("ijpqn,ijpqn->n", 2.0 * h_1 * h_2 - (h_1**2 + h_2**2) * cosine, length)


_SNAP = 1e-12  # of box 1's extents: nearer to a clipping plane than this is on it
_SIDES = ((1, 0.0, 1.0), (1, 1.0, -1.0), (2, 0.0, 1.0), (2, 1.0, -1.0))  # axis, level, side that stays: 0 <= y, z <= 1

# Corners of each face in the order that turns about the outward normal.
_OUTWARD_FACES = np.array(
    [face if np.linalg.det(_SIGNS[list(face[:3])]) > 0 else face[::-1] for face in BOX_FACES], dtype=np.intp
)


def _by_cuts(T_1: np.ndarray, size_1: np.ndarray, T_2: np.ndarray, size_2: np.ndarray) -> np.ndarray:
    """Volumes (n,) for boxes in any position.

    Box 1 becomes the unit cube. By the divergence theorem the volume is the flux of (clamp(x, 0, 1), 0, 0) through
    the faces of box 2 that lie over the unit square of y and z: a sum over clipped quadrilaterals.
    """
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
