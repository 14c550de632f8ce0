"""Cartons, tubes, remote controls, shoes and cutlery: the shapes that no lathe makes.

Frames: a box stands with y its longest and z its shortest side; a tube stands on its cap, wide along x; a remote, a
shoe and cutlery lie along x, with buttons up, the toe and the working end towards +x.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.loft import capped, cuboid, extrude, lathe, loft, outline_circle, slab, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile
from mkpose_ros.types import Symmetry

__all__ = ["box", "cutlery", "remote", "shoe", "tube"]


def box(rng: np.random.Generator, name: str) -> Shape:
    """A carton with printed faces; its three sides differ by 8 % at least, so that its axes are defined."""
    longest = float(rng.uniform(0.06, 0.3))
    middle = longest * float(rng.uniform(0.35, 0.92))
    size = np.array([middle, longest, middle * float(rng.uniform(0.2, 0.92))])
    atlas = np.empty((192, 288, 3), dtype=np.uint8)
    ground = textures.colour(rng, rng.choice(["any", "vivid", "pale"]))
    main = textures.label(rng, 128, 128, ground)
    for column, row in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)):
        plain = rng.random() < 0.35
        other = np.full((8, 8, 3), np.array(ground) * 255) if plain else textures.label(rng, 96, 96, ground)
        textures.paint_tile(atlas, column, row, main if column == 2 and rng.random() < 0.9 else other.astype(np.uint8))
    if rng.random() < 0.1:
        atlas[:] = np.array(textures.colour(rng, "pale")) * np.array([0.8, 0.65, 0.45]) * 255  # plain cardboard
    material = m.textured(atlas, rng.uniform(0.25, 0.9))
    return assemble(name, "box", [cuboid(size, rng.uniform(0.0005, 0.0025), material)], Symmetry(orders=(2, 2, 2)))


def tube(rng: np.random.Generator, name: str) -> Shape:
    """A squeezable tube on its cap: round below, flat and wide at the crimp on top."""
    r, h = float(rng.uniform(0.011, 0.028)), float(rng.uniform(0.07, 0.18))
    cap_r, cap_h = r * rng.uniform(0.45, 1.02), rng.uniform(0.01, 0.032)
    full, crimp = rng.uniform(0.5, 1.3), rng.uniform(0.004, 0.014)
    t = np.linspace(0.0, 1.0, 18)
    flat = np.clip(t, 0.0, 1.0) ** full
    wide, thick = r * (1.0 + 0.52 * flat), r * (1.0 - flat) + 0.0009
    y = cap_h + 0.006 + t * (h - crimp)
    wide, thick = np.append(wide, wide[-1]), np.append(thick, thick[-1])
    y = np.append(y, y[-1] + crimp)
    y = np.concatenate([[cap_h - 0.001, cap_h + 0.002], y])  # the shoulder
    scale = np.stack([np.concatenate([[0.4 * r, 0.9 * r], wide]), np.concatenate([[0.4 * r, 0.9 * r], thick])], -1)
    paint = m.textured(textures.label(rng, 160, 256), rng.uniform(0.2, 0.6))
    bare = m.plastic(rng, "pale")
    bands = np.array([0, 0, 0, *[1] * 17, *[0] * 2])
    body = extrude(outline_circle(40), y, scale, (bare, paint), bands)
    cap, _ = Profile().to(cap_r * rng.uniform(0.85, 1.0), 0.0, 0.001).to(cap_r, cap_h, 0.001).to(0.0, cap_h).build(3)
    ribs = 1.0 - 0.03 * (np.arange(40) % 2) if rng.random() < 0.5 else None
    return assemble(name, "tube", [body, lathe(cap, m.plastic(rng), section=ribs)], Symmetry(orders=(1, 2, 1)))


def remote(rng: np.random.Generator, name: str) -> Shape:
    """A remote control: a long bar with rows of buttons and a round pad on its upper face."""
    size = np.array([rng.uniform(0.11, 0.24), rng.uniform(0.011, 0.028), rng.uniform(0.034, 0.06)])
    dark = rng.random() < 0.75
    shell = m.plastic(rng, "dark" if dark else "pale")
    key = m.plastic(rng, "grey" if rng.random() < 0.7 else "any")
    accent = m.plastic(rng, "vivid")
    face = remote_face(rng, shell, dark)
    body = slab(size, size[2] * rng.uniform(0.05, 0.48), size[1] * rng.uniform(0.1, 0.45), (shell, shell, face), 7)
    pitch_x, n_z = float(rng.uniform(0.011, 0.016)), int(rng.integers(2, 5))
    pad_x = size[0] * rng.uniform(-0.1, 0.3)
    xs = np.arange(-0.5 * size[0] + 0.014, 0.5 * size[0] - 0.01, pitch_x)
    zs = np.linspace(-1, 1, n_z) * (0.5 * size[2] - 0.011)
    pad_r = 0.33 * size[2]
    spots = [(x, z) for x in xs for z in zs if abs(x - pad_x) > pad_r + 0.006 and rng.random() < 0.85]
    button = button_part(rng, 0.34 * min(pitch_x, 0.85 * size[2] / n_z), size[1])
    parts = [body]
    for spots_of, material in ((spots[:-1], key), (spots[-1:], accent)):
        if spots_of:
            parts.append(repeated(replace(button, materials=(material,)), spots_of))
    ring, _ = Profile(0, size[1] - 0.002).to(pad_r, size[1] - 0.002).to(pad_r, size[1] + 0.0012, 0.0008).build(3)
    ring = np.concatenate(
        [ring, [[0.45 * pad_r, size[1] + 0.0012], [0.4 * pad_r, size[1] + 0.0004], [0, size[1] + 4e-4]]]
    )
    parts.append(lathe(ring, key, segments=24).moved(x=pad_x))
    return assemble(name, "remote", parts, Symmetry())


def remote_face(rng: np.random.Generator, shell: Material, dark: bool) -> Material:
    image = np.empty((64, 256, 3), dtype=np.uint8)
    image[:] = np.array(shell.albedo) * 255
    if rng.random() < 0.5:
        edge = int(rng.integers(150, 240))
        image[:, edge:] = np.array(textures.colour(rng, "dark" if dark else "grey")) * 255
    return m.textured(image, shell.roughness)


def button_part(rng: np.random.Generator, half: float, y: float) -> Part:
    rows = np.array([[0.0, y - 0.001], [1.0, y - 0.001], [1.0, y + 0.0008], [0.85, y + 0.0014], [0.0, y + 0.0014]])
    rows[:, 0] *= half
    power = rng.choice([2.0, 4.0, 8.0])
    outline = np.linalg.norm(outline_circle(12, power), axis=1)
    return lathe(rows, Material((0.5, 0.5, 0.5), 0.5), section=outline)


def repeated(part: Part, spots: list[tuple[float, float]]) -> Part:
    """Copies of a part at (x, z) spots."""
    offsets = np.array([[x, 0.0, z] for x, z in spots])
    n, v = len(spots), len(part.vertices)
    return replace(
        part,
        vertices=(part.vertices[None] + offsets[:, None]).reshape(-1, 3),
        normals=np.tile(part.normals, (n, 1)),
        uv=np.tile(part.uv, (n, 1)),
        faces=(part.faces[None] + v * np.arange(n)[:, None, None]).reshape(-1, 3),
        face_materials=np.tile(part.face_materials, n),
    )


def shoe(rng: np.random.Generator, name: str) -> Shape:
    """A low shoe, left or right: sole, upper with an open collar, laces or not; toe towards +x."""
    length = float(rng.uniform(0.21, 0.32))
    width = length * float(rng.uniform(0.32, 0.4))
    sole_h, collar_h = float(rng.uniform(0.014, 0.04)), float(rng.uniform(0.07, 0.125))
    foot = footprint(length, width, rng.uniform(0.75, 0.95), rng.uniform(0.02, 0.1) * (1 if rng.random() < 0.5 else -1))
    skin = m.rubber(rng, textures.colour(rng)) if rng.random() < 0.6 else m.plastic(rng)
    accent, inside = m.plastic(rng, "any"), m.rubber(rng)
    heel = rng.uniform(0.0, 0.02)
    sole_scale = np.array([0.97, 1.0, 1.02, 0.97])
    sole = extrude(foot, np.array([0.0, 0.003, sole_h - 0.003, sole_h]), sole_scale, m.plastic(rng))
    lift = np.clip(-sole.vertices[:, 0] / (0.5 * length), 0, 1) * heel * (sole.vertices[:, 1] > 0.5 * sole_h)
    sole = replace(sole, vertices=sole.vertices + lift[:, None] * np.array([0.0, 1.0, 0.0]))
    upper, vamp = _upper(rng, foot, length, sole_h, collar_h, heel, (skin, accent, inside))
    parts = [sole, upper]
    if rng.random() < 0.65:
        lace = m.plastic(rng, rng.choice(["pale", "dark", "vivid"]))
        for t in np.linspace(0.12, 0.88, int(rng.integers(4, 7))):
            x, y = vamp[0] + t * (vamp[1] - vamp[0])
            half = 0.15 * width * (1.1 - 0.2 * t)
            z = np.linspace(-half, half, 7)
            path = np.stack([z, y + 0.0035 - 0.006 * (z / half) ** 2, np.zeros(7)], -1)
            bar = sweep(path, np.array(0.0028), np.array(0.0032), lace)
            parts.append(bar.turned(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])).moved(x=x))
    return assemble(name, "shoe", parts, Symmetry())


def footprint(length: float, width: float, heel: float, bend: float, n: int = 44) -> np.ndarray:
    """A sole's outline (n, 2) in x-z: a broad ball, a narrower heel, bent to one side."""
    angle = 2 * np.pi * np.arange(n) / n
    x, z = np.cos(angle), np.sin(angle)
    along = 0.5 * (x + 1.0)
    waist = heel + (1.0 - heel) * np.clip(1.6 * along, 0, 1) - 0.14 * np.exp(-(((along - 0.42) / 0.16) ** 2))
    side = np.sign(z) * np.abs(z) ** 0.75
    return np.stack([0.5 * length * x, 0.5 * width * side * waist + bend * width * (x**2 - 0.4)], axis=-1)


