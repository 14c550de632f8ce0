"""Shoes beyond the common one: pumps, flats, slippers, clogs, boots, high tops, sandals; to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.household import footprint
from mkpose_ros.synthesis.shapes.loft import capped, extrude, loft, outline_circle, outline_rounded
from mkpose_ros.types import Symmetry

__all__ = ["shoe_variant"]

_SIDE = 44  # points around a sole


@dataclass(frozen=True)
class _Style:
    """Ranges of one kind of shoe in metres; ``front`` and ``width`` as shares of its length."""

    share: float
    heel: tuple[float, float]
    sole: tuple[float, float]
    back: tuple[float, float]  # the upper's height above the sole: behind, beside and before the opening
    side: tuple[float, float]
    vamp: tuple[float, float]
    front: tuple[float, float]  # the opening's front end, from the middle
    width: tuple[float, float] = (0.31, 0.38)
    shaft: tuple[float, float] = (0.0, 0.0)  # above the ankle
    pointed: float = 0.25  # how far the toe may narrow
    laced: float = 0.0  # how often


_STYLES = {
    "pump": _Style(
        0.2, (0.03, 0.1), (0.003, 0.009), (0.045, 0.065), (0.025, 0.042), (0.022, 0.036), (0.12, 0.3), (0.28, 0.35),
        pointed=0.65,
    ),
    "flat": _Style(
        0.13, (0.0, 0.012), (0.004, 0.012), (0.042, 0.058), (0.028, 0.042), (0.026, 0.042), (0.1, 0.3), pointed=0.45
    ),
    "loafer": _Style(
        0.13, (0.004, 0.03), (0.006, 0.02), (0.052, 0.072), (0.04, 0.055), (0.05, 0.075), (-0.02, 0.12), laced=0.3,
        pointed=0.4,
    ),
    "slipper": _Style(
        0.1, (0.0, 0.05), (0.008, 0.03), (0.002, 0.012), (0.012, 0.03), (0.045, 0.07), (-0.1, 0.1), (0.34, 0.42)
    ),
    "clog": _Style(
        0.08, (0.0, 0.03), (0.015, 0.04), (0.02, 0.075), (0.045, 0.06), (0.055, 0.08), (-0.05, 0.06), (0.36, 0.43),
        pointed=0.1,
    ),
    "boot": _Style(
        0.13, (0.0, 0.08), (0.006, 0.025), (0.08, 0.1), (0.08, 0.1), (0.09, 0.11), (-0.06, 0.02), shaft=(0.03, 0.2),
        pointed=0.5, laced=0.35,
    ),
    "high top": _Style(
        0.1, (0.0, 0.006), (0.02, 0.035), (0.075, 0.09), (0.075, 0.09), (0.09, 0.105), (-0.04, 0.04),
        shaft=(0.02, 0.05), pointed=0.1, laced=1.0,
    ),
}  # fmt: skip


def shoe_variant(rng: np.random.Generator, name: str) -> Shape:
    """A pump, a flat, a loafer, a slipper, a clog, a boot, a high top or a sandal."""
    shares = np.array([style.share for style in _STYLES.values()])
    if rng.random() > shares.sum():
        return assemble(name, "shoe", _sandal(rng), Symmetry())
    kind = str(rng.choice(list(_STYLES), p=shares / shares.sum()))
    style = _STYLES[kind]
    length = float(rng.uniform(0.2, 0.28) if kind == "pump" else rng.uniform(0.2, 0.31))
    width = length * float(rng.uniform(*style.width))
    foot = _sole_outline(rng, length, width, rng.uniform(0.0, style.pointed))
    heel, thick = float(rng.uniform(*style.heel)), float(rng.uniform(*style.sole))
    wedge = heel < 0.02 or rng.random() < 0.2
    skin = _leather(rng)
    edge = skin if rng.random() < 0.35 else m.plastic(rng, rng.choice(["dark", "pale", "any"], p=[0.5, 0.3, 0.2]))
    if kind == "high top":
        edge = Material((0.93, 0.92, 0.88), 0.5) if rng.random() < 0.8 else edge
    elif kind == "clog" and rng.random() < 0.4:
        edge = m.wooden(rng)
    arch = _arch(length, heel, sharp=rng.uniform(0.3, 0.45))
    parts = [_sole(foot, arch, thick, wedge, edge)]
    if not wedge:
        parts.append(_heel(rng, foot, length, heel + 0.4 * thick, edge))
    rings, bands = _upper_rings(rng, style, foot, lambda x: arch(x) + thick)
    lining = m.rubber(rng, textures.colour(rng, rng.choice(["dark", "pale", "any"])))
    upper = loft(rings, (skin, lining, edge, _leather(rng)), bands)
    parts.append(_with_cap(rng, upper, length, kind))
    if rng.random() < style.laced:
        parts += _laces(rng, rings[bands.tolist().index(0) : bands.tolist().index(1)])
    return assemble(name, "shoe", parts, Symmetry())


def _leather(rng: np.random.Generator) -> Material:
    """Patent, smooth or suede; mostly dark or brown, often bright."""
    brown = tuple(float(c) for c in np.array([0.42, 0.25, 0.14]) * rng.uniform(0.5, 1.7))
    draws = [textures.colour(rng, kind) for kind in ("dark", "vivid", "any", "pale", "grey")]
    base = [*draws, brown][int(rng.choice(6, p=[0.34, 0.2, 0.14, 0.1, 0.06, 0.16]))]
    finish = rng.random()
    if finish < 0.55:
        return Material(base, float(rng.uniform(0.08, 0.2) if finish < 0.12 else rng.uniform(0.25, 0.65)))
    return m.textured(textures.leather(rng, base), rng.uniform(0.45, 0.98))


def _sole_outline(rng: np.random.Generator, length: float, width: float, pointed: float) -> np.ndarray:
    """A footprint (n, 2), left or right, whose toe narrows by the share ``pointed``."""
    bend = rng.uniform(0.02, 0.1) * (1 if rng.random() < 0.5 else -1)
    foot = footprint(length, width, rng.uniform(0.65, 0.9), bend, _SIDE)
    toe = np.clip(foot[:, 0] / length * 2.6 - 0.3, 0.0, 1.0)
    tip = foot[0, 1]
    foot[:, 1] = tip + (foot[:, 1] - tip) * (1.0 - pointed * toe**1.3)
    return foot


def _arch(length: float, heel: float, sharp: float) -> Callable[[np.ndarray], np.ndarray]:
    """How high above the ground a foot stands at x: the heel behind, falling smoothly to the ball."""

    def height(x: np.ndarray) -> np.ndarray:
        t = np.clip((0.16 - x / length) / sharp, 0.0, 1.0)
        toe_spring = 0.03 * length * np.clip(2.0 * x / length - 0.55, 0.0, 1.0)
        return heel * t * t * (3.0 - 2.0 * t) + toe_spring

    return height


def _bed(foot: np.ndarray, height: Callable[[np.ndarray], np.ndarray], scale: float) -> np.ndarray:
    """The outline shrunk by ``scale`` and laid onto a height over x, as a ring (n, 3)."""
    flat = foot.mean(axis=0) + (foot - foot.mean(axis=0)) * scale
    return np.stack([flat[:, 0], height(flat[:, 0]), flat[:, 1]], axis=-1)


def _sole(foot: np.ndarray, arch: Callable, thick: float, wedge: bool, material: Material) -> Part:
    """A plate that follows the arch; as a wedge it reaches down to the ground."""
    below = (lambda x: 0.0 * x) if wedge else arch
    edge = min(0.003, 0.3 * thick)
    rows = [_bed(foot, below, s) for s in (0.05, 0.25, 0.5, 0.97)]
    rows.append(_bed(foot, lambda x: below(x) + edge, 1.0))
    rows.append(_bed(foot, lambda x: arch(x) + thick - edge, 1.015))
    rows += [_bed(foot, lambda x: arch(x) + thick, s) for s in (0.985, 0.5, 0.25, 0.05)]
    return loft(capped(np.stack(rows)), material)


def _heel(rng: np.random.Generator, foot: np.ndarray, length: float, height: float, material: Material) -> Part:
    """A column below the heel: a block, or a stiletto that narrows at once."""
    width = float(np.ptp(foot[foot[:, 0] < -0.3 * length][:, 1])) * 0.92
    outline = outline_rounded(0.24 * length, width, 0.4 * width, 6)
    tip = rng.uniform(0.15, 0.4) if height > 0.045 and rng.random() < 0.6 else rng.uniform(0.7, 1.05)
    t = np.linspace(0.0, 1.0, 8)
    scale = tip + (1.0 - tip) * t ** rng.uniform(1.5, 3.5)
    part = extrude(outline, height * t, np.stack([scale, scale], -1), material)
    lean = 0.5 * (1.0 - tip) * 0.24 * length * rng.uniform(0.0, 0.9) * (1.0 - part.vertices[:, 1] / height)
    rear = float(np.mean(foot[foot[:, 0] < -0.4 * length][:, 1]))
    shift = np.stack([-0.375 * length - lean, 0.0 * lean, rear + 0.0 * lean], axis=-1)
    return replace(part, vertices=part.vertices + shift)


def _upper_rings(rng: np.random.Generator, style: _Style, foot: np.ndarray, floor: Callable) -> tuple[np.ndarray, ...]:
    """Rings and bands (0 outside, 1 inside, 2 hidden) of the upper: up from the sole, and down inside to the floor."""
    length, width = np.ptp(foot, axis=0)
    angle = 2 * np.pi * np.arange(_SIDE) / _SIDE
    back, front = -0.47 * length, float(rng.uniform(*style.front)) * length
    x = 0.5 * (back + front) + 0.5 * (front - back) * np.cos(angle)
    half = 0.5 * width * rng.uniform(0.62, 0.76)
    upper_half = slice(0, _SIDE // 2 + 1)  # from the toe to the heel: its opposite point lies across the sole
    across = 0.5 * (foot + np.roll(foot[::-1], 1, axis=0))[upper_half, 1]
    middle = np.interp(x, foot[upper_half, 0][::-1], across[::-1])
    z = middle + half * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.8
    along = np.clip((x - back) / (front - back), 0.0, 1.0)
    rise = np.interp(along, [0.0, 0.5, 1.0], [rng.uniform(*r) for r in (style.back, style.side, style.vamp)])
    collar = np.stack([x, floor(x) + rise, z], axis=-1)
    collar[:, 1] += 0.25 * (floor(np.array(back)) - floor(x)) * (1.0 - along) if style.shaft[1] else 0.0

    base = _bed(foot, lambda v: floor(v) - 0.002, 0.985)
    steep, creep = rng.uniform(1.6, 2.4), rng.uniform(1.8, 3.0)
    rows = [_bed(foot, lambda v: floor(v) - 0.003, s) for s in (0.05, 0.25, 0.5)]
    bands = [2, 2, 2, 2]
    for t in np.linspace(0.0, 1.0, 12):
        ring = base + (collar - base) * t**creep
        ring[:, 1] = base[:, 1] + (collar[:, 1] - base[:, 1]) * (1.0 - (1.0 - t) ** steep)
        rows.append(ring)
    bands += [0] * 11
    shaft = _shaft(rng, collar, float(rng.uniform(*style.shaft))) if style.shaft[1] else []
    rows += shaft
    bands += [0] * len(shaft)
    inside = [_shrunk(ring, 0.94) for ring in [collar, *shaft][::-1]]
    inside[0] = inside[0] - np.array([0.0, 0.001, 0.0])
    bottom = _bed(foot, lambda v: floor(v) + 0.003, 0.84)
    for t in np.linspace(0.0, 1.0, 6)[1:]:
        ring = inside[len(shaft)] + (bottom - inside[len(shaft)]) * t**2.2
        ring[:, 1] = collar[:, 1] + (bottom[:, 1] - collar[:, 1]) * t - 0.001 * (1.0 - t)
        inside.append(ring)
    rows += [*inside, *(_bed(foot, lambda v: floor(v) + 0.003, s) for s in (0.6, 0.3, 0.05))]
    bands += [1] * (len(rows) + 1 - len(bands))
    return capped(np.stack(rows)), np.array(bands)


def _shrunk(ring: np.ndarray, scale: float) -> np.ndarray:
    middle = ring.mean(axis=0)
    return middle + (ring - middle) * np.array([scale, 1.0, scale])


def _shaft(rng: np.random.Generator, collar: np.ndarray, height: float) -> list[np.ndarray]:
    """Rings from the ankle up to a round, level or sloped top."""
    middle_z = collar[:, 2].mean()
    angle = 2 * np.pi * np.arange(_SIDE) / _SIDE
    size = (0.5 * np.ptp(collar[:, 0]) * rng.uniform(0.85, 1.1), 0.5 * np.ptp(collar[:, 2]) * rng.uniform(0.9, 1.2))
    top_y = collar[:, 1].max() + height
    back = collar[:, 0].min() - rng.uniform(0.0, 0.06) * height
    slope = rng.uniform(-0.15, 0.2) * height
    top = np.stack(
        [back + size[0] * (1.0 + np.cos(angle)), top_y + slope * np.cos(angle), middle_z + size[1] * np.sin(angle)], -1
    )
    return [collar + (top - collar) * np.array([t**1.2, t, t**1.4]) for t in np.linspace(0.0, 1.0, 8)[1:]]


def _with_cap(rng: np.random.Generator, upper: Part, length: float, kind: str) -> Part:
    """The upper with a toe cap, a heel piece or a low rim in another colour; in half of the draws as it is."""
    centre = upper.vertices[upper.faces].mean(axis=1)
    piece = np.zeros(len(centre), dtype=bool)
    if kind == "high top" or rng.random() < 0.2:
        piece |= centre[:, 0] > rng.uniform(0.3, 0.38) * length
    if rng.random() < 0.2:
        piece |= centre[:, 0] < -rng.uniform(0.36, 0.44) * length
    other = 2 if kind == "high top" else int(rng.integers(2, 4))
    return replace(upper, face_materials=np.where(piece & (upper.face_materials == 0), other, upper.face_materials))


def _laces(rng: np.random.Generator, rings: np.ndarray) -> list[Part]:
    """Cords across the vamp and up the shaft's front, along rings of the upper."""
    lace = m.plastic(rng, rng.choice(["pale", "dark", "vivid"]))
    reach, last = int(rng.integers(2, 4)), min(len(rings) - 1, int(rng.integers(13, 17)))
    around = np.arange(-reach, reach + 1)
    return [_cord(rings[row, around] + (0.0012, 0.0018, 0.0), 0.0032, 0.0022, lace) for row in range(6, last)]


