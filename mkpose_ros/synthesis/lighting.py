"""Light: procedural high-dynamic-range environments, folders of them, and what the shader needs of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")  # read by OpenCV when it opens its first .exr
import cv2

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.scene import Lighting

__all__ = [
    "find_environments", "irradiance_coefficients", "linear_from_srgb", "octahedral_levels", "random_lighting",
    "read_environment",
]  # fmt: skip

_HEIGHT = 64
_LEVELS = 5


def random_lighting(rng: np.random.Generator, environments: Sequence[Path] = ()) -> Lighting:
    """Light drawn at random: an environment (from ``environments`` half of the time) and a key light."""
    if environments and rng.random() < 0.5:
        image = read_environment(environments[int(rng.integers(len(environments)))])
        image = np.roll(image, int(rng.integers(image.shape[1])), axis=1)
    else:
        image = _procedural(rng)
    image = np.ascontiguousarray(image / max(float(image.mean()), 1e-6), dtype=np.float32)
    elevation, azimuth = np.radians(rng.uniform(25.0, 85.0)), rng.uniform(0.0, 2.0 * np.pi)
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    strength = float(rng.choice([0.0, 1.0, 1.0, 1.0])) * np.exp(rng.uniform(np.log(0.5), np.log(6.0)))
    blur_m = float(np.exp(rng.uniform(np.log(0.003), np.log(0.05))))
    return Lighting(image, direction, strength * _white(rng), blur_m)


def _white(rng: np.random.Generator, spread: float = 0.25) -> np.ndarray:
    """A warm, neutral or cool white, (3,)."""
    warmth = rng.normal(0.0, spread)
    colour = np.array([1.0 + 0.5 * warmth, 1.0, 1.0 - 0.7 * warmth])
    return np.clip(colour, 0.3, 2.0)


def _procedural(rng: np.random.Generator) -> np.ndarray:
    """A room or the open: gradients between ceiling, walls and floor, with windows, softboxes and bulbs."""
    h, w = _HEIGHT, 2 * _HEIGHT
    up = np.cos((np.arange(h) + 0.5) / h * np.pi)[:, None]  # sine of the elevation
    azimuth = ((np.arange(w) + 0.5) / w - 0.5) * 2.0 * np.pi
    tones = [_white(rng) * np.exp(rng.uniform(np.log(0.05), np.log(1.0))) for _ in range(3)]
    above, below = np.clip(up, 0.0, 1.0) ** 0.7, np.clip(-up, 0.0, 1.0) ** 0.5
    image = np.empty((h, w, 3), np.float32)
    image[:] = (1.0 - above - below)[..., None] * tones[1] + above[..., None] * tones[0] + below[..., None] * tones[2]
    image *= (1.0 + rng.uniform(0.0, 0.6) * np.cos(azimuth - rng.uniform(0, 2 * np.pi)))[None, :, None]
    coarse = rng.uniform(0.6, 1.4, size=(6, 13, 1)).astype(np.float32)
    image *= cv2.resize(np.concatenate([coarse, coarse[:, :1]], axis=1), (w, h), interpolation=cv2.INTER_CUBIC)[
        ..., None
    ]
    for _ in range(int(rng.integers(1, 6))):
        _add_lamp(rng, image)
    return np.maximum(image, 1e-3)


def _add_lamp(rng: np.random.Generator, image: np.ndarray) -> None:
    """A bright rectangle (window, softbox, tube) or disc (bulb) with soft edges, in place."""
    h, w = image.shape[:2]
    lamp = np.zeros((h, w), np.float32)
    x, y = int(rng.integers(w)), int(np.clip(rng.normal(0.27, 0.15), 0.02, 0.55) * h)
    if rng.random() < 0.6:
        half_w, half_h = int(rng.integers(2, w // 8)), int(rng.integers(1, h // 6))
        cv2.rectangle(lamp, (w // 2 - half_w, y - half_h), (w // 2 + half_w, y + half_h), 1.0, -1)
        if rng.random() < 0.3:
            lamp[:, w // 2] = 0.1  # a window's bar
    else:
        cv2.circle(lamp, (w // 2, y), int(rng.integers(1, h // 10)), 1.0, -1)
    lamp = np.roll(cv2.GaussianBlur(lamp, (0, 0), rng.uniform(0.4, 2.0)), x - w // 2, axis=1)
    image += lamp[..., None] * (_white(rng, 0.4) * np.exp(rng.uniform(np.log(2.0), np.log(40.0)))).astype(np.float32)


def find_environments(folder: Path) -> tuple[Path, ...]:
    """The .hdr and .exr files below a folder, sorted. Raises InputError when there is none."""
    found = tuple(sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".hdr", ".exr")))
    if not found:
        raise InputError(f"environments folder {folder}: no .hdr or .exr file below it; give another folder, or none")
    return found


@lru_cache(maxsize=32)
def read_environment(path: Path) -> np.ndarray:
    """An equirectangular image (64, 128, 3) float32 linear RGB. Raises InputError."""
    try:
        image = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{path}: {error}; expected a readable .hdr or .exr image") from error
    if image is None or image.dtype != np.float32:
        raise InputError(f"{path}: not a readable high-dynamic-range image; expected .hdr or .exr with float pixels")
    image = np.nan_to_num(image[..., ::-1], nan=0.0, posinf=1e3, neginf=0.0)
    return np.clip(cv2.resize(image, (2 * _HEIGHT, _HEIGHT), interpolation=cv2.INTER_AREA), 0.0, 1e3)


def octahedral_levels(image: np.ndarray) -> list[np.ndarray]:
    """An equirectangular environment (h, 2h, 3) as octahedral maps (s, s, 4) float32: s = 64, 32, .. 4.

    Each level is half as large as the one before and blurred further, for rougher reflections. A direction d lies at
    (d.x, d.y) / (|d.x| + |d.y| + |d.z|), with the lower half folded outwards.
    """
    levels = []
    for level in range(_LEVELS):
        side = _HEIGHT >> level
        x, y = _octahedral_grid(side, image.shape[1], image.shape[0])
        flat = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        levels.append(cv2.cvtColor(flat, cv2.COLOR_RGB2RGBA))
        image = _blurred_half(image)
    return levels


@lru_cache(maxsize=16)
def _octahedral_grid(side: int, w: int, h: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in an equirectangular image (h, w) each texel of an octahedral map lies."""
    p = (np.arange(side) + 0.5) / side * 2.0 - 1.0
    x, y = np.meshgrid(p, p)
    z = 1.0 - np.abs(x) - np.abs(y)
    fold = np.maximum(-z, 0.0)
    x, y = x - np.copysign(fold, x), y - np.copysign(fold, y)
    azimuth, polar = np.arctan2(y, x), np.arccos(z / np.sqrt(x * x + y * y + z * z))
    u, v = (azimuth / (2.0 * np.pi) + 0.5) * w - 0.5, np.clip(polar / np.pi * h - 0.5, 0.0, h - 1.0)
    return u.astype(np.float32), v.astype(np.float32)


