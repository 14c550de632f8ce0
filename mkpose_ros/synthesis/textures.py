"""Procedural textures: small sRGB images (h, w, 3) uint8 that make shapes look printed, glazed, brushed, woven."""

from __future__ import annotations

import colorsys
import string
from itertools import pairwise

import cv2
import numpy as np

__all__ = [
    "brushed", "colour", "glaze", "keyboard", "label", "leather", "noise", "paint_tile", "pattern", "screen", "wood",
]  # fmt: skip

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)  # fmt: skip
_LETTERS = np.array(list(string.ascii_letters + string.digits))


def colour(rng: np.random.Generator, kind: str = "any") -> tuple[float, float, float]:
    """An sRGB colour in [0, 1]: "any", "vivid", "pale", "dark" or "grey"."""
    hue = rng.uniform()
    saturation, value = {
        "vivid": (rng.uniform(0.6, 1.0), rng.uniform(0.5, 0.95)),
        "pale": (rng.uniform(0.02, 0.25), rng.uniform(0.75, 0.97)),
        "dark": (rng.uniform(0.0, 0.5), rng.uniform(0.03, 0.25)),
        "grey": (rng.uniform(0.0, 0.06), rng.uniform(0.1, 0.95)),
        "any": (rng.uniform(0.0, 1.0) ** 1.3, rng.uniform(0.08, 0.97)),
    }[kind]
    return colorsys.hsv_to_rgb(hue, saturation, value)


def noise(rng: np.random.Generator, h: int, w: int, cells: int = 6, octaves: int = 3) -> np.ndarray:
    """Smooth value noise (h, w) float32 in about [0, 1]."""
    total = np.zeros((h, w), dtype=np.float32)
    for octave in range(octaves):
        n = cells * 2**octave
        grid = rng.random((n, n), dtype=np.float32)
        total += cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total / (2.0 - 0.5 ** (octaves - 1))


def label(rng: np.random.Generator, h: int = 128, w: int = 256, background=None) -> np.ndarray:
    """A printed label: a ground, blocks or bands, a logo, words in rows, perhaps a bar code."""
    image = _ground(rng, h, w, background or colour(rng, rng.choice(["any", "vivid", "pale"])))
    for _ in range(rng.integers(0, 4)):
        _band_or_block(rng, image)
    for _ in range(rng.integers(1, 4)):
        _logo(rng, image)
    for _ in range(rng.integers(1, 4)):
        _words(rng, image, scale=rng.uniform(0.5, 1.6) * h / 128, lines=1)
    if rng.random() < 0.6:
        _words(rng, image, scale=0.3 * h / 128, lines=int(rng.integers(3, 9)))
    if rng.random() < 0.3:
        _bar_code(rng, image)
    return image


