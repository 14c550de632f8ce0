"""Distractors beyond those of ``clutter``: what could pass for a camera, a laptop, a box or cutlery, and is none."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.clutter import any_material
from mkpose_ros.synthesis.shapes.devices import FACING_FRONT, READ_FROM_FRONT, Y_TO_Z
from mkpose_ros.synthesis.shapes.everyday_clutter import EVERYDAY
from mkpose_ros.synthesis.shapes.loft import capped, cuboid, extrude, lathe, loft, outline_rounded, slab, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile
from mkpose_ros.types import Symmetry

__all__ = ["distractor_variant"]

_Y_TO_X = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def distractor_variant(rng: np.random.Generator, name: str) -> Shape:
    """A drill, clamp, monitor, frame, chair back, open book, keyboard, gripper, lamp, pot, toy, hand tool or mouse; or
    what lies on desks and in kitchens (``everyday_clutter``)."""
    makers = (
        *(_drill, _clamp, _monitor, _frame, _chair_back, _open_book, _keyboard, _gripper, _lamp, _pot),
        *(_toy_car, _blocks, _screwdriver, _hammer, _wrench, _pliers, _mouse, _coil),
    )
    makers = EVERYDAY if rng.random() < 0.5 else makers
    return assemble(name, "distractor", m.one_of(rng, makers)(rng), Symmetry())


def _plain(rng: np.random.Generator) -> Material:
    return m.plastic(rng, rng.choice(["dark", "grey", "vivid", "pale", "any"], p=[0.3, 0.25, 0.2, 0.1, 0.15]))


def _post(r: float, height: float, material: Material, edge: float = 0.001) -> Part:
    """A round post from y = 0 up."""
    profile = Profile().to(r, 0.0, edge).to(r, height, edge).to(0.0, height)
    return lathe(profile.build(3)[0], material, segments=24)


def _block(rng: np.random.Generator, size: tuple, material: Material) -> Part:
    """A slab of ``size`` on y = 0 with edges rounded at random."""
    low = min(size)
    return slab(size, low * rng.uniform(0.05, 0.4), low * rng.uniform(0.03, 0.3), (material,) * 3)


def _drill(rng: np.random.Generator) -> list[Part]:
    """A cordless drill: a motor with a chuck along x, a slanted grip, a battery."""
    case, dark = m.plastic(rng, rng.choice(["vivid", "dark", "any"])), m.rubber(rng)
    r, length, drop = rng.uniform(0.024, 0.036), rng.uniform(0.1, 0.15), rng.uniform(0.09, 0.13)
    motor = Profile().to(0.8 * r, 0.0, 0.006).to(r, 0.3 * length, 0.01).to(r, 0.75 * length, 0.004, 0)
    motor.to(0.7 * r, length, 0.002, 1).to(0.55 * r, length + 0.012, 0.0, 1)
    motor.to(0.55 * r, length + 0.03, 0.002, 1).to(0.2 * r, length + 0.045, 0.001, 1).to(0.0, length + 0.045, 0.0, 1)
    rows, bands = motor.build(3)
    lean = rng.uniform(0.0, 0.25) * drop
    path = np.array([[0.35 * length - lean * t, -drop * t, 0.0] for t in np.linspace(0, 1, 9)])
    grip = sweep(path, np.full(9, rng.uniform(0.017, 0.023)), np.full(9, rng.uniform(0.013, 0.018)), case, 2.6)
    size = (rng.uniform(0.07, 0.12), rng.uniform(0.02, 0.055), rng.uniform(0.045, 0.075))
    battery = _block(rng, size, dark).moved(path[-1, 0] + 0.01, -drop - 0.6 * size[1])
    return [lathe(rows, (case, dark), bands, segments=28).turned(_Y_TO_X), grip, battery]


def _clamp(rng: np.random.Generator) -> list[Part]:
    """A bar clamp: a flat bar with a fixed and a sliding jaw, a spindle and its handle."""
    bar, jaw = m.metal(rng), m.painted(rng)
    length, reach = rng.uniform(0.2, 0.38), rng.uniform(0.06, 0.11)
    tall = (0.02, reach, rng.uniform(0.012, 0.02))
    at = rng.uniform(0.3, 0.8) * length
    spindle = _post(0.005, rng.uniform(0.08, 0.13), bar).turned(_Y_TO_X).moved(at - 0.06, 0.88 * reach)
    handle = _post(0.013, rng.uniform(0.06, 0.1), m.wooden(rng), 0.004).turned(_Y_TO_X).moved(at + 0.01, 0.88 * reach)
    jaws = [_block(rng, tall, jaw).moved(x) for x in (0.01, at)]
    return [cuboid((length, 0.02, 0.006), 0.0006, bar).moved(0.5 * length), *jaws, spindle, handle]


def _monitor(rng: np.random.Generator) -> list[Part]:
    """A screen on a post and a foot, or on two feet."""
    w, h = rng.uniform(0.22, 0.4), rng.uniform(0.16, 0.26)
    case, up = m.plastic(rng, rng.choice(["dark", "grey", "pale"])), rng.uniform(0.03, 0.1)
    view = m.textured(textures.screen(rng, case.albedo), rng.uniform(0.05, 0.5))
    thick = rng.uniform(0.01, 0.04)
    panel = slab((w, thick, h), 0.006, 0.003, (case, case, view)).turned(FACING_FRONT)
    panel = panel.turned(Rotation.from_rotvec([0, 0, rng.uniform(-0.05, 0.25)]).as_matrix()).moved(0.0, up + 0.5 * h)
    post = _block(rng, (0.02, up + 0.5 * h, rng.uniform(0.03, 0.08)), case).moved(-0.012)
    foot = slab((rng.uniform(0.1, 0.18), 0.01, rng.uniform(0.12, 0.22)), 0.03, 0.002, (case, case, case))
    return [panel, post, foot]


def _frame(rng: np.random.Generator) -> list[Part]:
    """A picture in a frame, leaning back on its stand."""
    w, h, edge = rng.uniform(0.1, 0.28), rng.uniform(0.12, 0.35), rng.uniform(0.008, 0.03)
    wood = m.wooden(rng) if rng.random() < 0.5 else _plain(rng)
    picture = m.printed(rng, h=160, w=128) if rng.random() < 0.7 else m.textured(textures.pattern(rng), 0.2)
    back = slab((w - edge, 0.008, h - edge), 0.001, 0.0005, (wood, wood, picture)).turned(FACING_FRONT)
    bars = [cuboid((0.016, edge, w), 0.001, wood).moved(0.008, y) for y in (-0.5 * (h - edge), 0.5 * (h - edge))]
    bars += [
        cuboid((0.0157, h - edge, edge), 0.001, wood).moved(0.008, 0, z) for z in np.array([-0.5, 0.5]) * (w - edge)
    ]
    stand = cuboid((0.004, 0.6 * h, 0.04), 0.0005, wood)
    stand = stand.turned(Rotation.from_rotvec([0, 0, -0.4]).as_matrix()).moved(-0.055 * h / 0.25, -0.16 * h)
    return [part.turned(Rotation.from_rotvec([0, 0, 0.2]).as_matrix()) for part in (back, *bars, stand)]


def _chair_back(rng: np.random.Generator) -> list[Part]:
    """A rounded, curved rest on a post, as an office chair's."""
    w, h, thick = rng.uniform(0.25, 0.4), rng.uniform(0.22, 0.34), rng.uniform(0.015, 0.05)
    cloth = m.rubber(rng, textures.colour(rng, rng.choice(["dark", "grey", "any"])))
    rest = slab((w, thick, h), w * rng.uniform(0.08, 0.4), 0.4 * thick, (cloth,) * 3).turned(FACING_FRONT)
    post = _block(rng, (0.02, 0.2, rng.uniform(0.03, 0.08)), _plain(rng)).moved(-0.008, -0.5 * h - 0.05)
    return [rest, post]


