"""The one primitive behind every generated part: a surface through a stack of closed rings.

A lathe, a swept tube, a rounded slab and an extruded outline are all rings (R, S, 3): row by row along the body,
S points around it. A row whose points coincide closes an end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mkpose_ros.synthesis.shapes.base import Material, Part

__all__ = ["cuboid", "extrude", "lathe", "loft", "outline_circle", "outline_rounded", "slab", "sweep"]

_CREASE_COSINE = np.cos(np.deg2rad(38.0))


def loft(
    rings: np.ndarray,
    materials: Material | Sequence[Material],
    bands: np.ndarray | None = None,
    planar_uv: bool = False,
) -> Part:
    """The closed surface through ``rings`` (R, S, 3), with creases where it bends by more than 38 degrees.

    ``bands`` (R-1,) picks a material for the strip after each row. Texture coordinates run once around (u) and once
    along each stretch of equal band (v), or with ``planar_uv`` from above over the part's x-z box.
    """
    rings = np.asarray(rings, dtype=np.float64)
    n_rows, n_cols = rings.shape[:2]
    bands = np.zeros(n_rows - 1, dtype=int) if bands is None else np.asarray(bands)
    quads = _quad_normals(rings)
    row_crease, col_crease = _creases(quads)

    # Each strip of quads has its own upper and lower row of vertices; neighbours share theirs unless something splits.
    upper_n, lower_n, n_normal_rows = _split(row_crease, n_rows)
    upper_v, lower_v, n_vertex_rows = _split(row_crease | _changes(bands), n_rows)
    left_n, right_n, n_normal_cols = _split_around(col_crease)
    left_v, right_v, n_vertex_cols = _split_around(col_crease | (np.arange(n_cols) == 0))

    normals = np.zeros((n_normal_rows * n_normal_cols, 3))
    vertices = np.zeros((n_vertex_rows, n_vertex_cols, 3))
    vertex_normals = np.zeros((n_vertex_rows, n_vertex_cols, 3))
    uv = np.zeros((n_vertex_rows, n_vertex_cols, 2))
    u, v_upper, v_lower = _texture_coordinates(rings, bands)
    next_ring = np.roll(rings, -1, axis=1)
    corners = (
        (upper_n, left_n, upper_v, left_v, rings[:-1], u[:-1], v_upper),
        (upper_n, right_n, upper_v, right_v, next_ring[:-1], u[1:], v_upper),
        (lower_n, right_n, lower_v, right_v, next_ring[1:], u[1:], v_lower),
        (lower_n, left_n, lower_v, left_v, rings[1:], u[:-1], v_lower),
    )
    flat = [(row_n[:, None] * n_normal_cols + col_n[None, :]).ravel() for row_n, col_n, *_ in corners]
    for axis in range(3):
        weights = np.tile(quads[..., axis].ravel(), 4)
        normals[:, axis] = np.bincount(np.concatenate(flat), weights, minlength=len(normals))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    for (_, _, row_v, col_v, points, u_c, v_c), index in zip(corners, flat, strict=True):
        block = np.ix_(row_v, col_v)
        vertices[block] = points
        vertex_normals[block] = normals[index].reshape(n_rows - 1, n_cols, 3)
        uv[block] = np.stack(np.broadcast_arrays(u_c[None, :], v_c[:, None]), axis=-1)

    vertices = vertices.reshape(-1, 3)
    if planar_uv:
        uv = _planar(vertices)
    corner = [(row_v[:, None] * n_vertex_cols + col_v[None, :]) for _, _, row_v, col_v, *_ in corners]
    faces = np.stack([np.stack([corner[0], corner[1], corner[2]], -1), np.stack([corner[0], corner[2], corner[3]], -1)])
    return _closed(
        vertices,
        vertex_normals.reshape(-1, 3),
        uv.reshape(-1, 2),
        faces.reshape(-1, 3),
        np.tile(np.repeat(bands, n_cols), 2),
        materials,
    )


def lathe(
    profile: np.ndarray,
    materials: Material | Sequence[Material],
    bands: np.ndarray | None = None,
    section: np.ndarray | None = None,
    segments: int = 40,
) -> Part:
    """A profile (R, 2) of (radius, y) from axis to axis, turned about y.

    ``section`` (R, S) or (S,) multiplies the radius around the turn: ribs, squares, ovals.
    """
    segments = segments if section is None else section.shape[-1]
    angle = 2.0 * np.pi * np.arange(segments) / segments
    radius = profile[:, :1] * (np.ones(segments) if section is None else section)
    y = np.broadcast_to(profile[:, 1:2], radius.shape)
    return loft(np.stack([radius * np.cos(angle), y, radius * np.sin(angle)], axis=-1), materials, bands)


def sweep(path: np.ndarray, half_width: np.ndarray, half_depth: np.ndarray, material: Material, power=2.0) -> Part:
    """A tube along ``path`` (P, 3), a curve in a plane z = const; superellipse section, capped at both ends.

    ``half_width`` (P,) lies in the path's plane, ``half_depth`` (P,) along z; metres.
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.stack([-tangent[:, 1], tangent[:, 0], np.zeros(len(path))], axis=-1)
    outline = outline_circle(14, power)
    across = np.broadcast_to(half_width, len(path))[:, None, None] * outline[None, :, :1] * normal[:, None, :]
    along_z = np.broadcast_to(half_depth, len(path))[:, None, None] * outline[None, :, 1:] * np.array([0.0, 0.0, 1.0])
    return loft(capped(path[:, None, :] + across + along_z), material)