def pattern(rng: np.random.Generator, h: int = 128, w: int = 256, background=None) -> np.ndarray:
    """A painted decoration: stripes, dots, checks, bands, a gradient, flowers, or a picture like a label."""
    ground = background or colour(rng, rng.choice(["any", "pale"]))
    image = _ground(rng, h, w, ground)
    ink = _rgb(colour(rng, rng.choice(["any", "vivid", "dark"])))
    kind = rng.choice(["stripes", "bands", "dots", "checks", "gradient", "logo", "splash"])
    if kind == "stripes":
        step = int(rng.integers(2, 20)) * 2
        _paint(image, _diagonal(rng, h, w, step), ink)
    elif kind == "bands":
        for _ in range(rng.integers(1, 6)):
            y = int(rng.integers(0, h))
            image[y : y + int(rng.integers(2, h // 5))] = _rgb(colour(rng))
    elif kind == "dots":
        step = int(rng.integers(10, 40))
        for y in range(step // 2, h, step):
            for x in range(step // 2 + (y // step % 2) * step // 2, w, step):
                cv2.circle(image, (x, y), max(1, int(step * 0.3)), ink, -1, cv2.LINE_AA)
    elif kind == "checks":
        step = int(rng.integers(6, 40))
        rows, cols = np.arange(h)[:, None] // step, np.arange(w)[None] // step
        _paint(image, (rows + cols) % 2 == 0, ink)
    elif kind == "gradient":
        ramp = np.linspace(0.0, 1.0, h, dtype=np.float32)[:, None, None] ** rng.uniform(0.5, 2.0)
        image[:] = image * (1 - ramp) + np.array(ink, dtype=np.float32) * ramp
    elif kind == "logo":
        _logo(rng, image)
        _words(rng, image, scale=rng.uniform(0.6, 1.4), lines=1)
    else:
        _paint(image, noise(rng, h, w, int(rng.integers(3, 9))) > rng.uniform(0.5, 0.62), ink)
    return image


def glaze(rng: np.random.Generator, base: tuple[float, float, float], h: int = 96, w: int = 96) -> np.ndarray:
    """Ceramic glaze: a slightly uneven ground, perhaps speckled, perhaps with a drip of a second glaze."""
    image = _shade(base, 0.94 + 0.1 * noise(rng, h, w))
    if rng.random() < 0.5:
        _paint(image, rng.random((h, w)) < rng.uniform(0.005, 0.05), _rgb(colour(rng, "dark")))
    if rng.random() < 0.4:
        edge = h * (rng.uniform(0.15, 0.5) + 0.25 * (noise(rng, 1, w, 8)[0] - 0.5))
        _paint(image, np.arange(h)[:, None] < edge[None], _rgb(colour(rng)))
    return image


def wood(rng: np.random.Generator, h: int = 128, w: int = 128) -> np.ndarray:
    """Grain along the image's height."""
    base = colorsys.hsv_to_rgb(rng.uniform(0.05, 0.11), rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.85))
    rings = np.linspace(0.0, rng.uniform(4, 14), w, dtype=np.float32)[None] + 3.0 * noise(rng, h, w, 2)
    grain = 0.5 + 0.5 * np.sin(2 * np.pi * rings)
    fibre = cv2.resize(rng.random((4, w), dtype=np.float32), (w, h))
    return _shade(base, 0.75 + 0.22 * grain + 0.12 * fibre)


def brushed(rng: np.random.Generator, base: tuple[float, float, float], h: int = 64, w: int = 128) -> np.ndarray:
    """Brushed metal: streaks along u."""
    streaks = cv2.resize(rng.random((h, 4), dtype=np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    return _shade(base, 0.88 + 0.22 * streaks)


def leather(rng: np.random.Generator, base: tuple[float, float, float], h: int = 128, w: int = 128) -> np.ndarray:
    """Fine grain: leatherette, rubber, woven fabric."""
    grain = cv2.GaussianBlur(rng.random((h, w), dtype=np.float32), (3, 3), 0)
    if rng.random() < 0.3:  # a weave
        x, y = np.arange(w)[None], np.arange(h)[:, None]
        grain = 0.5 * grain + 0.25 * ((x // 2 + y // 2) % 2)
    return _shade(base, 0.65 + 0.6 * grain)


def keyboard(rng: np.random.Generator, body: tuple[float, float, float], h: int = 160, w: int = 224) -> np.ndarray:
    """A laptop's upper deck: rows of keys at the image's top, a touch pad below."""
    image = _shade(body, np.full((h, w), 1.0, dtype=np.float32))
    key = _rgb(colour(rng, "dark") if rng.random() < 0.75 else colour(rng, "pale"))
    ink = (225, 225, 225) if sum(key) < 300 else (40, 40, 40)
    left, top = int(w * rng.uniform(0.04, 0.1)), int(h * rng.uniform(0.06, 0.14))
    bottom = int(h * rng.uniform(0.52, 0.62))
    if rng.random() < 0.5:
        well = _rgb(tuple(0.8 * c for c in body))
        cv2.rectangle(image, (left - 2, top - 2), (w - left + 1, bottom + 1), well, -1)
    n_rows = 6
    for row, y in enumerate(np.linspace(top, bottom, n_rows + 1)[:-1]):
        n = int(rng.integers(12, 16)) if row < n_rows - 1 else 8
        edges = np.linspace(left, w - left, n + 1)
        if row == n_rows - 1:
            edges = left + (w - 2 * left) * np.array([0.0, 0.08, 0.16, 0.25, 0.66, 0.75, 0.83, 0.91, 1.0])
        y1 = int(y + (bottom - top) / n_rows * (0.55 if row == 0 else 0.86))
        for a, b in pairwise(edges):
            cv2.rectangle(image, (int(a) + 1, int(y)), (int(b) - 1, y1), key, -1)
            cv2.line(image, (int(a) + 4, int(y) + 3), (int(a) + 6, int(y) + 3), ink, 1)
    pad_w, middle = int(w * rng.uniform(0.12, 0.22)), int(w * rng.uniform(0.42, 0.52))
    tone = _rgb(tuple(np.clip(np.array(body) * rng.uniform(0.82, 1.1), 0, 1)))
    pad = ((middle - pad_w, bottom + h // 24), (middle + pad_w, h - h // 20))
    cv2.rectangle(image, *pad, tone, -1)
    cv2.rectangle(image, *pad, _rgb(tuple(0.7 * c for c in body)), 1)
    return image


def screen(rng: np.random.Generator, bezel: tuple[float, float, float], h: int = 144, w: int = 224) -> np.ndarray:
    """A display with its bezel: switched off, or a desktop with windows."""
    image = _shade(bezel, np.ones((h, w), dtype=np.float32))
    side, top, chin = (max(2, int(h * rng.uniform(0.02, f))) for f in (0.07, 0.08, 0.14))
    view = image[top : h - chin, side : w - side]
    if rng.random() < 0.45:
        view[:] = _shade(colour(rng, "dark"), 0.5 + 0.4 * noise(rng, *view.shape[:2], 2, 1))
        return image
    view[:] = _ground(rng, *view.shape[:2], colour(rng))
    for _ in range(rng.integers(0, 4)):
        _band_or_block(rng, view)
    if rng.random() < 0.7:
        _words(rng, view, scale=0.3, lines=int(rng.integers(4, 12)))
    view[-max(3, h // 24) :] = _rgb(colour(rng, "grey"))
    return image


def paint_tile(atlas: np.ndarray, column: int, row: int, tile: np.ndarray) -> None:
    """Fit ``tile`` into one of the 3 x 2 tiles of a cuboid's atlas, in place."""
    h, w = atlas.shape[0] // 2, atlas.shape[1] // 3
    atlas[row * h : (row + 1) * h, column * w : (column + 1) * w] = cv2.resize(tile, (w, h))


def _rgb(c) -> tuple[int, int, int]:
    return tuple(round(255 * float(v)) for v in c)


def _shade(base, factor: np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(base, dtype=np.float32) * factor[..., None] * 255.0, 0, 255).astype(np.uint8)


def _paint(image: np.ndarray, where: np.ndarray, ink) -> None:
    image[where] = ink


def _diagonal(rng: np.random.Generator, h: int, w: int, step: int) -> np.ndarray:
    slope = int(rng.integers(-1, 2))
    phase = np.arange(w)[None] + slope * np.arange(h)[:, None]
    return phase % step < max(1, int(step * rng.uniform(0.2, 0.6)))


def _ground(rng: np.random.Generator, h: int, w: int, base) -> np.ndarray:
    if rng.random() < 0.3:
        other = np.array(colour(rng), dtype=np.float32)
        ramp = np.linspace(0.0, 1.0, h, dtype=np.float32)[:, None, None]
        field = (np.asarray(base, dtype=np.float32) * (1 - ramp) + other * ramp) * np.ones((1, w, 1), dtype=np.float32)
        return (255 * field).astype(np.uint8)
    return np.full((h, w, 3), _rgb(base), dtype=np.uint8)


def _band_or_block(rng: np.random.Generator, image: np.ndarray) -> None:
    h, w = image.shape[:2]
    y0, y1 = np.sort(rng.integers(0, h, 2))
    x0, x1 = (0, w) if rng.random() < 0.5 else np.sort(rng.integers(0, w, 2))
    image[y0:y1, x0:x1] = _rgb(colour(rng))


def _logo(rng: np.random.Generator, image: np.ndarray) -> None:
    h, w = image.shape[:2]
    centre = (int(rng.integers(0, w)), int(rng.integers(h // 5, h - h // 5)))
    ink, size = _rgb(colour(rng, rng.choice(["any", "vivid"]))), float(rng.uniform(0.1, 0.35) * h)
    kind = rng.integers(0, 3)
    if kind == 0:
        axes = (int(size * rng.uniform(0.5, 1.6)) + 1, int(size) + 1)
        cv2.ellipse(image, centre, axes, 0, 0, 360, ink, -1 if rng.random() < 0.6 else 3, cv2.LINE_AA)
        return
    n = int(rng.integers(3, 11))
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False) + rng.uniform(0, 7)
    radius = size * (1.0 if kind == 1 else rng.uniform(0.4, 1.0, n))
    points = np.stack([np.cos(angle), np.sin(angle)], -1) * np.broadcast_to(radius, n)[:, None] + centre
    cv2.fillPoly(image, [points.astype(np.int32)], ink, cv2.LINE_AA)


def _words(rng: np.random.Generator, image: np.ndarray, scale: float, lines: int) -> None:
    h, w = image.shape[:2]
    ink = _rgb(colour(rng, rng.choice(["dark", "pale", "vivid"])))
    font, pitch = int(rng.choice(_FONTS)), int(36 * scale) + 1
    x, y = int(rng.integers(0, max(1, w // 2))), int(rng.integers(pitch, max(pitch + 1, h)))
    weight = 1 if scale < 0.6 else int(rng.integers(1, 4))
    for _ in range(lines):
        word = "".join(rng.choice(_LETTERS, int(rng.integers(3, 10 if lines == 1 else 30))))
        cv2.putText(image, word, (x, y), font, scale, ink, weight, cv2.LINE_AA)
        y += pitch


def _bar_code(rng: np.random.Generator, image: np.ndarray) -> None:
    h, w = image.shape[:2]
    bh, bw = int(h * 0.25), int(min(w * 0.2, 48))
    y, x = int(rng.integers(0, h - bh)), int(rng.integers(0, w - bw))
    image[y : y + bh, x : x + bw] = np.where(rng.random(bw) < 0.5, 20, 245)[None, :, None]