def _open_book(rng: np.random.Generator) -> list[Part]:
    """Two arched halves with text."""
    w, depth, thick = rng.uniform(0.09, 0.16), rng.uniform(0.14, 0.24), rng.uniform(0.006, 0.025)
    paper = m.textured(textures.label(rng, 160, 128, (0.93, 0.91, 0.86)), 0.9)
    t = np.linspace(0.0, 1.0, 14)
    swell = thick * (0.25 + np.sin(np.pi * t**0.6) * 0.75 + 0.12 * (t == 0))
    section = np.concatenate([np.stack([w * t, swell], -1), [[w, 0.0], [0.0, 0.0]]])
    rows = [np.stack([section[:, 0], section[:, 1], np.full(len(section), z)], -1) for z in (-0.5 * depth, 0.5 * depth)]
    half = loft(capped(np.stack(rows)), paper, planar_uv=True)
    cover = m.plastic(rng)
    board = slab((2.04 * w, 0.003, 1.03 * depth), 0.002, 0.0005, (cover,) * 3).moved(y=-0.0025)
    return [half.moved(0.0005), half.turned(np.diag([-1.0, 1.0, -1.0])).moved(-0.0005), board]


def _keyboard(rng: np.random.Generator) -> list[Part]:
    """A keyboard on its own, keys printed or raised."""
    w, depth, thick = rng.uniform(0.26, 0.4), rng.uniform(0.1, 0.16), rng.uniform(0.008, 0.025)
    body = m.plastic(rng, rng.choice(["dark", "pale", "grey"]))
    deck = m.textured(textures.keyboard(rng, body.albedo)[:104], body.roughness)
    board = slab((w, thick, depth), 0.008, 0.002, (body, body, deck)).turned(READ_FROM_FRONT)
    if rng.random() < 0.5:
        return [board]
    rows, cols, key = 5, int(rng.integers(11, 16)), m.plastic(rng, rng.choice(["dark", "pale", "grey"]))
    pitch = np.array([0.86 * depth / rows, 0.94 * w / cols])
    cap = cuboid((0.8 * pitch[0], 0.006, 0.84 * pitch[1]), 0.001, key).moved(y=thick + 0.002)
    spots = [(i - 0.5 * (rows - 1), j - 0.5 * (cols - 1)) for i in range(rows) for j in range(cols)]
    return [board, *(cap.moved(pitch[0] * i, 0.0, pitch[1] * j) for i, j in spots)]