def _upper(
    rng: np.random.Generator,
    foot: np.ndarray,
    length: float,
    sole_h: float,
    collar_h: float,
    heel: float,
    materials: tuple[Material, ...],
) -> tuple[Part, tuple[np.ndarray, np.ndarray]]:
    """The upper, up to its collar and down inside; and the run of its vamp, two points (x, y)."""
    n = len(foot)
    angle = 2 * np.pi * np.arange(n) / n
    back, front = -0.44 * length, rng.uniform(-0.02, 0.12) * length
    half = 0.5 * np.ptp(foot[:, 1]) * rng.uniform(0.48, 0.62)
    collar = np.stack([0.5 * (back + front) + 0.5 * (front - back) * np.cos(angle), half * np.sin(angle)], -1)
    rear = np.clip((front - collar[:, 0]) / (front - back), 0, 1)
    rim_y = collar_h * (1.0 - rng.uniform(0.05, 0.25) * np.sin(np.pi * rear)) * (1.0 - 0.08 * (1 - rear))
    rise, creep = rng.uniform(1.7, 2.4), rng.uniform(1.6, 2.6)
    rings, bands = [], []
    for t in np.linspace(0.0, 1.0, 12):
        flat = foot * 0.985 + (collar - foot * 0.985) * t**creep
        low = sole_h - 0.004 + heel * np.clip(-flat[:, 0] / (0.5 * length), 0, 1)
        y = low + (rim_y - low) * (1.0 - (1.0 - t) ** rise)
        rings.append(np.stack([flat[:, 0], y, flat[:, 1]], -1))
        bands.append(1 if t < rng.uniform(0.0, 0.5) else 0)
    wall = 0.93
    for t in np.linspace(0.0, 1.0, 6):
        flat = collar * wall + (foot * 0.82 - collar * wall) * t**2.2 * 0.85
        flat[:, 0] += (1.0 - wall) * 0.5 * (back + front)
        floor = sole_h + 0.004 + heel * np.clip(-flat[:, 0] / (0.5 * length), 0, 1)
        rings.append(np.stack([flat[:, 0], rim_y + (floor - rim_y) * t - 0.001, flat[:, 1]], -1))
        bands.append(2)
    rings = np.stack(rings)
    part = loft(capped(rings), materials, np.array([0, *bands]))
    toe_side = rings[:12, 0, :2]
    return part, (toe_side[6], toe_side[11])


