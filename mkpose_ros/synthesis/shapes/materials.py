"""Draws of what things are made of: ceramics, plastic, metal, glass, print, rubber, wood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes.base import Material

__all__ = [
    "clear",
    "decorated",
    "glazed",
    "metal",
    "one_of",
    "painted",
    "plain",
    "plastic",
    "printed",
    "rubber",
    "textured",
    "wooden",
]


def textured(texture: np.ndarray, roughness: float, metallic: float = 0.0) -> Material:
    """A material that shows ``texture``; its albedo is the texture's mean."""
    mean = texture.reshape(-1, 3).mean(axis=0) / 255.0
    return Material(tuple(float(v) for v in mean), float(roughness), float(metallic), texture)


def plastic(rng: np.random.Generator, kind: str = "any", base=None) -> Material:
    """Moulded plastic, glossy to matt."""
    return Material(base or textures.colour(rng, kind), float(rng.uniform(0.2, 0.65)))


def rubber(rng: np.random.Generator, base=None) -> Material:
    """Dark, rough, finely grained."""
    return textured(textures.leather(rng, base or textures.colour(rng, "dark")), rng.uniform(0.6, 0.95))


def metal(rng: np.random.Generator, brushed: bool | None = None) -> Material:
    """Steel, aluminium, brass or copper; polished or brushed."""
    tone = [(0.77, 0.78, 0.78), (0.91, 0.92, 0.92), (0.58, 0.57, 0.55), (0.89, 0.79, 0.54), (0.9, 0.65, 0.53)]
    base = tone[int(rng.choice(5, p=[0.35, 0.35, 0.16, 0.08, 0.06]))]
    if brushed if brushed is not None else rng.random() < 0.4:
        return textured(textures.brushed(rng, base), rng.uniform(0.3, 0.5), 1.0)
    return Material(base, float(rng.uniform(0.12, 0.4)), 1.0)


def painted(rng: np.random.Generator, base=None) -> Material:
    """Painted or anodised metal."""
    return Material(base or textures.colour(rng), float(rng.uniform(0.25, 0.6)), float(rng.choice([0.0, 0.5, 0.9])))


def clear(rng: np.random.Generator) -> Material:
    """Glass or clear plastic: colourless, green, brown, blue."""
    tint = [(0.92, 0.95, 0.95), (0.2, 0.45, 0.2), (0.35, 0.18, 0.06), (0.45, 0.65, 0.85), (0.75, 0.85, 0.75)]
    base = np.array(tint[int(rng.choice(5, p=[0.5, 0.16, 0.14, 0.1, 0.1]))]) * rng.uniform(0.85, 1.05)
    return Material(tuple(float(v) for v in np.clip(base, 0, 1)), float(rng.uniform(0.02, 0.15)), transmissive=True)


def glazed(rng: np.random.Generator, base=None) -> Material:
    """Ceramics or enamel in one glaze, plain in half of the draws."""
    base = base or textures.colour(rng, rng.choice(["pale", "any", "vivid", "dark"], p=[0.4, 0.3, 0.15, 0.15]))
    roughness = float(rng.uniform(0.08, 0.5))
    if rng.random() < 0.5:
        return Material(base, roughness)
    return textured(textures.glaze(rng, base), roughness)


def decorated(rng: np.random.Generator, base=None) -> Material:
    """Ceramics with a painted pattern all around."""
    return textured(textures.pattern(rng, background=base), rng.uniform(0.08, 0.5))


def printed(rng: np.random.Generator, background=None, h: int = 128, w: int = 256) -> Material:
    """Printed paper, card or foil."""
    roughness = rng.uniform(0.15, 0.8)
    return textured(textures.label(rng, h, w, background), roughness, 0.8 if rng.random() < 0.06 else 0.0)


def wooden(rng: np.random.Generator) -> Material:
    """Oiled or raw wood."""
    return textured(textures.wood(rng), rng.uniform(0.35, 0.8))


def plain(rng: np.random.Generator) -> Material:
    """One colour, white in four draws of ten."""
    white = tuple(float(v) for v in rng.uniform(0.86, 0.95) - np.array([0.0, 0.01, 0.03]) * rng.random())
    return Material(white if rng.random() < 0.4 else textures.colour(rng), float(rng.uniform(0.08, 0.7)))


def one_of(rng: np.random.Generator, options: Sequence):
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]