def extrude(
    outline: np.ndarray, heights: np.ndarray, scales: np.ndarray, materials, bands=None, planar_uv=False
) -> Part:
    """An outline (S, 2) in x-z raised through ``heights`` (R,), scaled by ``scales`` (R,) or (R, 2)."""
    scales = np.asarray(scales, dtype=np.float64)
    scales = scales[:, None] * np.ones(2) if scales.ndim == 1 else scales
    flat = outline[None] * scales[:, None, :]
    y = np.broadcast_to(np.asarray(heights, dtype=np.float64)[:, None], flat.shape[:2])
    rings = capped(np.stack([flat[..., 0], y, flat[..., 1]], axis=-1))
    return loft(rings, materials, bands, planar_uv)


def slab(
    size: Sequence[float], corner: float, bevel: float, materials: Sequence[Material], corner_points: int = 5
) -> Part:
    """A plate of ``size`` (x, y, z) lying on y = 0, with rounded corners seen from above and bevelled edges.

    ``materials`` are (below, side, above), each textured from above: u along x, v along -z.
    """
    bevel = min(bevel, 0.45 * size[1], 0.45 * min(size[0], size[2]))
    corner = min(max(corner, 1.02 * bevel), 0.49 * min(size[0], size[2]))
    outer = outline_rounded(size[0], size[2], corner, corner_points)
    turn = np.linspace(0.0, np.pi / 2.0, 4)
    inset = bevel * (1.0 - np.concatenate([np.sin(turn), np.cos(turn)]))
    heights = np.concatenate([bevel * (1.0 - np.cos(turn)), size[1] - bevel * (1.0 - np.sin(turn))])
    rows = []
    for amount, height in zip(inset, heights, strict=True):
        ring = outline_rounded(size[0] - 2 * amount, size[2] - 2 * amount, corner - amount, corner_points)
        rows.append(np.stack([ring[:, 0], np.full(len(outer), height), ring[:, 1]], axis=-1))
    rings = capped(np.stack(rows))
    bands = np.array([0, *[1] * (len(rows) - 1), 2])
    return loft(rings, materials, bands, planar_uv=True)


def cuboid(size: Sequence[float], bevel: float, material: Material) -> Part:
    """A box of ``size`` centred at the origin, bevelled; its texture holds 3 x 2 tiles: x+ y+ z+ / x- y- z-."""
    half = 0.5 * np.asarray(size, dtype=np.float64)
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
    vertices, normals, uv, faces = [], [], [], []
    at: dict[tuple, int] = {}  # (face axis, corner signs) -> vertex
    for axis, side in ((a, s) for s in (1.0, -1.0) for a in range(3)):
        right, up = _face_axes(axis, side)
        for a, b in signs:
            point = np.zeros(3)
            point[axis] = side
            point += a * right + b * up
            at[(axis, *point.astype(int))] = len(vertices)
            inner = half - bevel * (np.arange(3) != axis)
            vertices.append(point * inner)
            normals.append(side * np.eye(3)[axis])
            uv.append([(axis + 0.5 + 0.49 * a) / 3.0, (0.5 if side > 0 else 0.0) + 0.25 + 0.245 * b])
        k = len(vertices)
        faces += [[k - 4, k - 3, k - 2], [k - 4, k - 2, k - 1]]
    for axis in range(3):  # the twelve edges, each along `axis`
        b, c = (axis + 1) % 3, (axis + 2) % 3
        for sb, sc in signs.astype(int):
            ends = []
            for s in (-1, 1):
                corner = np.zeros(3, dtype=int)
                corner[[axis, b, c]] = s, sb, sc
                ends.append([at[(b, *corner)], at[(c, *corner)]])
            (p, q), (r, t) = ends
            faces += [[p, q, t], [p, t, r]] if sb * sc > 0 else [[p, t, q], [p, r, t]]
    for corner in np.array(np.meshgrid(*[[-1, 1]] * 3)).T.reshape(-1, 3):
        x, y, z = (at[(axis, *corner)] for axis in range(3))
        faces.append([x, y, z] if np.prod(corner) > 0 else [x, z, y])
    faces = np.array(faces)
    return _closed(np.array(vertices), np.array(normals), np.array(uv), faces, np.zeros(len(faces), int), material)


def outline_circle(n: int, power: float | np.ndarray = 2.0) -> np.ndarray:
    """A superellipse of half axes 1 as (n, 2) points: power 2 is a circle, 4 and more near a square."""
    angle = 2.0 * np.pi * np.arange(n) / n
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c, s], axis=-1) / (np.abs(c) ** power + np.abs(s) ** power)[:, None] ** (1.0 / power)