def _blurred_half(image: np.ndarray) -> np.ndarray:
    """An equirectangular image blurred around the globe, at half its size."""
    h, w = image.shape[:2]
    pad = w // 4
    wide = np.concatenate([image[:, -pad:], image, image[:, :pad]], axis=1)
    wide = cv2.GaussianBlur(wide, (0, 0), 1.2, borderType=cv2.BORDER_REPLICATE)[:, pad : pad + w]
    return cv2.resize(wide, (w // 2, h // 2), interpolation=cv2.INTER_AREA)


def irradiance_coefficients(image: np.ndarray) -> np.ndarray:
    """Nine RGB coefficients (9, 3) of the irradiance over the normal (Ramamoorthi and Hanrahan, 2001).

    The basis' constants and the cosine lobe are folded in: irradiance(n) is the sum of coefficients times
    1, y, z, x, xy, yz, 3z^2-1, xz, x^2-y^2.
    """
    return np.tensordot(_irradiance_weights(*image.shape[:2]), image, axes=2)


@lru_cache(maxsize=16)
def _irradiance_weights(h: int, w: int) -> np.ndarray:
    """What each pixel of an equirectangular image adds to each coefficient, (9, h, w)."""
    theta = (np.arange(h) + 0.5) / h * np.pi
    phi = ((np.arange(w) + 0.5) / w - 0.5) * 2.0 * np.pi
    x = np.sin(theta)[:, None] * np.cos(phi)[None]
    y = np.sin(theta)[:, None] * np.sin(phi)[None]
    z = np.broadcast_to(np.cos(theta)[:, None], x.shape)
    solid_angle = np.sin(theta)[:, None] * (np.pi / h) * (2.0 * np.pi / w)
    basis = np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3.0 * z**2 - 1.0, x * z, x**2 - y**2])
    norm = np.array([0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274])
    lobe = np.array([np.pi, *[2.0 * np.pi / 3.0] * 3, *[np.pi / 4.0] * 5])
    return basis * solid_angle * (norm**2 * lobe)[:, None, None]


def linear_from_srgb(srgb: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] as linear ones (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, dtype=np.float64)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