def _gripper(rng: np.random.Generator) -> list[Part]:
    """Two fingers below a body and a round flange."""
    case, finger = _plain(rng), m.metal(rng) if rng.random() < 0.5 else _plain(rng)
    w, gap = rng.uniform(0.08, 0.2), rng.uniform(0.01, 0.08)
    body = _block(rng, (rng.uniform(0.04, 0.08), rng.uniform(0.05, 0.12), w), case)
    tall = rng.uniform(0.04, 0.11)
    fingers = [
        _block(rng, (0.022, tall, 0.014), finger).moved(0, 0.004 - tall, z * (0.5 * gap + 0.008)) for z in (-1, 1)
    ]
    top = float(body.vertices[:, 1].max())
    flange = _post(rng.uniform(0.03, 0.05), rng.uniform(0.01, 0.06), m.metal(rng)).moved(y=top - 0.003)
    return [body, flange, *fingers]


def _lamp(rng: np.random.Generator) -> list[Part]:
    """A shade, open below, on a foot and a stem."""
    metal, r = m.painted(rng), rng.uniform(0.05, 0.11)
    stem, tall, narrow = rng.uniform(0.1, 0.22), rng.uniform(0.07, 0.15), rng.uniform(0.35, 1.0) * r
    foot = (
        Profile().to(0.7 * r, 0.0, 0.002).to(0.65 * r, 0.015, 0.006).to(0.006, 0.02, 0.004).to(0.006, stem + 0.4 * tall)
    )
    foot, _ = foot.to(0.0, stem + 0.4 * tall).build()
    shade = np.array([[0.0, tall], [narrow, tall], [r, 0.0], [r - 0.002, 0.0], [narrow - 0.002, tall - 0.002]])
    shade = np.concatenate([shade, [[0.0, tall - 0.002]]])
    return [lathe(foot, metal, segments=32), lathe(shade, any_material(rng)).moved(y=stem)]