def cutlery(rng: np.random.Generator, name: str) -> Shape:
    """A spoon, a fork or a table knife lying along x, its working end towards +x."""
    kind = rng.choice(["spoon", "fork", "knife"])
    length = float(rng.uniform(0.13, 0.235))
    steel = m.metal(rng, brushed=False) if rng.random() < 0.75 else m.plastic(rng)
    grip = steel if rng.random() < 0.75 else m.plastic(rng)
    t = np.linspace(0.0, 1.0, 26)
    end_half, neck_half = rng.uniform(0.006, 0.012), rng.uniform(0.002, 0.0042)
    handle = neck_half + (end_half - neck_half) * (1.0 - t / 0.6).clip(0.0) ** rng.uniform(0.7, 1.6)
    thick = np.full(26, rng.uniform(0.0009, 0.002)) * (1.0 + 0.8 * (t < 0.5))
    sag = np.zeros(26)
    curve = rng.uniform(0.004, 0.013) * np.sin(np.pi * np.clip((t - 0.3) / 0.7, 0, 1)) ** 2 * (kind != "knife")
    head = np.clip((t - 0.66) / 0.34, 0.0, 1.0)
    if kind == "spoon":
        half = float(rng.uniform(0.013, 0.024))
        handle = np.maximum(handle, half * np.sqrt(np.clip(1.0 - (2.0 * head - 1.0) ** 2, 0, 1)) * (head > 0))
        sag = rng.uniform(0.25, 0.5) * handle * np.sin(np.pi * head)
    elif kind == "fork":
        handle = np.where(
            head > 0, np.maximum(handle, rng.uniform(0.009, 0.014) * np.clip(4 * head, 0, 1) ** 0.5), handle
        )
    else:
        blade = rng.uniform(0.007, 0.012) * (1.0 - 0.5 * head**4)
        handle = handle + (blade - handle) * np.clip(5.0 * head, 0.0, 1.0)
        thick = np.where(head > 0, 0.0009, thick * 1.8)
    handle[0] *= 0.6
    handle[-1] = max(0.35 * handle[-2], 0.0012)
    stop = 19 if kind == "fork" else 26  # tines take over
    parts = [blade_part(length, t[:stop], handle[:stop], thick[:stop], sag[:stop], curve[:stop], (grip, steel))]
    if kind == "fork":
        parts += _tines(rng, length, t[18:], handle[18], curve[18:], thick[0], steel)
    return assemble(name, "cutlery", parts, Symmetry())


