"""Large things that stand around a table and are never objects: chairs, screens on a foot, robot arms; y is up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.devices import FACING_FRONT
from mkpose_ros.synthesis.shapes.loft import lathe, slab, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile
from mkpose_ros.types import Symmetry

__all__ = ["arm", "chair", "screen"]


def chair(rng: np.random.Generator, name: str) -> Shape:
    """A chair: a seat, a back that is a bent plate or slats between posts, legs or a column with a star, some arms."""
    width, depth, seat_y = rng.uniform(0.36, 0.52), rng.uniform(0.36, 0.5), rng.uniform(0.4, 0.52)
    cover = m.rubber(rng, textures.colour(rng, rng.choice(["dark", "any"]))) if rng.random() < 0.6 else m.plastic(rng)
    frame = m.one_of(rng, (m.plastic(rng, "dark"), m.metal(rng), m.wooden(rng)))
    seat = slab((depth, rng.uniform(0.02, 0.08), width), rng.uniform(0.02, 0.15), 0.03, (cover,) * 3)
    parts = [seat.moved(y=seat_y), *_back(rng, width, depth, seat_y, cover, frame)]
    if rng.random() < 0.5:
        corners = [(x * 0.45 * depth, z * 0.45 * width) for x in (-1, 1) for z in (-1, 1)]
        parts += [_rod((x, 0.0, z), (x, seat_y + 0.01, z), rng.uniform(0.01, 0.022), frame) for x, z in corners]
    else:
        parts.append(_rod((0.0, 0.08, 0.0), (0.0, seat_y + 0.01, 0.0), 0.025, frame))
        for angle in np.linspace(0.0, 2.0 * np.pi, int(rng.integers(4, 6)), endpoint=False):
            tip = (0.3 * np.cos(angle), 0.03, 0.3 * np.sin(angle))
            parts.append(_rod((0.0, 0.1, 0.0), tip, rng.uniform(0.014, 0.024), frame))
    if rng.random() < 0.4:
        y = seat_y + rng.uniform(0.18, 0.26)
        for z in (-0.52 * width, 0.52 * width):
            rest = slab((0.6 * depth, 0.03, 0.06), 0.02, 0.01, (cover,) * 3)
            parts += [rest.moved(y=y, z=z), _rod((0.0, seat_y, z), (0.0, y + 0.01, z), 0.014, frame)]
    return assemble(name, "background", parts, Symmetry())


def _back(
    rng: np.random.Generator, width: float, depth: float, seat_y: float, cover: Material, frame: Material
) -> list[Part]:
    low, high, x = seat_y + rng.uniform(0.05, 0.2), seat_y + rng.uniform(0.4, 0.62), -0.48 * depth
    parts = [_rod((x, seat_y, z), (x, high - 0.02, z), 0.014, frame) for z in (-0.4 * width, 0.4 * width)]
    if rng.random() < 0.3:
        bar = slab((0.02, 0.045, 0.85 * width), 0.005, 0.004, (frame,) * 3)
        return parts + [bar.moved(x=x, y=y) for y in np.linspace(low, high, int(rng.integers(2, 6)))]
    plate = slab((high - low, rng.uniform(0.012, 0.06), width), rng.uniform(0.02, 0.15), 0.02, (cover,) * 3)
    plate = plate.turned(Rotation.from_euler("z", np.pi / 2 + rng.uniform(-0.25, 0.1)).as_matrix())
    bend = rng.uniform(0.0, 0.8) * plate.vertices[:, 2] ** 2  # hollow towards who sits there
    plate = replace(plate, vertices=plate.vertices + bend[:, None] * np.array([1.0, 0.0, 0.0]))
    return [*parts, plate.moved(x=x, y=0.5 * (low + high))]


def screen(rng: np.random.Generator, name: str) -> Shape:
    """A monitor or a board that faces +x: dark, lit or plain, on a foot or held by nothing."""
    width = float(rng.uniform(0.3, 0.85))
    height, thick = width * rng.uniform(0.5, 0.75), rng.uniform(0.012, 0.05)
    shell = m.plastic(rng, rng.choice(["dark", "grey", "pale"], p=[0.6, 0.2, 0.2]))
    picture = textures.screen(rng, textures.colour(rng, "dark"))
    if rng.random() < 0.3:
        picture = textures.label(rng, 128, 192)
    face = shell if rng.random() < 0.25 else m.textured(picture, rng.uniform(0.05, 0.6))
    panel = slab((width, thick, height), rng.uniform(0.002, 0.02), 0.2 * thick, (shell, shell, face))
    panel = panel.turned(FACING_FRONT)
    if rng.random() < 0.3:
        return assemble(name, "background", [panel], Symmetry())
    below = -0.5 * height - rng.uniform(0.04, 0.15)
    foot = slab((0.2, 0.015, rng.uniform(0.15, 0.3)), rng.uniform(0.005, 0.07), 0.004, (shell,) * 3).moved(y=below)
    return assemble(name, "background", [panel, foot, _rod((0, below, 0), (0, 0, 0), 0.02, shell)], Symmetry())


def arm(rng: np.random.Generator, name: str) -> Shape:
    """A robot arm: links between round joints, two fingers at its end."""
    skin = m.plastic(rng, rng.choice(["pale", "grey", "any"]))
    joint = m.metal(rng) if rng.random() < 0.4 else m.plastic(rng, rng.choice(["dark", "vivid"]))
    r, at = float(rng.uniform(0.03, 0.065)), np.zeros(3)
    parts = []
    for i in range(int(rng.integers(3, 6))):
        lean = np.array([0.0, 1.0, 0.0]) if i == 0 else Rotation.random(random_state=rng).apply([0.0, 1.0, 0.0])
        end = at + lean * rng.uniform(0.12, 0.32)
        drum, _ = (
            Profile(0.0, -1.2 * r).to(1.15 * r, -1.2 * r, 0.004).to(1.15 * r, 1.2 * r, 0.004).to(0, 1.2 * r).build(3)
        )
        axis = Rotation.random(random_state=rng).as_matrix()
        parts += [_rod(at, end, r, skin), lathe(drum, joint, segments=24).turned(axis).moved(*end)]
        at, r = end, 0.88 * r
    for side in (-1.0, 1.0):
        finger = slab((0.02, rng.uniform(0.06, 0.12), 0.03), 0.003, 0.002, (joint,) * 3)
        parts.append(finger.moved(x=at[0] + side * rng.uniform(0.015, 0.05), y=at[1] + r, z=at[2]))
    return assemble(name, "background", parts, Symmetry())


def _rod(start, end, radius: float, material: Material) -> Part:
    """A round rod from ``start`` to ``end``, (x, y, z) metres."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    length = float(np.linalg.norm(end - start))
    straight = sweep(np.array([[0.0, y, 0.0] for y in np.linspace(0, length, 3)]), radius, radius, material)
    turn, _ = Rotation.align_vectors([(end - start) / length], [[0.0, 1.0, 0.0]])
    return straight.turned(turn.as_matrix()).moved(*start)
