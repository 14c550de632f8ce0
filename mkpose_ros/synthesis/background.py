"""What stands behind a table and is no object: chair backs, screens, poles, bins, arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.synthesis.scene import Placed
from mkpose_ros.synthesis.shapes.base import Shape
from mkpose_ros.synthesis.shapes.clutter import distractor
from mkpose_ros.synthesis.shapes.clutter_variants import distractor_variant
from mkpose_ros.synthesis.shapes.furniture import arm, chair, screen
from mkpose_ros.synthesis.surfaces import box_shape, random_surface

__all__ = ["random_background"]

_FURNITURE = {"chair": chair, "screen": screen, "arm": arm}
_KINDS = {"slab": 0.22, "pole": 0.08, "block": 0.08, "large": 0.27, "chair": 0.2, "screen": 0.1, "arm": 0.05}  # shares


def random_background(
    rng: np.random.Generator,
    name: str,
    camera_azimuth: float,
    reach_m: float,
    count: int,
    pictures: Sequence[Path] = (),
) -> list[Placed]:
    """``count`` large things behind and beside the radius ``reach_m`` around the origin, held up by nothing.

    ``camera_azimuth`` (rad) is where the camera stands. A segmenter that has never seen a chair takes its back for a
    laptop: what the scene's objects are must be told from what is merely flat.
    """
    things = []
    for i in range(count):
        shape = _shape(rng, f"{name}_background{i}", pictures)
        azimuth = camera_azimuth + np.pi + rng.uniform(-1.4, 1.4)
        distance = reach_m + 0.5 * float(np.max(shape.size_m)) + rng.exponential(0.5)
        height = rng.uniform(-0.5, 0.6)
        turn = Rotation.random(random_state=rng) if rng.random() < 0.4 else _upright(rng)
        if shape.category == "background":  # furniture has y up, the world z
            turn = turn * Rotation.from_euler("x", np.pi / 2)
        centre = np.array([distance * np.cos(azimuth), distance * np.sin(azimuth), height])
        things.append(Placed(shape, compose_pose(turn.as_matrix(), centre), casts_shadow=False))
    return things


def _upright(rng: np.random.Generator) -> Rotation:
    """Any turn about the vertical, leaning a little."""
    lean = Rotation.from_rotvec([rng.normal(0.0, 0.25), rng.normal(0.0, 0.25), 0.0])
    return Rotation.from_rotvec([0.0, 0.0, rng.uniform(0.0, 2.0 * np.pi)]) * lean


def _shape(rng: np.random.Generator, name: str, pictures: Sequence[Path]) -> Shape:
    """A slab, a pole, a block, a piece of furniture, or a thing that lies about elsewhere, several times as large."""
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    if kind in _FURNITURE:
        return _FURNITURE[kind](rng, name)
    if kind == "large":
        clutter = distractor if rng.random() < 0.5 else distractor_variant
        return _scaled(clutter(rng, name), rng.uniform(1.0, 5.0))
    size = {
        "slab": (rng.uniform(0.2, 0.8), rng.uniform(0.01, 0.06), rng.uniform(0.15, 0.6)),
        "pole": (rng.uniform(0.02, 0.08), rng.uniform(0.02, 0.08), rng.uniform(0.4, 1.5)),
        "block": tuple(rng.uniform(0.1, 0.5, 3)),
    }[kind]
    return box_shape(name, size, random_surface(rng, pictures), float(rng.uniform(0.25, 1.5)))


def _scaled(shape: Shape, factor: float) -> Shape:
    return replace(shape, vertices_m=shape.vertices_m * np.float32(factor), size_m=shape.size_m * factor)
