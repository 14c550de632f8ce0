"""Distractors of a desk and a kitchen: what lies where people work and eat, and is of no category."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part
from mkpose_ros.synthesis.shapes.clutter import any_material
from mkpose_ros.synthesis.shapes.devices import Y_TO_Z
from mkpose_ros.synthesis.shapes.loft import (
    capped,
    cuboid,
    extrude,
    lathe,
    loft,
    outline_circle,
    outline_rounded,
    slab,
    sweep,
)
from mkpose_ros.synthesis.shapes.profiles import Profile, fillet_path

__all__ = ["EVERYDAY"]

_CUBE = (
    (0.9, 0.9, 0.88),
    (0.75, 0.08, 0.08),
    (0.05, 0.45, 0.12),
    (0.95, 0.8, 0.1),
    (0.08, 0.2, 0.65),
    (0.95, 0.4, 0.05),
)


def _about(axis: str, angle: float) -> np.ndarray:
    return Rotation.from_euler(axis, angle).as_matrix()


def _stapler(rng: np.random.Generator) -> list[Part]:
    """A base plate, a magazine and a rounded arm, hinged behind and open by some degrees."""
    length, w = rng.uniform(0.09, 0.17), rng.uniform(0.02, 0.038)
    case, steel = m.plastic(rng, rng.choice(["dark", "vivid", "grey"])), m.metal(rng)
    base = slab((length, 0.006, w), 0.4 * w, 0.002, (case,) * 3)
    magazine = slab((0.9 * length, 0.011, 0.6 * w), 0.002, 0.001, (steel,) * 3).moved(0.04 * length, 0.002)
    x = np.linspace(-0.5, 0.5, 14)
    crown = 0.009 * (1.0 - 0.6 * np.clip(2 * x, 0, 1) ** rng.uniform(1.5, 4.0)) * (1.0 - np.abs(2 * x) ** 9 * 0.6)
    path = np.stack([length * x, 0.014 + crown, 0 * x], -1)
    arm = sweep(path, crown + 0.002, 0.5 * w * (1.0 - 0.35 * np.abs(2 * x) ** 6), case, rng.uniform(2.5, 6.0))
    hinge = np.array([-0.45 * length, 0.008, 0.0])
    open_ = _about("z", rng.uniform(0.03, 0.25))
    upper = [part.moved(*-hinge).turned(open_).moved(*hinge) for part in (magazine, arm)]
    return [base, *upper, cuboid((0.1 * length, 0.026, 0.9 * w), 0.002, case).moved(-0.43 * length, 0.012)]


def _scissors(rng: np.random.Generator) -> list[Part]:
    """Two blades crossed at a screw, with a loop each."""
    length, spread = rng.uniform(0.06, 0.12), rng.uniform(0.03, 0.5)
    steel, grip = m.metal(rng), m.plastic(rng, rng.choice(["vivid", "dark", "any"], p=[0.6, 0.3, 0.1]))
    t, turn = np.linspace(0.0, 1.0, 10), np.linspace(0.0, 2 * np.pi, 26)
    wide, tall, tube = rng.uniform(0.012, 0.02), rng.uniform(0.018, 0.032), rng.uniform(0.0035, 0.006)
    parts = [lathe(np.array([[0.0, 0.0], [0.004, 0.0], [0.004, 0.008], [0.0, 0.008]]), steel, segments=16)]
    for side in (-1.0, 1.0):
        blade = np.stack([length * t, side * 0.002 * (1 - t), 0 * t], -1)
        blade = sweep(blade, 0.0085 * (1.0 - t**3) + 0.0004, np.full(10, 0.0013), steel, 4.0)
        shank = np.stack([-0.35 * length * t, side * -0.012 * t**2, 0 * t], -1)
        shank = sweep(shank, np.full(10, 0.006), np.full(10, 0.003), grip if rng.random() < 0.5 else steel, 3.0)
        loop = np.stack(
            [-0.35 * length - tall * (1 - np.cos(turn)), side * (wide * np.sin(turn) - 0.016), 0 * turn], -1
        )
        ring = sweep(loop, np.full(26, tube), np.full(26, 0.9 * tube), grip)
        lift = 0.004 + 0.0013 * side
        parts += [p.turned(_about("z", side * spread / 2)).turned(Y_TO_Z).moved(y=lift) for p in (blade, shank, ring)]
    return parts


def _puzzle_cube(rng: np.random.Generator) -> list[Part]:
    """A cube of 2 to 4 coloured fields a side, solved or mixed; perhaps one layer is turned."""
    n, side = int(rng.choice([2, 3, 3, 3, 4])), rng.uniform(0.045, 0.07)
    frame = (0.02, 0.02, 0.02) if rng.random() < 0.7 else (0.9, 0.9, 0.9)
    tones, mixed, rough = rng.permutation(np.array(_CUBE)), rng.random() < 0.6, float(rng.uniform(0.15, 0.5))
    layers = [n - 1, 1] if rng.random() < 0.25 else [n]
    pixels = 12 * n
    field = (np.arange(pixels) % 12 > 0) & (np.arange(pixels) % 12 < 11)
    tiles = []
    for face in range(6):
        drawn = rng.integers(0, 6, (n, n)) if mixed else np.full((n, n), face)
        tile = np.repeat(np.repeat(tones[drawn], 12, 0), 12, 1)
        tiles.append(np.where((field[:, None] & field)[..., None], tile, np.array(frame)))
    rows = [np.concatenate(tiles[:3], 1), np.concatenate(tiles[3:], 1)]
    skin = m.textured((255 * np.concatenate(rows)).astype(np.uint8), rough)
    parts, y = [], 0.0
    for index, count in enumerate(layers):
        part = cuboid((side, side * count / n, side), 0.001, skin).moved(y=y + 0.5 * side * count / n)
        parts.append(part.turned(_about("y", index * rng.uniform(0.1, 0.8))))
        y += side * count / n
    return parts


def _lidded_jar(rng: np.random.Generator) -> list[Part]:
    """A sugar bowl, canister or casserole: a body, a lid with a knob, perhaps two ears."""
    r, h, belly = rng.uniform(0.035, 0.08), rng.uniform(0.05, 0.13), rng.uniform(0.0, 0.16)
    skin = m.one_of(rng, (m.glazed, m.decorated, m.glazed, m.painted, m.metal, m.printed, m.plain))(rng)
    lid = skin if rng.random() < 0.7 else any_material(rng)
    body = Profile().to(r * rng.uniform(0.7, 1.0), 0.0, 0.004).curve(r, h, belly).to(0.0, h, 0.0)
    rise, knob = rng.uniform(0.1, 0.5) * r, rng.uniform(0.1, 0.22) * r
    cover = Profile(0.0, h - 0.002).to(1.04 * r, h - 0.002, 0.001).to(1.04 * r, h + 0.004, 0.002)
    cover.curve(0.5 * knob, h + rise, 0.12).curve(0.5 * knob, h + rise + 1.7 * knob, 0.5).to(0.0, h + rise + 1.7 * knob)
    parts = [lathe(body.build(3)[0], skin), lathe(cover.build(3)[0], lid)]
    if rng.random() < 0.4:
        turn, out = np.linspace(0.0, np.pi, 12), rng.uniform(0.15, 0.35) * r
        for side in (-1.0, 1.0):
            ear = np.stack([side * (0.97 * r + out * np.sin(turn)), 0.65 * h + 0.2 * h * np.cos(turn), 0 * turn], -1)
            parts.append(sweep(ear, np.full(12, 0.004), np.full(12, 0.006), skin))
    return parts


def _loaf(rng: np.random.Generator) -> list[Part]:
    """Bread, a slice, cheese or cake: a rounded outline, as long as it is cut."""
    w, h, length = rng.uniform(0.05, 0.12), rng.uniform(0.05, 0.12), rng.choice([0.012, 0.025, 0.08, 0.16])
    length *= rng.uniform(0.7, 1.4)
    turn = 2 * np.pi * np.arange(40) / 40
    waist = 1.0 - rng.uniform(0.0, 0.16) * np.exp(-(((np.sin(turn) + 0.1) / 0.25) ** 2))
    x, y = outline_circle(40, 4.0).T
    outline = np.stack([0.5 * w * x * waist, 0.5 * h * np.where(y > 0, y, 0.9 * y)], -1)
    tone = np.array([0.72, 0.5, 0.26]) * rng.uniform(0.6, 1.3) + rng.uniform(-0.06, 0.06, 3)
    crust = m.textured(textures.leather(rng, tuple(np.clip(tone, 0, 1))), 0.9)
    ends = np.array([0.92, 1.0, 1.0, 0.92])
    t = min(0.006, 0.2 * length)
    return [extrude(outline, np.array([0.0, t, length - t, length]), ends, crust).turned(Y_TO_Z).moved(y=0.5 * h)]


def _ball(rng: np.random.Generator) -> list[Part]:
    """A ball, egg, potato or aubergine: round about y, longer than wide or not, of one colour or striped."""
    r, long, blunt = rng.uniform(0.018, 0.07), rng.choice([1.0, rng.uniform(1.0, 2.4)]), rng.uniform(-0.35, 0.35)
    y = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 25))
    radius = np.sqrt(np.clip(1 - y**2, 0, 1)) * (1 + blunt * (long > 1) * y)
    bands = (np.abs(np.arange(24) - 11.5) < rng.integers(1, 9)).astype(int)
    first = any_material(rng)
    second = any_material(rng) if rng.random() < 0.4 else first
    bent = lathe(np.stack([r * radius, long * r * y], -1), (first, second), bands)
    return [bent.turned(_about("z", rng.uniform(0, np.pi)))]


def _spectacles(rng: np.random.Generator) -> list[Part]:
    """Two rims, a bridge and two temples, open or folded."""
    rim, r = m.plastic(rng, "dark") if rng.random() < 0.6 else m.metal(rng), rng.uniform(0.02, 0.027)
    tube, turn = rng.uniform(0.0012, 0.003), np.linspace(0.0, 2 * np.pi, 26)
    ring = np.stack([r * np.cos(turn), r * rng.uniform(0.6, 1.0) * np.sin(turn), 0 * turn], -1)
    parts = [sweep(ring, np.full(26, tube), np.full(26, tube), rim).moved(x=s * (r + 0.008)) for s in (-1, 1)]
    parts.append(cuboid((0.018, 0.003, 0.003), 0.0005, rim).moved(y=0.3 * r))
    for s in (-1.0, 1.0):
        fold = _about("y", s * rng.choice([0.0, 1.4]))
        temple = cuboid((0.003, 0.004, 0.13), 0.0005, rim).moved(z=-0.065).turned(fold)
        parts.append(temple.moved(s * (2 * r + 0.01), 0.3 * r, -0.002 * (s + 1)))
    return parts


def _notebook(rng: np.random.Generator) -> list[Part]:
    """A magazine, a ring book or a pile of sheets, open at two leaves of one size or closed."""
    w, depth = rng.uniform(0.1, 0.22), rng.uniform(0.14, 0.3)
    parts = []
    for side in (-1.0, 1.0) if rng.random() < 0.7 else (1.0,):
        paper = m.printed(rng, None if rng.random() < 0.4 else (0.94, 0.93, 0.9), 160, 128)
        under = Material((0.9, 0.89, 0.86), 0.9)
        leaf = slab((w, rng.uniform(0.002, 0.014), depth), 0.001, 0.0004, (under, under, paper))
        parts.append(leaf.moved(side * (0.5 * w + 0.002)).turned(_about("z", side * rng.uniform(0.0, 0.1))))
    if rng.random() < 0.4:
        wire, turn = m.metal(rng), np.linspace(0, 2 * np.pi, 14)
        ring = np.stack([0.006 * np.cos(turn), 0.006 + 0.006 * np.sin(turn), 0 * turn], -1)
        ring = sweep(ring, np.full(14, 0.0007), np.full(14, 0.0007), wire)
        parts += [ring.moved(z=z) for z in np.linspace(-0.47, 0.47, 15) * depth]
    return parts


def _pouch(rng: np.random.Generator) -> list[Part]:
    """A wallet, a glasses case, a pencil case, a sponge or a bar of soap: soft edges, one material."""
    size = np.array([rng.uniform(0.08, 0.2), rng.uniform(0.012, 0.05), rng.uniform(0.045, 0.1)])
    skin = m.rubber(rng, textures.colour(rng)) if rng.random() < 0.6 else any_material(rng)
    t = np.linspace(0.0, 1.0, 11)
    outline = outline_rounded(size[0], size[2], size[2] * rng.uniform(0.08, 0.48), 6)
    bulge = 1.0 - rng.uniform(0.05, 0.3) * np.abs(2 * t - 1) ** rng.uniform(2.0, 6.0)
    parts = [extrude(outline, size[1] * t, bulge, skin)]
    if rng.random() < 0.3:
        parts.append(slab((0.03, 0.004, 0.02), 0.004, 0.001, (m.metal(rng),) * 3).moved(0.0, size[1] - 0.002))
    return parts


def _tape_dispenser(rng: np.random.Generator) -> list[Part]:
    """A heavy foot with a roll of tape."""
    length, w, r = rng.uniform(0.1, 0.16), rng.uniform(0.03, 0.06), rng.uniform(0.024, 0.036)
    case = m.plastic(rng)
    corners = (
        np.array([[-0.5, 0.0], [0.5, 0.0], [0.5, 0.3], [0.3, 0.25], [0.1, 0.1], [-0.3, 0.1], [-0.5, 0.4]]) * length
    )
    outline, _ = fillet_path(corners, [0.0, 0.004, 0.004, 0.01, 0.02, 0.02, 0.0], steps=4)
    foot = np.concatenate([[np.append(p, z) for p in outline] for z in (-0.5 * w, 0.5 * w)]).reshape(2, -1, 3)
    roll = np.array([[0.4 * r, -0.3 * w], [r, -0.3 * w], [r, 0.3 * w], [0.4 * r, 0.3 * w], [0.4 * r, -0.3 * w]])
    return [
        loft(capped(foot), case),
        lathe(roll, any_material(rng)).turned(Y_TO_Z).moved(y=0.45 * length),
    ]


def _candle(rng: np.random.Generator) -> list[Part]:
    """A candle, a lamp bulb or a chess piece: a profile of random bellies, closed above; too short for a bottle."""
    h, steps = rng.uniform(0.04, 0.12), int(rng.integers(2, 6))
    profile, widest = Profile(), rng.uniform(0.012, 0.045)
    for y in np.sort(rng.uniform(0.02, 0.95, steps)) * h:
        profile.curve(widest * rng.uniform(0.3, 1.0), y, rng.uniform(-0.1, 0.25))
    profile.to(widest * rng.uniform(0.1, 0.9), h, 0.002).to(0.0, h)
    return [lathe(profile.build(3)[0], any_material(rng))]


EVERYDAY = (
    *(_stapler, _scissors, _puzzle_cube, _lidded_jar, _loaf, _ball),
    *(_spectacles, _notebook, _pouch, _tape_dispenser, _candle),
)
