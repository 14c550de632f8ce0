"""How objects come to rest: stable poses from the convex hull, packing without overlap, stacking and nesting.

Objects rest either on z = 0 side by side (their footprints' hulls never touch, so the objects can't), or are lowered
onto others by height fields, on which nothing passes through anything either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.transform import Rotation
from shapely import affinity

from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.synthesis.scene import Placed
from mkpose_ros.synthesis.shapes.base import Shape

__all__ = ["OPEN_VESSELS", "UPRIGHT", "arrange", "footprint", "resting_rotation", "stable_rotations"]

OPEN_VESSELS = ("bowl", "cup", "glass", "mug")
UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # object y -> world z
_LEVI_CIVITA = np.zeros((3, 3, 3))
_LEVI_CIVITA[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = 1.0
_LEVI_CIVITA[[0, 2, 1], [2, 1, 0], [1, 0, 2]] = -1.0
_GAP_M = 0.003
_CELL_M = 0.003


@dataclass
class _Rest:
    """One placed shape with what placing the next needs."""

    placed: Placed
    footprint: shapely.Polygon
    vertices: np.ndarray  # (V, 3) world
    upright: bool


def arrange(rng: np.random.Generator, shapes: Sequence[Shape], ids: Sequence[int], spread_m: float) -> list[Placed]:
    """Put shapes at rest on z = 0 within about ``spread_m`` of the origin; those that find no room are left out."""
    rests: list[_Rest] = []
    for shape, instance_id in zip(shapes, ids, strict=True):
        R, upright = resting_rotation(rng, shape)
        rest = None
        if rng.random() < 0.4:
            for base in rng.permutation(len(rests))[:3]:
                rest = rest or _put_on(rng, shape, instance_id, R, upright, rests, rests[int(base)])
        rest = rest or _put_beside(rng, shape, instance_id, R, upright, rests, spread_m)
        if rest is not None:
            rests.append(rest)
    return [rest.placed for rest in rests]


def resting_rotation(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, bool]:
    """A rotation (3, 3) to the world in which the shape rests, turned at random, and whether it is the upright one."""
    spin = Rotation.from_rotvec([0.0, 0.0, rng.uniform(0.0, 2.0 * np.pi)]).as_matrix()
    if rng.random() < 0.72:
        return spin @ UPRIGHT, True
    rotations, weights = stable_rotations(shape)
    if len(rotations) == 0:
        return spin @ UPRIGHT, True
    R = rotations[int(rng.choice(len(rotations), p=weights / weights.sum()))]
    return spin @ R, bool(R[2, 1] > 0.99)


_stable: dict[str, tuple[np.ndarray, np.ndarray]] = {}


def stable_rotations(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (n, 3, 3) to the world that rest the hull on a facet, and weights (n,): shares of directions.

    A facet supports the object if the foot of the perpendicular from the centre of mass (of the filled hull) lies in
    it. Weights are the facets' solid angles seen from there (Van Oosterom and Strackee, 1983).
    """
    if shape.name not in _stable:
        if len(_stable) > 4096:
            _stable.clear()
        _stable[shape.name] = _compute_stable(np.asarray(shape.vertices_m, dtype=np.float64))
    return _stable[shape.name]