def _pot(rng: np.random.Generator) -> list[Part]:
    """A plant pot filled with earth, perhaps with leaves."""
    r, h = rng.uniform(0.04, 0.09), rng.uniform(0.06, 0.15)
    clay = Material((0.7, 0.38, 0.25), 0.85) if rng.random() < 0.4 else m.glazed(rng)
    pot = (
        Profile().to(r * rng.uniform(0.6, 0.95), 0.0, 0.003).to(r, 0.8 * h, 0.002).to(1.07 * r, 0.8 * h + 0.001, 0.001)
    )
    pot.to(1.07 * r, h, 0.002).to(0.95 * r, h, 0.001).to(0.93 * r, 0.88 * h, 0.0).to(0.0, 0.9 * h, 0.0, 1)
    rows, bands = pot.build()
    parts = [lathe(rows, (clay, Material((0.17, 0.12, 0.08), 0.95)), bands)]
    green = Material((0.15, rng.uniform(0.3, 0.55), 0.12), 0.5)
    for yaw in rng.uniform(0, 2 * np.pi, int(rng.integers(0, 12))):
        t, out, up = np.linspace(0, 1, 9), rng.uniform(0.04, 0.11), rng.uniform(0.06, 0.16)
        path = np.stack([out * t**1.5, 0.88 * h + up * np.sin(1.9 * t), 0 * t], axis=-1)
        wide = rng.uniform(0.008, 0.02) * np.sin(np.pi * np.clip(t, 0.06, 0.97)) ** 0.7
        parts.append(sweep(path, np.full(9, 0.0012), wide, green).turned(Rotation.from_rotvec([0, yaw, 0]).as_matrix()))
    return parts


def _toy_car(rng: np.random.Generator) -> list[Part]:
    """A body with a cabin on four wheels."""
    length, paint = rng.uniform(0.06, 0.22), m.plastic(rng, "vivid")
    w, h = length * rng.uniform(0.38, 0.5), length * rng.uniform(0.12, 0.2)
    wheel = _post(length * rng.uniform(0.08, 0.12), 0.12 * length, m.plastic(rng, "dark")).turned(Y_TO_Z)
    hull = _block(rng, (length, h, w), paint)
    cabin_outline = outline_rounded(length * rng.uniform(0.35, 0.6), 0.86 * w, 0.15 * w)
    glass = m.plastic(rng, rng.choice(["dark", "pale"]))
    cabin = extrude(cabin_outline, np.array([0.0, 0.8, 1.0]) * h, np.array([1.0, 0.8, 0.72]), glass)
    spots = [(x * length, z * w - 0.06 * length) for x in (-0.3, 0.3) for z in (-0.47, 0.47)]
    return [hull, cabin.moved(-0.06 * length, 0.97 * h), *(wheel.moved(x, 0.1 * h, z) for x, z in spots)]


def _blocks(rng: np.random.Generator) -> list[Part]:
    """A pile of building blocks."""
    parts, y = [], 0.0
    for _ in range(int(rng.integers(1, 5))):
        size = tuple(rng.uniform(0.025, 0.09, 3))
        turn = Rotation.from_rotvec([0, rng.uniform(-0.5, 0.5), 0]).as_matrix()
        parts.append(_block(rng, size, any_material(rng)).turned(turn).moved(*(rng.uniform(-0.01, 0.01), y)))
        y += size[1] - 0.0005
    return parts


def _screwdriver(rng: np.random.Generator) -> list[Part]:
    r, grip, shaft = rng.uniform(0.009, 0.018), rng.uniform(0.07, 0.12), rng.uniform(0.05, 0.16)
    profile = Profile().to(0.7 * r, 0.0, 0.003).to(r, 0.2 * grip, 0.005).to(r, 0.7 * grip, 0.01)
    rows, _ = profile.to(0.6 * r, 0.88 * grip, 0.004).to(0.75 * r, grip, 0.001).to(0.0, grip).build()
    ribs = 1.0 - rng.uniform(0.02, 0.1) * (np.cos(6 * 2 * np.pi * np.arange(36) / 36) > 0)
    handle = lathe(rows, m.plastic(rng, rng.choice(["vivid", "dark"])), section=ribs)
    return [part.turned(_Y_TO_X) for part in (handle, _post(0.22 * r, grip + shaft, m.metal(rng), 0.0))]