def blade_part(
    length: float,
    t: np.ndarray,
    half: np.ndarray,
    thick: np.ndarray,
    sag: np.ndarray,
    curve: np.ndarray,
    materials: tuple[Material, ...],
) -> Part:
    """Flat rings across x: ``half`` wide, ``thick``, hollowed by ``sag`` in the middle, bent by ``curve`` down."""
    outline = outline_circle(24, 2.4)
    z = half[:, None] * outline[None, :, 0]
    hollow = -sag[:, None] * (1.0 - (outline[None, :, 0]) ** 2)
    y = thick[:, None] * outline[None, :, 1] + hollow - curve[:, None]
    x = np.broadcast_to(length * t[:, None], z.shape)
    rings = np.stack([x, y, z], axis=-1)
    bands = np.concatenate([[0], (t[:-1] > 0.45).astype(int), [1]])
    return loft(capped(rings), materials, bands)


def _tines(
    rng: np.random.Generator,
    length: float,
    t: np.ndarray,
    half: float,
    curve: np.ndarray,
    thick: float,
    material: Material,
) -> list[Part]:
    """Three or four prongs side by side, from where the blade ends."""
    count = int(rng.integers(3, 5))
    x = np.linspace(length * (t[0] - 0.012), length * t[-1], len(t))
    path = np.stack([x, -curve, np.zeros(len(t))], axis=-1)
    width = np.full(len(t), 0.55 * half / count * 1.1)
    width[-2:] *= (0.8, 0.4)
    tine = sweep(path, np.full(len(t), thick), width, material)
    return [tine.moved(z=z) for z in np.linspace(-1, 1, count) * half * (1.0 - 0.55 / count * 1.1)]
