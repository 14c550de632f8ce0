"""Outlines drawn like a potter's: straight runs, bellies and rounded corners, each stretch with its material band."""

from __future__ import annotations

import numpy as np

__all__ = ["Profile", "arc_handle", "bezier", "fillet_path", "radius_at"]


class Profile:
    """A lathe profile (radius, y) under construction; ``build`` gives the rows and the band of each strip."""

    def __init__(self, r: float = 0.0, y: float = 0.0) -> None:
        self._points = [(r, y)]
        self._fillets = [0.0]
        self._bands: list[int] = []  # of the stretch that leads to the point

    def to(self, r: float, y: float, fillet: float = 0.0, band: int = 0) -> Profile:
        """A straight run to (r, y); ``fillet`` rounds the corner there (metres)."""
        self._points.append((max(r, 0.0), y))
        self._fillets.append(fillet)
        self._bands.append(band)
        return self

    def curve(self, r: float, y: float, bulge: float, band: int = 0, steps: int = 8, lean: float = 1.0) -> Profile:
        """A run to (r, y) that swells to its right (outward while it rises) by ``bulge`` of its length.

        ``lean`` below 1 moves the belly towards the start, above 1 towards the end.
        """
        start = np.array(self._points[-1])
        run = np.array([r, y]) - start
        side = np.array([run[1], -run[0]])
        for t in np.linspace(0.0, 1.0, steps + 1)[1:]:
            point = start + t * run + bulge * np.sin(np.pi * t**lean) * side
            self.to(point[0], point[1], 0.0, band)
        self._points[-1] = (r, y)
        return self

    def ridges(self, r: float, y: float, depth: float, count: int, band: int = 0) -> Profile:
        """A run up to (r, y) with ``count`` grooves of ``depth`` metres."""
        (r0, y0) = self._points[-1]
        for t in np.arange(1, 4 * count) / (4.0 * count):
            groove = depth * 0.5 * (1.0 - np.cos(2 * np.pi * count * t))
            self.to(r0 + t * (r - r0) - groove, y0 + t * (y - y0), 0.0, band)
        return self.to(r, y, 0.0, band)

    def inside(self, wall: float, floor: float, fillet: float, band: int, lip: int = 0) -> Profile:
        """Back down, ``wall`` metres inside the way up, and across a floor at y = ``floor`` to the axis.

        The last ``lip`` points of the way up are a rim that the inner side does not follow.
        """
        rim_r, rim_y = self._points[-1]
        inner = _offset(np.array(self._points[: len(self._points) - lip]), wall)[::-1]
        self.to(rim_r - 0.65 * wall, rim_y, 0.3 * wall, band)
        rising = inner[: int(np.argmin(inner[:, 1])) + 1][::-1]
        at_floor = max(float(np.interp(floor, np.maximum.accumulate(rising[:, 1]), rising[:, 0])), 0.5 * wall)
        lowest = rim_y - 0.5 * wall
        for r, y in inner:
            if floor + 0.3 * wall < y < lowest and r > 0.3 * wall:
                self.to(r, y, 0.0, band)
                lowest = y
        return self.to(at_floor, floor, fillet, band).to(0.0, floor, 0.0, band)

    def build(self, corner_steps: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Rows (R, 2) and the bands (R-1,) of the strips between them."""
        return fillet_path(np.array(self._points), self._fillets, self._bands, corner_steps)


def fillet_path(points: np.ndarray, fillets, bands=None, steps: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A polyline (P, D) with its corners rounded, and the band of each new segment."""
    points = np.asarray(points, dtype=np.float64)
    bands = np.zeros(len(points) - 1, dtype=int) if bands is None else np.asarray(bands)
    length = np.linalg.norm(np.diff(points, axis=0), axis=1)
    t = np.linspace(0.0, 1.0, steps + 1)[:, None]
    rows, row_bands = [points[:1]], []
    for i in range(1, len(points)):
        reach = min(fillets[i], 0.48 * length[i - 1], 0.48 * length[i] if i < len(length) else 0.0)
        if reach <= 1e-6:
            rows.append(points[i : i + 1])
            row_bands.append([bands[i - 1]])
            continue
        a = points[i] + (points[i - 1] - points[i]) * (reach / length[i - 1])
        b = points[i] + (points[i + 1] - points[i]) * (reach / length[i])
        rows.append((1 - t) ** 2 * a + 2 * t * (1 - t) * points[i] + t**2 * b)
        half = (steps + 1) // 2
        row_bands.append([bands[i - 1]] * (half + 1) + [bands[i]] * (steps - half))
    rows, row_bands = np.concatenate(rows), np.concatenate(row_bands)
    distinct = np.concatenate([[True], np.linalg.norm(np.diff(rows, axis=0), axis=1) > 1e-7])
    return rows[distinct], row_bands[distinct[1:]]


def _offset(points: np.ndarray, distance: float) -> np.ndarray:
    """A polyline (P, 2) moved to its left by ``distance``, mitred at the corners."""
    run = np.diff(points, axis=0)
    run = run[np.linalg.norm(run, axis=1) > 1e-9]
    points = np.concatenate([points[:1], points[0] + np.cumsum(run, axis=0)])
    left = np.stack([-run[:, 1], run[:, 0]], axis=-1) / np.linalg.norm(run, axis=1, keepdims=True)
    before, after = np.concatenate([left[:1], left]), np.concatenate([left, left[-1:]])
    mitre = (before + after) / np.maximum(1.0 + np.einsum("ij,ij->i", before, after), 0.5)[:, None]
    return points + distance * mitre


def radius_at(rows: np.ndarray, y: float) -> float:
    """The outer radius of profile rows (R, 2) at height y: the way up, to the highest row."""
    way_up = rows[: int(np.argmax(rows[:, 1])) + 1]
    order = np.argsort(way_up[:, 1], kind="stable")
    return float(np.interp(y, way_up[order, 1], way_up[order, 0]))


def arc_handle(
    rng: np.random.Generator, top: tuple[float, float], bottom: tuple[float, float], reach: float
) -> np.ndarray:
    """A handle's path (P, 3) in the x-y plane from ``top`` to ``bottom`` (x, y), ``reach`` metres outward along +x."""
    (x0, y0), (x1, y1) = top, bottom
    out = max(x0, x1) + reach
    height = y0 - y1
    style = rng.choice(["c", "d", "ear", "square", "loop"], p=[0.36, 0.24, 0.2, 0.1, 0.1])
    if style == "c":
        angle = np.linspace(np.pi / 2, -np.pi / 2, 20)
        centre = 0.5 * (y0 + y1)
        blend = np.linspace(0.0, 1.0, 20)
        x_base = x0 + blend * (x1 - x0)
        path = np.stack([x_base + (out - x_base) * np.cos(angle) ** 0.8, centre + 0.5 * height * np.sin(angle)], -1)
    elif style in ("d", "square"):
        fillet = height * (rng.uniform(0.3, 0.45) if style == "d" else rng.uniform(0.1, 0.2))
        tilt = rng.uniform(-0.12, 0.12) * height
        corners = np.array([[x0, y0], [out, y0 + tilt], [out - abs(tilt), y1 - 0.4 * tilt], [x1, y1]])
        path, _ = fillet_path(corners, [0.0, fillet, fillet, 0.0], steps=7)
    else:
        low = rng.uniform(0.35, 0.8) if style == "ear" else 0.95
        lift = rng.uniform(0.0, 0.16) * height if style == "ear" else 0.05 * height
        control = np.array(
            [[x0, y0], [x0 + 1.25 * reach, y0 + lift], [x0 + 1.55 * reach * low, y1 + 0.25 * height], [x1, y1]]
        )
        t = np.linspace(0.0, 1.0, 20)[:, None]
        path = (1 - t) ** 3 * control[0] + 3 * t * (1 - t) ** 2 * control[1]
        path = path + 3 * t**2 * (1 - t) * control[2] + t**3 * control[3]
    return np.concatenate([path, np.zeros((len(path), 1))], axis=1)


def bezier(start: np.ndarray, control: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Points (steps, D) of the curve from ``start`` to ``end`` (D,) drawn towards ``control``."""
    t = np.linspace(0, 1, steps)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
