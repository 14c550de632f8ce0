"""More of the vessels: what a household has beside the common forms, to widen what a segmenter is trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import ROUND, Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.loft import lathe, outline_circle, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile, arc_handle, bezier, fillet_path, radius_at
from mkpose_ros.synthesis.shapes.vessels import cup_lid, mug_body, pot_lid, ware_materials
from mkpose_ros.types import Symmetry

__all__ = ["cup_variant", "glass_variant", "mug_variant", "teapot_variant"]

# style: share, height (m), diameter / height, wall (m), reach of the handle / radius
_MUGS = {
    "clear": (0.24, (0.08, 0.17), (0.5, 0.95), (0.0025, 0.0065), (0.6, 1.1)),
    "enamel": (0.14, (0.065, 0.1), (0.9, 1.2), (0.0012, 0.002), (0.5, 0.9)),
    "wide": (0.16, (0.05, 0.075), (1.25, 1.8), (0.003, 0.006), (0.4, 0.75)),
    "travel": (0.14, (0.13, 0.19), (0.4, 0.56), (0.003, 0.005), (0.6, 1.1)),
    "square": (0.16, (0.08, 0.115), (0.75, 1.0), (0.003, 0.006), (0.7, 1.2)),
    "plain": (0.16, (0.07, 0.12), (0.7, 1.05), (0.0025, 0.0055), (0.5, 1.1)),
}
_COFFEE, _BEER, _MILK = (0.2, 0.1, 0.05), (0.8, 0.5, 0.1), (0.92, 0.9, 0.85)

# style: share, height (m), radius of the belly / height
_POTS = {
    "tall": (0.28, (0.13, 0.22), (0.27, 0.37)),
    "kettle": (0.16, (0.09, 0.14), (0.55, 0.7)),
    "low": (0.15, (0.06, 0.095), (0.75, 1.0)),
    "moka": (0.13, (0.1, 0.18), (0.26, 0.34)),
    "jug": (0.28, (0.09, 0.21), (0.31, 0.5)),
}

# style: share, height (m), radius of the rim (m)
_GLASSES = {
    "square": (0.14, (0.075, 0.13), (0.03, 0.042)),
    "faceted": (0.14, (0.08, 0.15), (0.032, 0.045)),
    "pint": (0.18, (0.13, 0.185), (0.037, 0.047)),
    "wavy": (0.12, (0.1, 0.16), (0.028, 0.042)),
    "shot": (0.1, (0.045, 0.075), (0.019, 0.028)),
    "martini": (0.14, (0.14, 0.21), (0.042, 0.06)),
    "coupe": (0.09, (0.13, 0.18), (0.04, 0.054)),
    "brandy": (0.09, (0.11, 0.17), (0.024, 0.034)),
}


def mug_variant(rng: np.random.Generator, name: str) -> Shape:
    """A mug of clear glass, enamel or plain ware, a wide coffee cup, or a travel mug with a lid; handle on +x."""
    style, h, aspect, wall, reach = _draw(rng, _MUGS)
    radius = 0.5 * aspect * h
    section = _polygon(int(rng.choice([8, 12]))) if style == "clear" and rng.random() < 0.35 else None
    base = radius * rng.uniform(0.55, 0.8) if style == "wide" else radius * rng.uniform(0.75, 1.05)
    if style == "plain":
        profile = mug_body(rng, base, radius, radius, h)
    else:
        bulge = rng.uniform(0.1, 0.25) if style == "wide" else rng.choice([0.0, rng.uniform(-0.03, 0.06)])
        profile = _foot(base, rng.uniform(0.0008, 0.3 * base)).curve(radius, h, bulge, band=1, steps=10)
    if style == "clear":
        ware = (_glass(rng),) * 4
    elif style == "enamel":
        ware = (*_plain_ware(rng), m.plastic(rng, rng.choice(["dark", "vivid"])))
        profile.to(radius + 0.001, h - 0.001, 0.0006, 3).to(radius + 0.0008, h + 0.0014, 0.0008, 3)
    else:
        ware = _any_ware(rng) if style != "travel" or rng.random() < 0.6 else (m.metal(rng),) * 3
    if style == "travel":
        rows, bands = profile.to(0.0, h).build()
    else:
        floor = wall * rng.uniform(1.0, 2.5)
        rows, bands = profile.inside(wall, floor, 0.2 * base, band=2, lip=2 * (style == "enamel")).build()
    parts = [lathe(rows, ware, bands, section, segments=44)]
    if style == "travel":
        parts.append(cup_lid(rng, radius, h))
    if style == "clear" and rng.random() < 0.4:
        parts.append(_drink(rng, rows, floor, section))
    grip = m.plastic(rng, "dark") if style == "travel" and rng.random() < 0.5 else ware[0]
    square = style == "square" or (style in ("clear", "travel") and rng.random() < 0.4)
    handle = _handle(rng, rows, h, wall, reach * radius, grip, square, 1.0 if section is None else section[0])
    return assemble(name, "mug", [*parts, handle], Symmetry())


def cup_variant(rng: np.random.Generator, name: str) -> Shape:
    """A cup without a handle: a coffee-to-go cup with lid and sleeve, a party cup, a plain cylinder, a tumbler."""
    style = str(rng.choice(["to go", "party", "cylinder", "rolled"], p=[0.46, 0.2, 0.19, 0.15]))
    h = float(rng.uniform(0.08, 0.16) if style == "to go" else rng.uniform(0.075, 0.135))
    top = 0.5 * h * float(rng.uniform(0.56, 0.85) if style == "to go" else rng.uniform(0.66, 0.9))
    base = top if style == "cylinder" else top * rng.uniform(0.62, 0.85)
    profile = _foot(base, rng.uniform(0.0005, 0.003))
    if style == "cylinder":
        wall = rng.uniform(0.002, 0.004)
        profile.to(top, h, 0.0, 1)
        return assemble(name, "cup", [_open(profile, wall, 2 * wall, _any_ware(rng))], ROUND)
    lidded = style == "to go" and rng.random() < 0.7
    if style == "to go":
        paper = ((0.93, 0.93, 0.91), (0.96, 0.93, 0.84), (0.66, 0.49, 0.33), (0.12, 0.11, 0.11))
        outside = Material(m.one_of(rng, paper), float(rng.uniform(0.2, 0.8)))
        card = (Material(textures.colour(rng), 0.8), Material((0.6, 0.45, 0.3), 0.9))
        sleeve = m.one_of(rng, (outside, outside, m.printed(rng), *card))
        ware = (outside, sleeve, Material((0.9, 0.9, 0.87), 0.7))
        low, high = rng.uniform(0.15, 0.35), rng.uniform(0.6, 0.85)
        for t, thick, band in ((low, 0.0, 0), (low, 0.0008, 1), (high, 0.0008, 1), (high, 0.0, 1)):
            profile.to(base + t * (top - base) + thick * lidded, t * h, 0.0, band)
    elif style == "party":
        outside = m.plastic(rng, rng.choice(["vivid", "any"]))
        ware = (outside, outside, Material((0.92, 0.92, 0.92), outside.roughness))
        low, high = sorted(rng.uniform(0.15, 0.9, 2))
        profile.to(base + low * (top - base), low * h)
        profile.ridges(base + high * (top - base), high * h, rng.uniform(0.0006, 0.0014), int(rng.integers(2, 7)))
    else:
        ware = _any_ware(rng)
        profile.curve(top, 0.8 * h, rng.uniform(-0.03, 0.05), band=1)
        top += rng.uniform(0.0, 0.002)
        profile.to(top, 0.82 * h, 0.0, 1)
    profile.to(top, h - 0.003, 0.0, 0)
    roll = rng.uniform(0.001, 0.0022)
    profile.to(top + roll, h - 0.002, 0.0006).to(top + 0.8 * roll, h + 0.001, 0.0008)
    parts = [_open(profile, rng.uniform(0.0012, 0.002), 0.005, ware, lip=2)]
    if lidded:
        parts.append(_dome_lid(rng, top, h) if rng.random() < 0.5 else cup_lid(rng, top, h))
    return assemble(name, "cup", parts, ROUND)


def teapot_variant(rng: np.random.Generator, name: str) -> Shape:
    """A tall coffee pot, a kettle with a bail over its top, a low pot, a faceted one or a jug with a lid; handle +x,
    spout -x."""
    style, h, aspect = _draw(rng, _POTS)
    radius = h * aspect
    section, ware = None, _any_ware(rng)
    if style == "moka":
        section, metal = _polygon(8), m.metal(rng) if rng.random() < 0.75 else m.painted(rng)
        ware, mouth, waist = (metal,) * 3, radius * rng.uniform(0.85, 1.05), h * rng.uniform(0.4, 0.52)
        profile = (
            _foot(radius, 0.001).to(0.8 * radius, waist).to(0.86 * radius, waist, 0.0).to(0.78 * radius, 1.05 * waist)
        )
        profile.to(mouth, h, 0.0, 1)
    else:
        base, mouth = radius * rng.uniform(0.65, 1.0), radius * rng.uniform(0.5, 0.85)
        mouth = radius * rng.uniform(0.8, 1.0) if style == "jug" else mouth
        bulge = rng.uniform(0.0, 0.12) if style in ("tall", "jug") else rng.uniform(0.2, 0.45) * radius / h
        profile = _foot(base, rng.uniform(0.001, 0.01)).curve(mouth, h, bulge, 1, 14, rng.uniform(0.65, 1.3))
    rows, bands = profile.to(0.0, h, 0.0, 1).build()
    across = 1.0 if section is None else section[0]
    parts = [lathe(rows, ware, bands, section, segments=44), pot_lid(rng, mouth * across, h, ware)]
    dark = m.plastic(rng, "dark")
    grip = dark if style == "moka" or rng.random() < 0.25 else ware[0]
    if style == "kettle":
        x, rise, angle = (
            radius_at(rows, 0.8 * h) * rng.uniform(0.9, 0.97),
            rng.uniform(0.065, 0.11),
            np.linspace(0, np.pi, 28),
        )
        arc = np.stack(
            [x * np.cos(angle), 0.75 * h + (0.25 * h + rise) * np.sin(angle) ** rng.uniform(0.6, 1), 0 * angle], -1
        )
        thick = rng.uniform(0.0035, 0.006)
        parts.append(sweep(arc, np.array(thick), np.array(thick * rng.uniform(1.0, 1.8)), grip))
    else:
        reach = float(rng.uniform(0.03, 0.06))
        parts.append(replace(_handle(rng, rows, h, 0.008, reach, grip, rng.random() < 0.3, across), is_handle=False))
    if style in ("moka", "jug") or (style == "tall" and rng.random() < 0.5):
        parts.append(_beak(rng, -mouth * across, h, ware[0]))
    else:
        low = h * (rng.uniform(0.15, 0.6) if style == "tall" else rng.uniform(0.4, 0.65))
        parts.append(_long_spout(rng, -radius_at(rows, low), low, h, ware[0]))
    return assemble(name, "teapot", parts, Symmetry())


def glass_variant(rng: np.random.Generator, name: str) -> Shape:
    """A square, faceted, wavy, pint or shot glass, a cocktail glass, a coupe, a snifter; some hold a drink."""
    style, h, top = _draw(rng, _GLASSES)
    wall, section, symmetry = float(rng.uniform(0.0012, 0.003)), None, ROUND
    if style in ("martini", "coupe", "brandy"):
        low = h * {"martini": 0.55, "coupe": 0.58, "brandy": 0.28}[style] * rng.uniform(0.88, 1.12)
        stem, foot, floor = rng.uniform(0.003, 0.005), rng.uniform(0.03, 0.04), low + 0.004
        profile = Profile(0.0, 0.001).to(foot, 0.0, 0.001).to(foot, 0.0022, 0.0008).to(2.2 * stem, 0.008, 0.01)
        profile.to(stem, 0.3 * low, 0.02).to(stem, 0.92 * low, 0.005).to(1.8 * stem, low, 0.002)
        bulge = {"martini": 0.0, "coupe": rng.uniform(0.2, 0.32), "brandy": rng.uniform(0.28, 0.38)}[style]
        profile.curve(top, h, bulge, steps=14, lean=0.8)
    else:
        base, floor = (
            top * rng.uniform(0.65, 0.98),
            rng.uniform(0.1, 0.2) * h if style == "shot" else rng.uniform(0.004, 0.014),
        )
        profile = _foot(base, rng.uniform(0.0008, 0.003))
        if style == "pint" and rng.random() < 0.4:  # the bulge below the rim by which they do not stick
            profile.to(0.9 * top, 0.72 * h).curve(0.95 * top, 0.85 * h, 0.12, steps=6)
        bulge = rng.uniform(-0.08, 0.12) if style == "wavy" else 0.0
        profile.curve(top, h, bulge, steps=10, lean=rng.uniform(0.5, 1.8))
        if style == "square":
            section, symmetry = (
                np.linalg.norm(outline_circle(48, rng.uniform(4.0, 9.0)), axis=1),
                Symmetry(orders=(1, 4, 1)),
            )
        elif style == "faceted":
            count = int(rng.choice([6, 8, 12]))
            section, symmetry = _polygon(count), Symmetry(orders=(1, count, 1))
    rows, bands = profile.inside(wall, floor, 0.2 * top, band=0).build(3)
    parts = [lathe(rows, _glass(rng), bands, section, segments=40)]
    if rng.random() < 0.35:
        parts.append(_drink(rng, rows, floor, section))
    return assemble(name, "glass", parts, symmetry)


def _draw(rng: np.random.Generator, table: dict) -> tuple:
    """A style of a table and a draw from each of its spans."""
    style = str(rng.choice(list(table), p=[row[0] for row in table.values()]))
    return style, *(float(rng.uniform(*span)) for span in table[style][1:])


def _polygon(count: int) -> np.ndarray:
    """The section of a regular polygon with a flat side towards +x; corners at 1."""
    turn, half = 2.0 * np.pi * np.arange(48) / 48, np.pi / count
    return np.cos(half) / np.cos((turn + half) % (2.0 * half) - half)


def _foot(base: float, fillet: float) -> Profile:
    return Profile(0.0, 0.001).to(0.8 * base, 0.001, 0.001).to(base, 0.0, fillet)


def _open(profile: Profile, wall: float, floor: float, ware, lip: int = 0) -> Part:
    rows, bands = profile.inside(wall, floor, 0.002, band=2, lip=lip).build()
    return lathe(rows, ware, bands, segments=44)


def _plain_ware(rng: np.random.Generator) -> tuple[Material, Material, Material]:
    body = m.plain(rng)
    return body, body, body if rng.random() < 0.6 else m.plain(rng)


def _any_ware(rng: np.random.Generator) -> tuple[Material, Material, Material]:
    return _plain_ware(rng) if rng.random() < 0.6 else ware_materials(rng)


def _glass(rng: np.random.Generator) -> Material:
    """Colourless in two draws of three, else tinted."""
    return m.clear(rng) if rng.random() < 0.35 else replace(m.clear(rng), albedo=(0.93, 0.95, 0.95))


def _drink(rng: np.random.Generator, rows: np.ndarray, floor: float, section: np.ndarray | None) -> Part:
    """What fills a vessel to some height above its floor, a hair's breadth off its wall: opaque to the eye."""
    inner = rows[int(np.argmax(rows[:, 1])) :][::-1]
    inner = inner[np.argmax(inner[:, 0] > 0.0) :]
    level = floor + rng.uniform(0.3, 0.9) * (inner[-1, 1] - floor)
    radius = float(np.interp(level, np.maximum.accumulate(inner[:, 1]), inner[:, 0]))
    below = np.vstack([inner[inner[:, 1] < level - 0.001], [radius, level]]) + [-0.0004, 0.0004]
    below[:, 0] = np.maximum(below[:, 0], 0.0004)
    profile = np.vstack([[0.0, below[0, 1]], below, [0.0, below[-1, 1]]])
    tone = m.one_of(rng, (_COFFEE, _BEER, _MILK, textures.colour(rng), textures.colour(rng)))
    return lathe(profile, Material(tone, 0.1), section=section, segments=40)