def _compute_stable(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.zeros((0, 3, 3)), np.zeros(0)
    if not np.isfinite(vertices).all():
        return nothing
    try:
        hull = ConvexHull(np.unique(vertices.round(4), axis=0))
    except (QhullError, ValueError):
        return nothing
    corners = hull.points[hull.simplices]  # (F, 3, 3)
    inside = hull.points.mean(axis=0)
    volumes = np.abs(np.linalg.det(corners - inside))
    centre = ((corners.sum(axis=1) + inside) / 4.0 * volumes[:, None]).sum(axis=0) / volumes.sum()
    a, b, c = np.moveaxis(corners - centre, 1, 0)
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    triple = np.abs(np.einsum("ij,ij->i", a, np.cross(b, c)))
    dots = [np.einsum("ij,ij->i", p, q) * r for p, q, r in ((a, b, lc), (a, c, lb), (b, c, la))]
    angles = 2.0 * np.arctan2(triple, la * lb * lc + sum(dots))
    planes, group = np.unique(hull.equations.round(3), axis=0, return_inverse=True)
    weights = np.bincount(group.ravel(), angles, minlength=len(planes))
    first = np.zeros(len(planes), dtype=int)
    first[group.ravel()] = np.arange(len(group))
    planes = hull.equations[first]
    height = -(planes[:, :3] @ centre + planes[:, 3])
    foot = centre + height[:, None] * planes[:, :3]
    stable = np.flatnonzero(weights > 1e-3)
    near_first = planes[np.argsort(height, kind="stable")]  # few feet are left after the first hundred planes
    for start in range(0, len(planes), 100):
        some = near_first[start : start + 100]
        stable = stable[(foot[stable] @ some[:, :3].T + some[:, 3]).max(axis=1, initial=-np.inf) < 1e-3]
    down = np.array([0.0, 0.0, -1.0])
    normals = planes[stable, :3]
    # The shortest turn from n to -z: v = n x -z, R = I + [v] + [v]^2 / (1 + c); next to n = +z half a turn about x.
    v, c = np.cross(normals, down), -normals[:, 2]
    skew = np.einsum("ijk,nk->nij", _LEVI_CIVITA, -v)
    rotations = np.eye(3) + skew + skew @ skew / np.maximum(1.0 + c, 1e-6)[:, None, None]
    rotations[c < -1.0 + 1e-6] = np.diag([1.0, -1.0, -1.0])
    return rotations, weights[stable]


def footprint(vertices: np.ndarray) -> shapely.Polygon:
    """The convex outline on the ground of vertices (V, 3)."""
    outline = cv2.convexHull(np.ascontiguousarray(vertices[:, :2], dtype=np.float32))[:, 0]
    return shapely.convex_hull(shapely.multipoints(outline.astype(np.float64)))


def _rest(shape: Shape, instance_id: int, R: np.ndarray, upright: bool, xyz: np.ndarray, local: np.ndarray) -> _Rest:
    vertices = local + xyz
    placed = Placed(shape, compose_pose(R, xyz), instance_id)
    return _Rest(placed, footprint(vertices), vertices, upright)


def _put_beside(
    rng: np.random.Generator,
    shape: Shape,
    instance_id: int,
    R: np.ndarray,
    upright: bool,
    rests: Sequence[_Rest],
    spread_m: float,
) -> _Rest | None:
    local = shape.vertices_m.astype(np.float64) @ R.T
    outline = footprint(local)
    taken = shapely.union_all([r.footprint for r in rests])
    for attempt in range(40):
        reach = spread_m * (1.0 + attempt / 20.0) * np.sqrt(rng.random())
        angle = rng.uniform(0.0, 2.0 * np.pi)
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        moved = affinity.translate(outline, x, y)
        if rests and moved.distance(taken) < _GAP_M:
            continue
        return _rest(shape, instance_id, R, upright, np.array([x, y, -local[:, 2].min()]), local)
    return None


def _put_on(
    rng: np.random.Generator,
    shape: Shape,
    instance_id: int,
    R: np.ndarray,
    upright: bool,
    rests: Sequence[_Rest],
    base: _Rest,
) -> _Rest | None:
    """The shape inside or on top of ``base``, or None if that fails."""
    local = shape.vertices_m.astype(np.float64) @ R.T
    vessel = base.upright and base.placed.shape.category in OPEN_VESSELS
    where = _middle_inside(rng, base, local) if vessel else _middle_on_top(rng, base, local)
    if where is None:
        return None
    others = [r for r in rests if r is not base]
    outline = affinity.translate(footprint(local), *where)
    if any(outline.distance(r.footprint) < _GAP_M for r in others):
        return None
    z = _drop_height(base.placed.shape, base.vertices, shape, local, where)
    if vessel:
        rim, bottom = base.vertices[:, 2].max(), local[:, 2].min() + z
        if rim - bottom < 0.3 * np.ptp(base.vertices[:, 2]):
            return None  # it would sit on the rim
    return _rest(shape, instance_id, R, upright, np.array([*where, z]), local)


def _middle_inside(rng: np.random.Generator, base: _Rest, local: np.ndarray) -> np.ndarray | None:
    """Over a vessel's axis; only things clearly narrower than it."""
    size = base.placed.shape.size_m
    inner = 0.8 * size[2]  # z: a mug's handle is on x
    if np.max(np.ptp(local[:, :2], axis=0)) > inner:
        return None
    axis = base.placed.T_world_obj[:2, 3].copy()
    shape = base.placed.shape
    if shape.handle_vertices is not None:  # the box's centre is not on the body's axis
        body = base.vertices[~shape.handle_vertices]
        axis = 0.5 * (body[:, :2].min(axis=0) + body[:, :2].max(axis=0))
    middle = 0.5 * (local[:, :2].min(axis=0) + local[:, :2].max(axis=0))
    return axis - middle + rng.normal(0.0, 0.003, 2)


def _middle_on_top(rng: np.random.Generator, base: _Rest, local: np.ndarray) -> np.ndarray | None:
    """Where the shape stands on a flat top with its middle well inside, or None if there is no such top."""
    top = base.vertices[base.vertices[:, 2] > base.vertices[:, 2].max() - 0.0015]
    flat = footprint(top)
    if flat.area < 0.0012:
        return None
    foot = footprint(local[local[:, 2] < local[:, 2].min() + 0.002])
    room = flat.buffer(-0.4 * np.sqrt(max(foot.area, 1e-6)))
    if room.is_empty or foot.area < 1e-4:
        return None
    centre = np.array(room.representative_point().coords[0]) + rng.normal(0.0, 0.005, 2)
    if not room.contains(shapely.Point(centre)):
        centre = np.array(room.centroid.coords[0])
    return centre - np.array(foot.centroid.coords[0])


def _drop_height(lower: Shape, lower_m: np.ndarray, upper: Shape, local: np.ndarray, where: np.ndarray) -> float:
    """The least z of ``upper`` (vertices ``local``) over ``where`` at which it is nowhere inside ``lower``."""
    moved = local + [*where, 0.0]
    low = np.maximum(lower_m[:, :2].min(axis=0), moved[:, :2].min(axis=0)) - 2 * _CELL_M
    high = np.minimum(lower_m[:, :2].max(axis=0), moved[:, :2].max(axis=0)) + 2 * _CELL_M
    cells = np.maximum(np.ceil((high - low) / _CELL_M).astype(int), 1)
    if (high <= low).any():
        return float(-local[:, 2].min())
    top = _height_field(lower_m, lower.faces, low, cells)
    bottom = _height_field(moved * [1.0, 1.0, -1.0], upper.faces, low, cells)
    sums = (top + bottom)[(top > -1e8) & (bottom > -1e8)]
    return float(sums.max()) + 0.0005 if len(sums) else float(-local[:, 2].min())


def _height_field(vertices: np.ndarray, faces: np.ndarray, low: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The greatest z over each cell (grown by one cell: nothing slips between samples); -1e9 where there is none."""
    steps = 6
    i, j = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1), indexing="ij")
    inside = (i + j) <= steps
    weights = np.stack([i[inside], j[inside], steps - i[inside] - j[inside]], axis=1) / steps  # (S, 3)
    in_reach = np.ones(len(faces), dtype=bool)  # column by column: NumPy is slow along axes of two or three
    for axis in range(2):
        a, b, c = vertices[faces[:, 0], axis], vertices[faces[:, 1], axis], vertices[faces[:, 2], axis]
        in_reach &= np.maximum(np.maximum(a, b), c) > low[axis]
        in_reach &= np.minimum(np.minimum(a, b), c) < low[axis] + cells[axis] * _CELL_M
    points = np.einsum("sk,fkc->fsc", weights, vertices[faces[in_reach]]).reshape(-1, 3)
    row, column = (np.floor((points[:, axis] - low[axis]) / _CELL_M).astype(int) for axis in range(2))
    ok = np.flatnonzero((row >= 0) & (row < cells[0]) & (column >= 0) & (column < cells[1]))
    field = np.full(cells, -1e9)
    np.maximum.at(field.reshape(-1), row[ok] * cells[1] + column[ok], points[ok, 2])
    return cv2.dilate(field, np.ones((3, 3), np.uint8))
