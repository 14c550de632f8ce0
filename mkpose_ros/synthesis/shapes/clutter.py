"""Distractors: things that lie about and belong to no category."""

from __future__ import annotations

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.loft import capped, cuboid, extrude, lathe, loft, outline_circle, slab, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile
from mkpose_ros.types import Symmetry

__all__ = ["distractor"]


def distractor(rng: np.random.Generator, name: str) -> Shape:
    """A blob, superquadric, book, plate, cable, fruit, pen, phone, roll, star or pebble."""
    makers = (_blob, _superquadric, _book, _plate, _cable, _fruit, _pen, _phone, _roll, _star)
    return assemble(name, "distractor", makers[int(rng.integers(len(makers)))](rng), Symmetry())


def any_material(rng: np.random.Generator) -> Material:
    draws = (m.plastic, m.glazed, m.decorated, m.metal, m.painted, m.wooden, m.rubber, m.printed)
    return draws[int(rng.integers(len(draws)))](rng)


def _globe(radius: np.ndarray, size: np.ndarray, material: Material) -> Part:
    """A star-shaped body: ``radius`` (R, S) over latitude and longitude, scaled by ``size`` (3,)."""
    n_rows, n_cols = radius.shape
    latitude = np.linspace(-np.pi / 2, np.pi / 2, n_rows)[:, None]
    longitude = 2 * np.pi * np.arange(n_cols)[None] / n_cols
    x, z = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    x, z = x * (np.abs(x) > 1e-12), z * (np.abs(z) > 1e-12)
    rings = np.stack([radius * x, radius * np.sin(latitude), radius * z], -1) * (0.5 * size)
    for end in (0, -1):
        rings[end] = rings[end].mean(axis=0)
    return loft(rings, material)


def _directions(n_rows: int, n_cols: int) -> np.ndarray:
    latitude = np.linspace(-np.pi / 2, np.pi / 2, n_rows)[:, None]
    longitude = 2 * np.pi * np.arange(n_cols)[None] / n_cols
    shape = (n_rows, n_cols)
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.broadcast_to(np.sin(latitude), shape),
            np.cos(latitude) * np.sin(longitude),
        ],
        axis=-1,
    )


def _blob(rng: np.random.Generator) -> list[Part]:
    direction = _directions(26, 40)
    radius = np.ones(direction.shape[:2])
    for _ in range(int(rng.integers(2, 7))):  # smooth waves over the sphere
        wave = direction @ rng.normal(size=3) * rng.uniform(1.0, 4.0) + rng.uniform(0, 7)
        radius += rng.uniform(0.05, 0.22) * np.sin(wave)
    return [_globe(np.maximum(radius, 0.25), rng.uniform(0.04, 0.17, 3), any_material(rng))]


def _superquadric(rng: np.random.Generator) -> list[Part]:
    direction = _directions(26, 40)
    e, f = rng.uniform(0.25, 2.2, 2)
    a = np.abs(direction) + 1e-9
    level = (a[..., 0] ** (2 / e) + a[..., 2] ** (2 / e)) ** (e / f) + a[..., 1] ** (2 / f)
    return [_globe(level ** (-f / 2), rng.uniform(0.04, 0.2, 3), any_material(rng))]


def _book(rng: np.random.Generator) -> list[Part]:
    w, d, t = rng.uniform(0.1, 0.22), rng.uniform(0.15, 0.3), rng.uniform(0.008, 0.045)
    cover, paper = m.printed(rng, h=160, w=128), Material((0.92, 0.9, 0.84), 0.9)
    pages = cuboid((w - 0.006, t - 0.004, d - 0.008), 0.0, paper)
    boards = [slab((w, 0.002, d), 0.001, 0.0004, (cover, cover, cover)).moved(y=y) for y in (-t / 2, t / 2 - 0.002)]
    spine = cuboid((0.002, t - 0.001, d), 0.0003, m.printed(rng, h=64, w=128)).moved(x=-w / 2 + 0.001)
    return [pages, *boards, spine]


def _plate(rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.07, 0.14), rng.uniform(0.012, 0.03)
    well = r * rng.uniform(0.55, 0.75)
    profile = Profile().to(0.9 * well, 0.0, 0.002).to(well, 0.3 * h, 0.004).to(r, h, 0.001)
    rows, bands = (
        profile.to(r - 0.001, h + 0.003, 0.001, 1).to(well, 0.3 * h + 0.004, 0.01, 1).to(0.0, 0.004, 0.0, 1).build()
    )
    return [lathe(rows, (m.glazed(rng), m.decorated(rng)), bands, segments=48)]