def outline_rounded(width: float, depth: float, radius: float, corner_points: int = 5) -> np.ndarray:
    """A rectangle with rounded corners as (4 n, 2) points, centred."""
    angle = np.linspace(0.0, np.pi / 2.0, corner_points)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    quarter = [np.stack([a * arc[:, 0] - b * arc[:, 1], b * arc[:, 0] + a * arc[:, 1]], -1) for a, b in _QUARTERS]
    centres = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (np.array([width, depth]) / 2 - radius)
    return np.concatenate([c + radius * q for c, q in zip(centres, quarter, strict=True)])


_QUARTERS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def capped(rings: np.ndarray) -> np.ndarray:
    """The rings with a point row at both ends, the centroid of the end ring."""
    return np.concatenate([_collapsed(rings[:1]), rings, _collapsed(rings[-1:])])


def _collapsed(ring: np.ndarray) -> np.ndarray:
    return np.broadcast_to(ring.mean(axis=1, keepdims=True), ring.shape)


def _quad_normals(rings: np.ndarray) -> np.ndarray:
    """Area-weighted normals (R-1, S, 3) of the strips between rows."""
    following = np.roll(rings, -1, axis=1)
    return 0.5 * np.cross(following[1:] - rings[:-1], rings[1:] - following[:-1])


def _creases(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which inner rows (R,) and columns (S,) bend sharply."""
    length = np.linalg.norm(quads, axis=2, keepdims=True)
    unit = np.divide(quads, length, out=np.zeros_like(quads), where=length > 1e-16)
    rows = np.einsum("ijk,ijk->ij", unit[1:], unit[:-1])
    columns = np.einsum("ijk,ijk->ij", unit, np.roll(unit, 1, axis=1))
    inner = (rows < _CREASE_COSINE).mean(axis=1) > 0.5
    return np.concatenate([[False], inner, [False]]), (columns < _CREASE_COSINE).mean(axis=0) > 0.25


def _changes(bands: np.ndarray) -> np.ndarray:
    return np.concatenate([[False], bands[1:] != bands[:-1], [False]])


def _split(doubled: np.ndarray, n_rows: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Vertex rows above and below each strip, and their number, when the ``doubled`` rows are split in two."""
    extra = np.cumsum(doubled)
    row = np.arange(n_rows) + extra
    return row[:-1], (row - doubled)[1:], int(n_rows + extra[-1])


def _split_around(doubled: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The same for columns, which close into a ring."""
    n = len(doubled)
    extra = np.cumsum(doubled)
    left = np.arange(n) + extra
    right = np.roll(left - doubled, -1)
    if doubled[0]:
        right[-1] = n + extra[-1]
        return left - 1, right - 1, int(n + extra[-1])
    return left, right, int(n + extra[-1])


def _texture_coordinates(rings: np.ndarray, bands: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u (S+1,) around; v at the upper and lower edge of each strip, (R-1,) each, 0..1 over each stretch of a band."""
    widest = rings[np.argmax(np.ptp(rings, axis=1).sum(axis=1))]
    steps = np.linalg.norm(np.roll(widest, -1, axis=0) - widest, axis=1)
    u = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    length = np.linalg.norm(np.diff(rings, axis=0), axis=2).mean(axis=1) + 1e-12
    stretch = np.concatenate([[0], np.cumsum(bands[1:] != bands[:-1])])
    end = np.cumsum(length)
    total = np.bincount(stretch, length)
    offset = np.concatenate([[0.0], np.cumsum(total)])[stretch]
    return 1.0 - u, (end - length - offset) / total[stretch], (end - offset) / total[stretch]


def _planar(vertices: np.ndarray) -> np.ndarray:
    flat = vertices[:, [0, 2]]
    unit = (flat - flat.min(axis=0)) / np.maximum(np.ptp(flat, axis=0), 1e-9)
    return np.stack([unit[:, 0], 1.0 - unit[:, 1]], axis=-1)


def _face_axes(axis: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Right and up of a box face seen from outside."""
    up = np.array([0.0, 1.0, 0.0]) if axis != 1 else np.array([0.0, 0.0, -side])
    return np.cross(up, side * np.eye(3)[axis]), up


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which rows of (n, 3) differ; column by column, as NumPy is slow along short axes."""
    return (a[:, 0] != b[:, 0]) | (a[:, 1] != b[:, 1]) | (a[:, 2] != b[:, 2])


def _closed(vertices, normals, uv, faces, face_materials, materials) -> Part:
    """The part without triangles that vanish, turned outward by the sign of its volume."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    solid = _differ(a, b) & _differ(b, c) & _differ(a, c)
    if np.einsum("ij,ij->", np.cross(a, b), c) < 0.0:
        faces, normals = faces[:, ::-1], -normals
    materials = (materials,) if isinstance(materials, Material) else tuple(materials)
    return Part(vertices, normals, uv, faces[solid], face_materials[solid], materials)