def _dome_lid(rng: np.random.Generator, top: float, h: float) -> Part:
    profile = Profile(0.0, h - 0.004).to(top + 0.003, h - 0.004, 0.001).to(top + 0.003, h + 0.003, 0.001)
    crown = h + rng.uniform(0.4, 0.75) * top
    rows, _ = profile.to(0.95 * top, h + 0.003).curve(rng.uniform(0.2, 0.6) * top, crown, 0.2).to(0.0, crown).build()
    return lathe(rows, m.plastic(rng, rng.choice(["dark", "pale"])))


def _handle(
    rng: np.random.Generator, rows: np.ndarray, h: float, wall: float, reach: float, material: Material, square: bool,
    across: float,
) -> Part:  # fmt: skip
    """A handle on +x whose ends lie in the wall; ``square`` ones are D-shaped with straight sides."""
    y_top, y_low = h * rng.uniform(0.78, 0.94), h * rng.uniform(0.08, 0.3)
    ends = [(radius_at(rows, y) * across - 0.55 * wall, y) for y in (y_top, y_low)]
    if square:
        out, round_m = (
            max(ends[0][0], ends[1][0]) + reach,
            min(0.45 * reach, 0.3 * (y_top - y_low)) * rng.uniform(0.3, 1),
        )
        flat, _ = fillet_path(
            np.array([ends[0], (out, y_top), (out, y_low), ends[1]]), [0, round_m, round_m, 0], steps=7
        )
        path = np.column_stack([flat, np.zeros(len(flat))])
    else:
        path = arc_handle(rng, *ends, reach=reach)
    thick, wide = rng.uniform(0.0025, 0.006), rng.uniform(0.004, 0.0075)
    return replace(sweep(path, np.array(thick), np.array(wide), material, rng.choice([2.0, 2.6, 5.0])), is_handle=True)


def _beak(rng: np.random.Generator, x: float, h: float, material: Material) -> Part:
    """A pouring lip: a wedge at the rim that narrows outward and upward."""
    out, drop = rng.uniform(0.012, 0.028), rng.uniform(0.02, 0.35) * h
    path = np.linspace([x + 0.006, h - drop - 0.004, 0.0], [x - out, h - 0.001, 0.0], 8)
    return sweep(path, np.linspace(0.009, 0.002, 8), np.linspace(rng.uniform(0.011, 0.018), 0.0025, 8), material, 1.4)


def _long_spout(rng: np.random.Generator, x: float, low: float, h: float, material: Material) -> Part:
    """A spout from the side at height ``low`` to about the rim, straight or bent like a swan's neck."""
    start, end = np.array([x + 0.008, low]), np.array([x - rng.uniform(0.03, 0.085), h * rng.uniform(0.88, 1.08)])
    middle = np.array([0.5 * (start[0] + end[0]), low + rng.uniform(0.0, 0.6) * (end[1] - low)])
    path = bezier(start, middle, end, 16)
    width = np.linspace(rng.uniform(0.009, 0.018), rng.uniform(0.004, 0.008), 16)
    return sweep(np.column_stack([path, np.zeros(16)]), width, width, material)