def _cord(path: np.ndarray, half_along: float, half_thick: float, material: Material) -> Part:
    """A band along ``path`` (P, 3), which runs across x: ``half_along`` wide towards x, superellipse section."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.array([1.0, 0.0, 0.0]) - tangent * tangent[:, :1]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    c, s = outline_circle(12, 3.0).T
    up = np.cross(across, tangent)
    rings = half_along * c[:, None] * across[:, None] + half_thick * s[:, None] * up[:, None]
    return loft(capped(path[:, None] + rings), material)


def _sandal(rng: np.random.Generator) -> list[Part]:
    """A bare sole, flat or raised, below a thong, a wide band or several straps."""
    length = float(rng.uniform(0.2, 0.31))
    width = length * float(rng.uniform(0.33, 0.42))
    foot = _sole_outline(rng, length, width, rng.uniform(0.0, 0.25))
    heel = float(rng.uniform(0.02, 0.09)) if rng.random() < 0.3 else float(rng.uniform(0.0, 0.012))
    thick, wedge = float(rng.uniform(0.006, 0.032)), heel < 0.02 or rng.random() < 0.4
    arch = _arch(length, heel, sharp=0.4)
    bed = m.wooden(rng) if rng.random() < 0.15 else _leather(rng)
    parts = [_sole(foot, arch, thick, wedge, bed)]
    if not wedge:
        parts.append(_heel(rng, foot, length, heel + 0.4 * thick, bed))
    leather, turn = _leather(rng), np.linspace(0.0, np.pi, 17)

    def strap(x: float, half_along: float, height: float, lean: float = 0.0) -> Part:
        """An arch over the foot at x, its crown ``lean`` further back."""
        here = foot[np.abs(foot[:, 0] - x) < 0.05 * length, 1]
        centre, half = 0.5 * (here.min() + here.max()), 0.47 * np.ptp(here)
        xs = x - lean * np.sin(turn)
        y = arch(np.array(x)) + thick - 0.003 + height * np.sin(turn) ** 0.8
        path = np.stack([xs, y, centre + half * np.cos(turn)], axis=-1)
        return _cord(path, half_along, rng.uniform(0.0012, 0.003), leather)

    kind = rng.choice(["thong", "band", "straps"], p=[0.35, 0.25, 0.4])
    if kind == "band":
        band = strap(rng.uniform(0.08, 0.2) * length, rng.uniform(0.02, 0.05), rng.uniform(0.045, 0.06))
        slope = -rng.uniform(0.0, 0.4) * (band.vertices[:, 0] - 0.15 * length) * (band.vertices[:, 1] > thick + 0.01)
        return [*parts, replace(band, vertices=band.vertices + slope[:, None] * np.array([0.0, 1.0, 0.0]))]
    if kind == "thong":
        toe = np.array([0.32 * length, 0.0, 0.3 * foot[0, 1]])
        t = np.linspace(0.0, 1.0, 15)[:, None]
        for side in (1.0, -1.0):
            end = np.array([rng.uniform(-0.12, 0.0) * length, 0.0, side * 0.42 * width])
            path = toe + (end - toe) * t * np.array([1.0, 0.0, 1.0])
            path[:, 1] = arch(path[:, 0]) + thick - 0.003 + rng.uniform(0.035, 0.05) * np.sin(np.pi * t[:, 0] ** 0.8)
            parts.append(_cord(path[:, [2, 1, 0]], rng.uniform(0.003, 0.009), 0.002, leather).turned(_SWAP))
        return parts
    for x in np.linspace(0.27, -0.05, int(rng.integers(2, 5))):
        parts.append(strap(x * length, rng.uniform(0.004, 0.013), 0.036 + 0.1 * (0.27 - x), rng.uniform(0.0, 0.03)))
    if rng.random() < 0.6:  # around the heel
        parts.append(strap(-0.2 * length, rng.uniform(0.004, 0.009), rng.uniform(0.06, 0.09), rng.uniform(0.04, 0.07)))
    return parts


_SWAP = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
