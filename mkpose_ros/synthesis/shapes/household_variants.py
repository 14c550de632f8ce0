"""Cutlery and remotes beyond the common ones of ``household``, in the same frames: to train on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble, concatenate
from mkpose_ros.synthesis.shapes.household import blade_part, button_part, remote_face, repeated
from mkpose_ros.synthesis.shapes.loft import capped, lathe, loft, outline_circle, outline_rounded, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile
from mkpose_ros.types import Symmetry

__all__ = ["cutlery_variant", "remote_variant"]

_CUTLERY = {"knife": 0.14, "steak knife": 0.1, "table knife": 0.26, "spoon": 0.18, "ladle": 0.08, "fork": 0.24}


def cutlery_variant(rng: np.random.Generator, name: str) -> Shape:
    """A kitchen, steak or one-piece table knife, a large, wooden or plastic spoon, a broad or slim fork."""
    kind = str(rng.choice(list(_CUTLERY), p=list(_CUTLERY.values())))
    if kind == "table knife":
        parts = [_table_knife(rng)]
    else:
        parts = _knife(rng, kind == "knife") if "knife" in kind else _spoon_or_fork(rng, kind)
    return assemble(name, "cutlery", parts, Symmetry())


def _steel(rng: np.random.Generator) -> Material:
    if rng.random() < 0.6:
        return m.metal(rng)
    return Material(textures.colour(rng, "grey"), float(rng.uniform(0.15, 0.6)), 1.0)


def _handle_material(rng: np.random.Generator) -> Material:
    draws = (m.wooden, m.rubber, lambda r: m.plastic(r, "dark"), m.plastic, _steel)
    return draws[int(rng.choice(5, p=[0.25, 0.1, 0.35, 0.15, 0.15]))](rng)


def _bar(x: np.ndarray, low: np.ndarray, high: np.ndarray, thick: np.ndarray, material: Material, power: float) -> Part:
    """A flat bar along x between z = ``low`` and ``high``, ``thick`` high; superellipse section."""
    c, s = outline_circle(20, power).T
    z = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * c
    y = 0.5 * thick[:, None] * s
    return loft(capped(np.stack([np.broadcast_to(x[:, None], z.shape), y, z], axis=-1)), material)


def _knife(rng: np.random.Generator, kitchen: bool) -> list[Part]:
    """A blade with one straight back and a belly, and a thick handle, lying on their side."""
    length = float(rng.uniform(0.2, 0.34) if kitchen else rng.uniform(0.17, 0.25))
    deep = float(rng.uniform(0.024, 0.05) if kitchen else rng.uniform(0.012, 0.022))
    grip_l = length * rng.uniform(0.36, 0.48)
    t = np.linspace(0.0, 1.0, 22)
    belly, back = rng.uniform(1.8, 5.0), rng.uniform(0.0, 0.5)
    low = -deep * (1.0 - (1.0 - back) * t**belly)
    high = -0.97 * deep * back * t ** (belly * rng.uniform(0.7, 1.5))
    flat = rng.choice([2.0, 3.0])
    blade = _bar(
        grip_l - 0.012 + (length - grip_l) * t, low, high, np.full(22, rng.uniform(0.0015, 0.003)), _steel(rng), flat
    )
    thick, wide = rng.uniform(0.008, 0.019), rng.uniform(0.016, 0.028 if kitchen else 0.022)
    u = np.linspace(0.0, 1.0, 16)
    wave = 1.0 - 0.16 * np.sin(2 * np.pi * u * rng.uniform(0.6, 1.2) + rng.uniform(0, 6))
    wave *= 1.0 - np.clip(np.abs(2 * u - 1) - 0.85, 0, 1) * rng.uniform(0.5, 3.0)
    bend = rng.uniform(-0.006, 0.004) * (1.0 - u) ** 2
    grip = _bar(
        grip_l * u, -wide * wave + bend, 0.0 * u + bend, thick * wave, _handle_material(rng), rng.uniform(2.2, 4.0)
    )
    if rng.random() < 0.5:
        return [blade, grip]
    rivet, _ = Profile(0, -0.51 * thick).to(0.003, -0.51 * thick).to(0.003, 0.51 * thick).to(0, 0.51 * thick).build(2)
    spots = [(grip_l * f, -0.5 * wide) for f in (0.2, 0.5, 0.8)]
    return [blade, grip, repeated(lathe(rivet, _steel(rng), segments=12), spots)]


def _table_knife(rng: np.random.Generator) -> Part:
    """One bar of metal or plastic, hardly waisted where the grip ends, with a round or slanting tip."""
    length, wide = float(rng.uniform(0.15, 0.245)), float(rng.uniform(0.013, 0.024))
    material = _steel(rng) if rng.random() < 0.8 else m.plastic(rng, rng.choice(["pale", "dark", "any"]))
    t = np.concatenate([np.linspace(0.0, 0.86, 22), np.linspace(0.88, 1.0, 10)])
    bolster = rng.uniform(0.38, 0.58)
    grip = rng.uniform(0.6, 1.0) + (rng.uniform(0.5, 1.0) - 1.0) * np.clip(t / bolster, 0.0, 1.0) ** 2
    blade = 1.0 - rng.uniform(0.0, 0.25) * np.clip((t - bolster) / (1.0 - bolster), 0.0, 1.0)
    mixed = np.clip((t - bolster) / rng.uniform(0.02, 0.12), 0.0, 1.0)
    across = wide * (grip + (blade - grip) * mixed)
    tip = np.clip((t - rng.uniform(0.82, 0.95)) / 0.18, 0.0, 1.0)
    low = -across * (1.0 - rng.uniform(0.5, 0.95) * (tip / tip[-1]) ** rng.uniform(1.6, 3.5))
    high = -across * rng.uniform(0.0, 0.25) * (tip / tip[-1]) ** 2
    low[0] = 0.5 * low[1] + 0.5 * high[1]
    thick = rng.uniform(0.002, 0.007) + (rng.uniform(0.001, 0.0025) - 0.002) * np.clip(1.5 * mixed, 0.0, 1.0)
    return _bar(length * t, low, high, np.maximum(thick, 0.001), material, rng.uniform(2.0, 4.0))


def _spoon_or_fork(rng: np.random.Generator, kind: str) -> list[Part]:
    """One piece of steel, plastic or wood, or with a handle of another colour; slim or broad."""
    stuff = rng.choice(["steel", "plastic", "wood"], p=[0.5, 0.35, 0.15])
    large = kind == "ladle" or stuff == "wood"
    length = float(rng.uniform(0.2, 0.33) if large else rng.uniform(0.1, 0.24))
    if stuff == "steel":
        head = _steel(rng)
    else:
        head = m.wooden(rng) if stuff == "wood" else m.plastic(rng, rng.choice(["pale", "vivid", "dark"]))
    grip = head if rng.random() < 0.75 else _handle_material(rng)
    t = np.linspace(0.0, 1.0, 26)
    start = 1.0 - rng.uniform(0.2, 0.4)  # where the head begins
    end_half, neck_half = rng.uniform(0.0028, 0.011), rng.uniform(0.0018, 0.005)
    handle = neck_half + (end_half - neck_half) * np.clip(1.0 - t / start, 0, 1) ** rng.uniform(0.4, 1.6)
    thick = np.full(26, rng.uniform(0.0006, 0.0016) * (2.5 if stuff == "wood" else 1.0))
    curve = rng.uniform(0.0, 0.018) * np.sin(np.pi * np.clip((t - 0.35) / 0.65, 0, 1)) ** 2
    along = np.clip((t - start) / (1.0 - start), 0.0, 1.0)
    if kind != "fork":
        half = float(rng.uniform(0.022, 0.042) if large else length * rng.uniform(0.065, 0.11))
        bowl = half * np.clip(1.0 - np.abs(2.0 * along - 1.0) ** rng.uniform(1.8, 2.8), 0, 1) ** 0.5 * (along > 0)
        handle = np.maximum(handle, bowl)
        sag = rng.uniform(0.4, 0.68) if kind == "ladle" else rng.uniform(0.1, 0.5)
        handle[-1] = max(0.35 * handle[-2], 0.0012)
        return [blade_part(length, t, handle, thick, sag * handle * np.sin(np.pi * along), curve, (grip, head))]
    half, root = float(rng.uniform(0.008, 0.017)), float(rng.uniform(0.3, 0.6))
    handle = np.where(along > 0, np.maximum(handle, half * np.clip(along / (0.6 * root), 0, 1) ** 0.6), handle)
    stop = int(np.searchsorted(along, root))
    none = np.zeros(stop)
    parts = [blade_part(length, t[:stop], handle[:stop], thick[:stop], none, curve[:stop], (grip, head))]
    count = int(rng.integers(2, 5))
    wide = half / count * rng.uniform(0.45, 0.75)
    path = np.stack([length * t[stop - 2 :], -curve[stop - 2 :], 0.0 * t[stop - 2 :]], axis=-1)
    width = np.full(len(path), wide)
    width[-2:] *= (0.8, 0.4)
    tine = sweep(path, np.full(len(path), thick[0]), width, head)
    return parts + [tine.moved(z=z) for z in np.linspace(-1, 1, count) * (half - wide)]


def remote_variant(rng: np.random.Generator, name: str) -> Shape:
    """A remote crowded with small keys, or slim with a few; waisted, bowed, two-tone, white, with a big pad."""
    crowded = rng.random() < 0.55
    size = np.array([rng.uniform(0.15, 0.26) if crowded else rng.uniform(0.09, 0.2), 0.0, 0.0])
    size[1] = rng.uniform(0.006, 0.016) if rng.random() < 0.5 else rng.uniform(0.016, 0.032)
    size[2] = rng.uniform(0.042, 0.062) if crowded else rng.uniform(0.028, 0.046)
    tone = str(rng.choice(["dark", "pale", "grey", "any"], p=[0.45, 0.3, 0.15, 0.1]))
    shell = m.plastic(rng, tone)
    under = shell if rng.random() < 0.6 else m.plastic(rng, rng.choice(["dark", "pale", "any"]))
    face = remote_face(rng, shell, tone == "dark") if rng.random() < 0.6 else m.plastic(rng, "dark")
    parts = [_shell(size, size[2] * rng.uniform(0.03, 0.49), size[1] * rng.uniform(0.1, 0.45), (under, face))]
    keys = [m.plastic(rng, kind) for kind in ("grey", "pale" if tone == "dark" else "dark", "vivid")]
    usual = keys[int(rng.integers(2))]
    columns = int(rng.integers(3, 6) if crowded else rng.integers(1, 4))
    pitch_z = 0.86 * size[2] / columns
    pitch_x = float(min(pitch_z * rng.uniform(0.7, 1.1), 0.014)) if crowded else float(rng.uniform(0.013, 0.022))
    pad_r = size[2] * rng.uniform(0.28, 0.44) if rng.random() < 0.75 else 0.0
    pad_x = size[0] * rng.uniform(-0.15, 0.3)
    xs = np.arange(-0.46 * size[0] + 0.01, 0.46 * size[0] - 0.006, max(pitch_x, size[0] / 16))
    xs = xs[xs > rng.uniform(-0.5, -0.1 if crowded else 0.0) * size[0]]
    zs = (np.arange(columns) - 0.5 * (columns - 1)) * pitch_z
    button = button_part(rng, rng.uniform(0.28, 0.42) * min(pitch_x, pitch_z), size[1])
    stretch = np.array([1.0, 1.0, rng.uniform(1.0, 0.8 * pitch_z / (0.84 * min(pitch_x, pitch_z)) + 0.2)])
    button = replace(button, vertices=button.vertices * stretch)
    vivid_row = int(rng.integers(len(xs))) if rng.random() < 0.6 else -1
    for row, x in enumerate(xs):
        spots = [(x, z) for z in zs if abs(x - pad_x) > pad_r + 0.005 or not pad_r]
        colours = [m.plastic(rng, "vivid") for _ in spots] if row == vivid_row else []
        for spot, material in zip(spots, colours, strict=False):
            parts.append(repeated(replace(button, materials=(material,)), [spot]))
        if spots and not colours:
            parts.append(repeated(replace(button, materials=(usual,)), spots))
    if pad_r:
        y = size[1]
        ring = Profile(0, y - 0.002).to(pad_r, y - 0.002).to(pad_r, y + 0.0014, 0.0006)
        ring.to(0.5 * pad_r, y + 0.001).to(0.45 * pad_r, y + 0.0003).to(0.0, y + rng.uniform(0.0003, 0.002))
        parts.append(lathe(ring.build(3)[0], keys[int(rng.integers(2))], segments=24).moved(x=pad_x))
    return assemble(name, "remote", [_waisted(rng, concatenate(parts), size)], Symmetry())


def _shell(size: np.ndarray, corner: float, bevel: float, materials: tuple[Material, Material]) -> Part:
    """A slab of ``size`` on y = 0 with points all over, so that it can be bent."""
    outline = outline_rounded(size[0], size[2], max(corner, 0.003), 6)
    outline = np.concatenate([outline, outline[:1]])
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
    wanted = np.unique(np.round(np.concatenate([at, np.linspace(0.0, at[-1], 40)])[:-1], 3))[:-1]
    outline = np.stack([np.interp(wanted, at, outline[:, axis]) for axis in (0, 1)], axis=-1)
    inset = bevel * np.array([1.0, 0.3, 0.0, 0.0, 0.3, 1.0])
    heights = np.array([0.0, 0.3 * bevel, bevel, size[1] - bevel, size[1] - 0.3 * bevel, size[1]])
    scales = [1.0 - 2.0 * amount / size[[0, 2]] for amount in inset]
    within = [(share * scales[0], 0.0) for share in (0.03, 0.3, 0.55, 0.8)]
    above = [(share, size[1]) for share, _ in within[::-1]]
    rows = [*within, *zip(scales, heights, strict=True), *above]
    flat = [np.insert(outline * scale, 1, height, axis=1) for scale, height in rows]
    return loft(capped(np.stack(flat)), materials, np.array([0] * 10 + [1] * 5), planar_uv=True)


def _waisted(rng: np.random.Generator, part: Part, size: np.ndarray) -> Part:
    """The remote drawn in at its waist, bowed, and with a round underside, each in some draws."""
    along = 2.0 * part.vertices[:, 0] / size[0]
    waist = rng.uniform(0.08, 0.25) if rng.random() < 0.4 else 0.0
    narrow = 1.0 - waist * np.exp(-(((along - rng.uniform(-0.4, 0.3)) / rng.uniform(0.3, 0.5)) ** 2))
    bow = rng.uniform(-0.01, 0.016) if rng.random() < 0.4 else 0.0
    belly = rng.uniform(0.1, 0.35) * size[2] if rng.random() < 0.35 else 0.0
    below = (part.vertices[:, 1] < 0.3 * size[1]) * np.clip(1.0 - (2.0 * part.vertices[:, 2] / size[2]) ** 2, 0.0, 1.0)
    vertices = part.vertices * np.stack([np.ones_like(narrow), np.ones_like(narrow), narrow], axis=-1)
    return replace(part, vertices=vertices + (bow * along**2 - belly * below)[:, None] * np.array([0.0, 1.0, 0.0]))