def _cable(rng: np.random.Generator) -> list[Part]:
    """A cable in loops: rings carried along a closed curve."""
    n, turns = 120, int(rng.integers(2, 5))
    t = np.linspace(0.0, 2 * np.pi, n)
    wobble = 1.0 + 0.2 * np.sin(t * turns * rng.uniform(0.4, 0.9) + rng.uniform(0, 7))
    reach, tube = rng.uniform(0.03, 0.08) * wobble, rng.uniform(0.0018, 0.004)
    path = np.stack([reach * np.cos(turns * t), tube * (1.0 + 2.2 * turns * t / 7), reach * np.sin(turns * t)], -1)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(tangent, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, tangent)
    c, s = outline_circle(10).T
    rings = path[:, None] + tube * (c[None, :, None] * side[:, None] + s[None, :, None] * up[:, None])
    return [loft(capped(rings), m.plastic(rng))]


def _fruit(rng: np.random.Generator) -> list[Part]:
    kind = rng.choice(["apple", "orange", "lemon", "pear", "banana"])
    tone = {
        "apple": (0.7, 0.12, 0.1), "orange": (0.95, 0.55, 0.1), "lemon": (0.95, 0.85, 0.2),
        "pear": (0.75, 0.78, 0.3), "banana": (0.95, 0.83, 0.25),
    }[str(kind)]  # fmt: skip
    skin = m.textured(textures.glaze(rng, tuple(np.clip(np.array(tone) * rng.uniform(0.75, 1.1), 0, 1))), 0.45)
    r = rng.uniform(0.025, 0.042)
    if kind == "banana":
        angle = np.linspace(-0.9, 0.9, 18)
        bend = rng.uniform(0.09, 0.13)
        path = np.stack([bend * np.sin(angle), bend * np.cos(angle), np.zeros(18)], -1)
        width = 0.018 * np.clip(1.25 - np.abs(angle) ** 4 * 1.4, 0.2, 1.0)
        return [sweep(path, width, width, skin, 2.6).turned(np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]))]
    y = np.linspace(-1.0, 1.0, 24)
    radius = np.sqrt(np.clip(1.0 - y**2, 0.0, 1.0))
    if kind == "apple":
        y = y - 0.25 * np.exp(-((radius / 0.35) ** 2)) * np.sign(y)
    elif kind == "lemon":
        y = y * (1.25 + 0.25 * np.abs(y) ** 8)
    elif kind == "pear":
        radius, y = radius * np.where(y > 0, 1.0 - 0.5 * np.maximum(y, 0.0) ** 0.7, 1.0), y * 1.35
    return [lathe(np.stack([r * radius, r * y], -1), skin)]


def _pen(rng: np.random.Generator) -> list[Part]:
    r, length = rng.uniform(0.0035, 0.008), rng.uniform(0.11, 0.18)
    profile = Profile().to(0.15 * r, 0.0, 0.0).to(r, 0.12 * length, 0.01).to(r, 0.6 * length, 0.0)
    profile.to(r, 0.98 * length, 0.001, 1).to(0.6 * r, length, 0.001, 1)
    rows, bands = profile.to(0.0, length, 0.0, 1).build()
    section = np.linalg.norm(outline_circle(24, rng.choice([2.0, 3.0])), axis=1)
    pen = lathe(rows, (any_material(rng), m.plastic(rng)), bands, section)
    return [pen.turned(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))]


def _phone(rng: np.random.Generator) -> list[Part]:
    w = rng.uniform(0.064, 0.08)
    size = (w, rng.uniform(0.007, 0.011), w * rng.uniform(1.9, 2.2))
    back = m.plastic(rng)
    face = m.textured(textures.screen(rng, (0.02, 0.02, 0.02), 192, 96), 0.1)
    return [slab(size, rng.uniform(0.004, 0.012), 0.002, (back, m.metal(rng), face))]


def _roll(rng: np.random.Generator) -> list[Part]:
    """A ring: tape, a bracelet, a tyre."""
    inner = rng.uniform(0.012, 0.045)
    outer, h = inner + rng.uniform(0.006, 0.03), rng.uniform(0.006, 0.06)
    rows = [[inner, 0.0], [outer, 0.0], [outer, h], [inner, h], [inner, 0.0]]
    return [lathe(np.array(rows), any_material(rng), segments=48)]


def _star(rng: np.random.Generator) -> list[Part]:
    """A toy or biscuit cutter's outline raised to a plate."""
    n = int(rng.integers(3, 9))
    angle = 2 * np.pi * np.arange(48) / 48
    radius = 1.0 + rng.uniform(0.1, 0.45) * np.cos(n * angle)
    outline = rng.uniform(0.025, 0.07) * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    h = rng.uniform(0.008, 0.06)
    return [extrude(outline, np.array([0.0, 0.002, h - 0.002, h]), np.array([0.96, 1, 1, 0.96]), any_material(rng))]