def _hammer(rng: np.random.Generator) -> list[Part]:
    length, head = rng.uniform(0.2, 0.33), rng.uniform(0.07, 0.12)
    x, half = np.linspace(0, length, 12), np.full(12, rng.uniform(0.008, 0.012))
    half[:5] *= 1.4
    path = np.stack([x, 0 * x, 0 * x], axis=-1)
    grip = sweep(path, half, 1.3 * half, m.wooden(rng) if rng.random() < 0.5 else m.rubber(rng), 2.6)
    r = rng.uniform(0.011, 0.017)
    steel = Profile().to(r, 0.0, 0.002).to(r, 0.25 * head, 0.001).to(0.8 * r, 0.35 * head).to(r, 0.6 * head)
    rows, _ = steel.to(0.35 * r, head, 0.001).to(0.0, head).build()
    return [grip, lathe(rows, m.metal(rng)).moved(y=-0.5 * head).turned(Y_TO_Z).moved(length - 0.8 * r)]


def _wrench(rng: np.random.Generator) -> list[Part]:
    """A flat bar with an open jaw and a ring."""
    steel, length, r = m.metal(rng), rng.uniform(0.1, 0.26), rng.uniform(0.01, 0.02)
    bar = _block(rng, (length, 0.3 * r, 0.8 * r), steel)
    ring = np.array([[0.55 * r, 0.0], [r, 0.0], [r, 0.5 * r], [0.55 * r, 0.5 * r], [0.55 * r, 0.0]])
    jaws = [
        _block(rng, (1.9 * r, 0.42 * r, 0.5 * r), steel).moved(-0.5 * length - 0.6 * r, 0, z * 0.65 * r)
        for z in (-1, 1)
    ]
    return [bar, lathe(ring, steel).moved(0.5 * length + 0.7 * r, -0.05 * r), *jaws]


def _pliers(rng: np.random.Generator) -> list[Part]:
    """Two bowed grips, a joint and two jaws, lying flat."""
    length, spread = rng.uniform(0.09, 0.14), rng.uniform(0.012, 0.04)
    grip, steel, t = m.plastic(rng, rng.choice(["vivid", "dark"])), m.metal(rng), np.linspace(0, 1, 10)
    parts = [_post(0.011, 0.012, steel).moved(y=-0.006)]
    for side in (-1.0, 1.0):
        path = np.stack([-length * t, side * (0.004 + spread * np.sin(1.9 * t)), 0 * t], axis=-1)
        parts.append(sweep(path, np.full(10, 0.0055), np.full(10, 0.0045), grip).turned(Y_TO_Z))
        jaw = np.stack([0.45 * length * t, side * (0.0065 - 0.002 * t), 0 * t], axis=-1)
        parts.append(sweep(jaw, 0.006 * (1 - 0.7 * t), 0.005 * (1 - 0.4 * t), steel, 3.0).turned(Y_TO_Z))
    return parts


def _mouse(rng: np.random.Generator) -> list[Part]:
    length, case = rng.uniform(0.09, 0.125), m.plastic(rng, rng.choice(["dark", "pale", "grey"]))
    outline = outline_rounded(length, length * rng.uniform(0.5, 0.62), 0.24 * length, 8)
    t = np.linspace(0.0, 1.0, 9)
    shell = extrude(outline, rng.uniform(0.026, 0.042) * t, np.sqrt(1.0 - 0.96 * t**2.6), case)
    wheel = _post(0.009, 0.007, m.rubber(rng)).turned(Y_TO_Z)
    return [shell, wheel.moved(0.25 * length, float(shell.vertices[:, 1].max()) - 0.01, -0.0035)]


def _coil(rng: np.random.Generator) -> list[Part]:
    """A coil of cable or hose: a few rings, one on the other."""
    tube, r = rng.uniform(0.003, 0.009), rng.uniform(0.035, 0.12)
    turn, skin = np.linspace(0.0, 2 * np.pi, 13), m.plastic(rng)
    rings = []
    for i in range(int(rng.integers(2, 7))):
        profile = np.stack(
            [r * rng.uniform(0.94, 1.06) - tube * np.cos(turn), tube * (1.6 * i + np.sin(turn))], axis=-1
        )
        profile[-1] = profile[0]
        rings.append(
            lathe(profile, skin, segments=44).moved(rng.uniform(-0.004, 0.004), 0.0, rng.uniform(-0.004, 0.004))
        )
    return rings
