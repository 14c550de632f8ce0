"""Tables, floors, walls and furniture: boxes with procedural textures, or pictures from a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.scene import Placed
from mkpose_ros.synthesis.shapes.base import Material, Shape
from mkpose_ros.types import Symmetry

__all__ = ["box_shape", "find_pictures", "random_room", "random_surface"]

_PX = 320
_VARIANTS = 24  # textures of each kind; they are cached, and a scene's colours and scale vary them further


def random_room(
    rng: np.random.Generator, name: str, camera_azimuth: float, reach_m: float, pictures: Sequence[Path] = ()
) -> list[Placed]:
    """What is around the objects: the surface z = 0 (a table or the floor), a floor, walls, furniture.

    ``reach_m`` is the radius around the origin that must be free; ``camera_azimuth`` (rad) is where the camera stands.
    """
    room = []
    floor_z = 0.0
    half = np.array([8.0, 8.0])
    if rng.random() < 0.7:
        half = np.array([rng.uniform(0.35, 0.9), rng.uniform(0.3, 0.6)]) + 0.8 * reach_m
        thickness, turn = rng.uniform(0.015, 0.06), camera_azimuth + rng.choice(4) * np.pi / 2 + rng.normal(0.0, 0.3)
        top = _box(f"{name}_table", (2 * half[0], 2 * half[1], thickness), random_surface(rng, pictures), rng)
        room.append(_at(top, (0.0, 0.0, -0.5 * thickness), turn))
        floor_z = -rng.uniform(0.35, 0.95)
    floor = _box(f"{name}_floor", (16.0, 16.0, 0.1), random_surface(rng, pictures), rng)
    room.append(_at(floor, (0.0, 0.0, floor_z - 0.05), rng.uniform(0.0, 2.0 * np.pi)))
    opposite = camera_azimuth + np.pi
    for i in range(int(rng.choice(3, p=[0.2, 0.5, 0.3]))):
        azimuth = opposite + (rng.normal(0.0, 0.35) if i == 0 else rng.choice([-1, 1]) * rng.uniform(1.0, 2.0))
        distance = reach_m + 0.15 + rng.exponential(1.0)
        wall = _box(f"{name}_wall{i}", (0.1, 12.0, 6.0), random_surface(rng, pictures), rng)
        room.append(_at(wall, (*(distance + 0.05) * _direction(azimuth), floor_z + 3.0), azimuth))
    for i in range(int(rng.integers(0, 5))):
        size = np.exp(rng.uniform(np.log(0.15), np.log(1.2), size=3))
        azimuth = opposite + rng.uniform(-1.2, 1.2)
        distance = max(reach_m, np.max(half) if floor_z < 0.0 else 0.0) + 0.75 * np.max(size[:2]) + rng.exponential(0.6)
        box = _box(f"{name}_furniture{i}", size, random_surface(rng, pictures), rng)
        room.append(_at(box, (*distance * _direction(azimuth), floor_z + 0.5 * size[2]), rng.uniform(0.0, 6.3)))
    return room


def random_surface(rng: np.random.Generator, pictures: Sequence[Path] = ()) -> Material:
    """A material for something large: one of wood, tiles, cloth, noise, checker, marble, carpet, plain, pictures."""
    roughness = float(rng.choice([rng.uniform(0.12, 0.4), rng.uniform(0.4, 0.95)], p=[0.35, 0.65]))
    if pictures and rng.random() < 0.5:
        texture = _picture(pictures[int(rng.integers(len(pictures)))])
    else:
        texture = _texture(int(rng.integers(len(_KINDS))), int(rng.integers(_VARIANTS)))
    return Material(tuple(float(v) for v in texture[::8, ::8].mean(axis=(0, 1)) / 255.0), roughness, 0.0, texture)


def box_shape(name: str, size_m: Sequence[float], material: Material, tile_m: float) -> Shape:
    """A box in its own frame, axis-aligned around the origin; the texture repeats every ``tile_m`` metres."""
    size = np.asarray(size_m, dtype=np.float64)
    vertices, normals, uv, faces = [], [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = np.eye(3)[axis] * sign
            a, b = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3] * sign  # a x b points out
            corners = np.array([normal + i * a + j * b for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]) * size / 2
            start = 4 * len(vertices)
            faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
            vertices.append(corners)
            normals.append(np.tile(normal, (4, 1)))
            uv.append(np.stack([corners @ a, corners @ b], axis=1) / tile_m)
    return Shape(
        name=name,
        category="room",
        vertices_m=np.concatenate(vertices).astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
        faces=np.array(faces, dtype=np.int32),
        uv=np.concatenate(uv).astype(np.float32),
        materials=(material,),
        face_materials=np.zeros(12, dtype=np.int32),
        symmetry=Symmetry(),
        size_m=size,
    )


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """The images below a folder, sorted. Raises InputError when there is none."""
    endings = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
    found = tuple(sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in endings))
    if not found:
        raise InputError(f"pictures folder {folder}: no {', '.join(endings)} below it; give another folder, or none")
    return found


def _box(name: str, size: Sequence[float], material: Material, rng: np.random.Generator) -> Shape:
    return box_shape(name, size, material, float(np.exp(rng.uniform(np.log(0.25), np.log(1.5)))))


def _at(shape: Shape, position: Sequence[float], turn: float) -> Placed:
    T = np.eye(4)
    T[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    T[:3, 3] = position
    return Placed(shape, T, casts_shadow=False)


def _direction(azimuth: float) -> np.ndarray:
    return np.array([np.cos(azimuth), np.sin(azimuth)])


@lru_cache(maxsize=64)
def _picture(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: not a readable image; remove it from the pictures folder")
    return np.ascontiguousarray(cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA)[..., ::-1])


@cache  # there are len(_KINDS) * _VARIANTS of them, 80 MB
def _texture(kind: int, variant: int) -> np.ndarray:
    """One of the procedural textures (_PX, _PX, 3) uint8 sRGB; it repeats without a seam where the kind allows."""
    rng = np.random.default_rng([17, kind, variant])
    image = _KINDS[kind](rng) * (1.0 + 0.05 * rng.uniform(0, 1) * rng.standard_normal((_PX, _PX, 1)))
    return np.clip(255.0 * image, 0, 255).astype(np.uint8)


def _tone(rng: np.random.Generator) -> np.ndarray:
    kind = rng.choice(["any", "pale", "dark", "vivid"], p=[0.35, 0.35, 0.2, 0.1])
    return np.asarray(textures.colour(rng, kind), dtype=np.float64)


def _mixed(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """Two related tones mixed by weight (h, w) in [0, 1]."""
    first = _tone(rng)
    second = (
        np.clip(first * rng.uniform(0.4, 1.0) + rng.normal(0.0, 0.04, 3), 0, 1) if rng.random() < 0.7 else _tone(rng)
    )
    return first + weight[..., None] * (second - first)


def _plain(rng: np.random.Generator) -> np.ndarray:
    return _mixed(rng, 0.15 * _clouds(rng, 3))


def _clouds(rng: np.random.Generator, cells: int, octaves: int = 4) -> np.ndarray:
    """Smooth noise in [0, 1] that repeats without a seam."""
    total = np.zeros((_PX, _PX))
    for octave in range(octaves):
        n = min(cells * 2**octave, _PX)
        grid = np.pad(rng.random((n, n)), 2, mode="wrap")
        margin = 2 * _PX // n
        big = cv2.resize(grid, (_PX + 2 * margin, _PX + 2 * margin), interpolation=cv2.INTER_CUBIC)
        total += 0.55**octave * big[margin : margin + _PX, margin : margin + _PX]
    total -= total.min()
    return total / total.max()


def _wood(rng: np.random.Generator) -> np.ndarray:
    """Planks with grain along x."""
    planks = int(rng.integers(1, 7))
    row = np.arange(_PX) * planks // _PX
    grain = _clouds(rng, 3, 3)
    along = cv2.resize(rng.random((_PX, 8)), (_PX, _PX), interpolation=cv2.INTER_CUBIC)
    rings = 0.5 + 0.5 * np.sin(rng.uniform(20, 90) * (np.linspace(0, 1, _PX)[:, None] + rng.uniform(0.05, 0.4) * grain))
    base = np.array([0.62, 0.45, 0.28]) * rng.uniform(0.35, 1.35) + rng.normal(0.0, 0.05, 3)
    image = (
        np.clip(base, 0.03, 0.95)
        * (1.0 - 0.35 * rings * rng.uniform(0.2, 1))[..., None]
        * (0.85 + 0.25 * along)[..., None]
    )
    image = image * rng.uniform(0.8, 1.1, planks)[row][:, None, None]
    if planks > 1:
        image[np.flatnonzero(np.diff(row))] *= 0.35
    return image


def _tiles(rng: np.random.Generator) -> np.ndarray:
    n, m = int(rng.integers(2, 7)), int(rng.integers(2, 7))
    shade = rng.uniform(1.0 - rng.uniform(0.0, 0.3), 1.0, (n, m))
    y, x = np.arange(_PX) * n / _PX, np.arange(_PX) * m / _PX
    image = _mixed(rng, _clouds(rng, 4)) * shade[y.astype(int)][:, x.astype(int)][..., None]
    gap = rng.uniform(0.01, 0.05)
    joint = ((y % 1) < gap * n / 2)[:, None] | ((x % 1) < gap * m / 2)[None]
    image[joint] = _tone(rng)
    return image


def _cloth(rng: np.random.Generator) -> np.ndarray:
    n = int(rng.integers(20, 80))
    at = np.arange(_PX) / _PX * 2 * np.pi * n
    weave = 0.5 + 0.25 * (np.sin(at)[:, None] + np.sin(at + np.pi / 2)[None])
    image = _mixed(rng, weave) * (0.8 + 0.2 * _clouds(rng, 5))[..., None]
    if rng.random() < 0.5:  # stripes or a plaid
        stripes = (np.arange(_PX) * int(rng.integers(2, 10)) * 2 // _PX) % 2
        image = image * (1.0 - 0.5 * stripes[:, None, None] * rng.uniform(0.3, 1.0, 3))
        if rng.random() < 0.5:
            image = image * (1.0 - 0.4 * stripes[None, :, None])
    return image


def _noise(rng: np.random.Generator) -> np.ndarray:
    return _mixed(rng, _clouds(rng, int(rng.integers(2, 40)), int(rng.integers(1, 6))))


def _checker(rng: np.random.Generator) -> np.ndarray:
    n = 2 * int(rng.integers(1, 6))
    at = np.arange(_PX) * n // _PX
    image = _mixed(rng, 0.3 * _clouds(rng, 4))
    return np.where(((at[:, None] + at[None]) % 2)[..., None] > 0, image, _tone(rng))


def _marble(rng: np.random.Generator) -> np.ndarray:
    veins = np.abs(2.0 * _clouds(rng, int(rng.integers(2, 5)), 5) - 1.0) ** rng.uniform(0.2, 0.6)
    return _mixed(rng, 1.0 - veins)


def _carpet(rng: np.random.Generator) -> np.ndarray:
    image = _mixed(rng, 0.5 * _clouds(rng, 6) + 0.5 * rng.random((_PX, _PX)))
    for _ in range(int(rng.integers(0, 6))):  # medallions
        centre = rng.integers(0, _PX, 2).tolist()
        axes = rng.integers(8, _PX // 3, 2).tolist()
        cv2.ellipse(image, centre, axes, 0, 0, 360, _tone(rng).tolist(), int(rng.choice([-1, 2, 4, 8])))
    return image * (0.75 + 0.25 * rng.random((_PX, _PX, 1)))


_KINDS: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (
    _plain, _plain, _wood, _wood, _wood, _tiles, _cloth, _noise, _checker, _marble, _carpet,
)  # fmt: skip
