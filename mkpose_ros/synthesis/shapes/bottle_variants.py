"""More bottles and cans: dispensers, sprays, flacons, baby and sports bottles, foiled necks, tins without print."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import ROUND, Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.bottles import bottle, squashed
from mkpose_ros.synthesis.shapes.loft import extrude, lathe, outline_circle, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile, arc_handle, bezier
from mkpose_ros.types import Symmetry

__all__ = ["bottle_variant", "can_variant"]

_OVAL = Symmetry(orders=(1, 2, 1))


def bottle_variant(rng: np.random.Generator, name: str) -> Shape:
    """A pump dispenser, trigger spray, baby or sports bottle, flacon, shampoo, foiled or broad-capped bottle, tumbler
    or plain bottle."""
    builders = (_pump, _trigger, _baby, _flacon, _shampoo, _foiled, _sports, _broad_cap, _tumbler)
    pick = int(rng.choice(10, p=[0.13, 0.1, 0.08, 0.1, 0.14, 0.1, 0.08, 0.11, 0.11, 0.05]))
    if pick < len(builders):
        parts, symmetry = builders[pick](rng)
        return assemble(name, "bottle", parts, symmetry)
    common = bottle(rng, name)
    return replace(common, materials=(common.materials[0], common.materials[0], *common.materials[2:]))


def can_variant(rng: np.random.Generator, name: str) -> Shape:
    """A can without print: one colour, two tones or bare metal; a drink can, an energy can, a flat or an open tin."""
    style = str(rng.choice(["drink", "slim", "food", "flat", "open"], p=[0.3, 0.2, 0.24, 0.16, 0.1]))
    necked = style in ("drink", "slim")
    spans = {"drink": (0.031, 0.035), "slim": (0.0255, 0.029), "flat": (0.033, 0.055)}
    radius = float(rng.uniform(*spans.get(style, (0.031, 0.05))))
    span = {"drink": (0.1, 0.17), "slim": (0.125, 0.18), "flat": (0.02, 0.042)}.get(style, (0.08, 0.15))
    h = float(rng.uniform(*span))
    rim = radius * rng.uniform(0.78, 0.88) if necked else radius
    neck = radius - rim
    profile = Profile(0.0, 0.003).to(radius - neck - 0.003, 0.003, 0.001).to(radius - 0.6 * neck - 0.001, 0.0, 0.001)
    profile.to(radius, 0.002 + 0.6 * neck, min(0.004, 0.001 + neck), 0)
    side = h - 0.005 - 1.8 * neck
    if not necked and style != "flat" and rng.random() < 0.5:
        profile.to(radius, 0.2 * h, 0.0, 1)
        profile.ridges(radius, 0.8 * h, rng.uniform(0.0004, 0.0014), int(rng.integers(3, 10)), band=1)
    profile.to(radius, side, 0.3 * neck, 1).to(rim, h - 0.003, 0.3 * neck)
    profile.to(rim + 0.0014, h - 0.002, 0.0004).to(rim + 0.0012, h, 0.0006)
    tin = m.metal(rng, brushed=False)
    ware = (tin, m.one_of(rng, (m.painted(rng), m.plain(rng), _two_tone(rng), tin)), tin)
    if style == "open":
        rows, bands = profile.inside(0.0012, 0.004, 0.002, band=2, lip=2).build(3)
        return assemble(name, "can", [lathe(rows, ware, bands, segments=36)], ROUND)
    profile.to(rim - 0.001, h, 0.0006).to(rim - 0.002, h - 0.004, 0.001)
    if not necked:
        profile.to(0.8 * rim, h - 0.004, 0.0, 2).to(0.78 * rim, h - 0.003, 0.0, 2)
        ware = (tin, ware[1], m.one_of(rng, (tin, m.painted(rng))))
    rows, bands = profile.to(0.0, h - 0.0032, 0.0, 2).build(3)
    parts = [lathe(rows, ware, bands, segments=40)]
    if necked or rng.random() < 0.4:
        outline = outline_circle(20, 2.6) * np.array([0.011, 0.007])
        parts.append(extrude(outline, np.array([h - 0.0045, h - 0.002]), np.ones(2), tin).moved(x=0.003))
    return assemble(name, "can", parts, ROUND)


def _pump(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """A soap dispenser: a body, a collar, a stem and a head whose arm points to +x."""
    h, radius = float(rng.uniform(0.1, 0.17)), float(rng.uniform(0.027, 0.042))
    neck = radius * rng.uniform(0.32, 0.5)
    rows, bands = _body(rng, radius, 0.9 * h, h).curve(neck, h, rng.uniform(0.0, 0.3)).to(0.0, h).build()
    section = _squared(rng) if rng.random() < 0.3 else None
    flat = squashed([lathe(rows, _shell(rng), bands, section)], rng.choice([1.0, rng.uniform(0.6, 0.85)], p=[0.6, 0.4]))
    head = m.metal(rng) if rng.random() < 0.3 else _light(rng)
    y, rise, arm = h + rng.uniform(0.012, 0.02), rng.uniform(0.012, 0.035), rng.uniform(0.025, 0.05)
    reach = np.linspace([-0.006, y + rise + 0.006, 0.0], [arm, y + rise + 0.006 - rng.uniform(0.0, 0.012), 0.0], 8)
    depth = np.linspace(rng.uniform(0.006, 0.011), 0.0035, 8)
    nozzle = sweep(reach, np.linspace(0.0055, 0.003, 8), depth, head, rng.choice([2.0, 4.0]))
    collar = _turned([(max(neck, 0.011) + 0.002, h - 0.003), (max(neck, 0.011) + 0.001, y)], head)
    stem = _turned([(0.0035, y - 0.002), (0.0035, y + rise)], head)
    top = _turned([(0.008, y + rise), (rng.uniform(0.008, 0.013), y + rise + 0.012)], head)
    return [*flat, collar, stem, top, nozzle], Symmetry()


def _trigger(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """A spray bottle: a flattened body and a head with a nozzle and a trigger towards +x."""
    h, radius, neck = float(rng.uniform(0.15, 0.2)), float(rng.uniform(0.036, 0.05)), 0.012
    rise = rng.uniform(0.55, 0.75)
    rows, bands = _body(rng, radius, rise * h, h).curve(neck, h, rng.uniform(-0.2, 0.1)).to(0.0, h).build()
    parts = squashed([lathe(rows, _shell(rng), bands)], rng.uniform(0.55, 0.9))
    head, accent = _light(rng), m.plastic(rng, "vivid")
    y = h + rng.uniform(0.03, 0.042)
    length, deep = rng.uniform(0.035, 0.055), rng.uniform(0.008, 0.012)
    barrel = np.linspace([-rng.uniform(0.018, 0.035), y - 0.005, 0.0], [length, y + 0.003, 0.0], 10)
    grip = np.array([[0.5 * length, y - 0.002], [0.62 * length, y - 0.02], [0.5 * length + 0.016, y - 0.052]])
    grip = bezier(*grip, 10)
    tip = np.array(
        [[length - 0.002, y + 0.003, 0.0], [length + 0.005, y + 0.0035, 0.0], [length + 0.01, y + 0.004, 0.0]]
    )
    return [
        *parts,
        _turned([(neck + 0.003, h - 0.012), (neck + 0.003, h + 0.006), (0.009, h + 0.01), (0.01, y)], head),
        sweep(barrel, np.linspace(0.009, 0.011, 10), np.array(deep), head, 3.0),
        sweep(np.column_stack([grip, np.zeros(10)]), np.array(0.003), np.array(0.7 * deep), head, 3.0),
        sweep(tip, np.array(0.007), np.array(0.007), accent, 4.0),
    ], Symmetry()


def _baby(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """A baby bottle: a wide neck, a screw ring and a teat or a domed cover."""
    h, radius = float(rng.uniform(0.09, 0.14)), float(rng.uniform(0.026, 0.034))
    ring = radius * rng.uniform(0.8, 1.02)
    body = m.clear(rng) if rng.random() < 0.5 else _light(rng)
    rows, bands = _body(rng, radius, 0.88 * h, h).to(0.9 * ring, h, 0.004).to(0.0, h).build()
    parts = [lathe(rows, (body, body), bands), _turned([(ring, h - 0.004), (0.97 * ring, h + 0.014)], m.plastic(rng))]
    y = h + 0.013
    if rng.random() < 0.4:
        tip = Profile(0.0, y).to(0.88 * ring, y).curve(0.0, y + rng.uniform(0.04, 0.055), 0.28, steps=12)
        return [*parts, lathe(tip.build()[0], _light(rng))], ROUND
    teat = (
        Profile(0.0, y).to(0.8 * ring, y).curve(0.008, y + 0.018, 0.12).curve(0.0, y + rng.uniform(0.036, 0.046), 0.18)
    )
    return [*parts, lathe(teat.build()[0], Material((0.85, 0.76, 0.6), 0.4))], ROUND


def _flacon(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """A perfume flacon: square or flat, of thick glass, with a large cap."""
    h, aspect, squash = (
        float(rng.uniform(0.06, 0.12)),
        rng.uniform(0.55, 0.9),
        float(rng.choice([1.0, rng.uniform(0.4, 0.75)])),
    )
    radius, section = 0.42 * aspect * h, _squared(rng)
    edge = rng.uniform(0.001, 0.3 * radius)
    profile = Profile(0.0, 0.0).to(radius, 0.0, edge).to(radius * rng.uniform(0.85, 1.1), h, edge).to(0.35 * radius, h)
    rows, _ = profile.to(0.35 * radius, h + 0.006).to(0.0, h + 0.006).build()
    glass = m.clear(rng) if rng.random() < 0.7 else _light(rng)
    cap_r, top = radius * rng.uniform(0.4, 0.7), h + rng.uniform(0.018, 0.045)
    cap = _turned(
        [(cap_r, h + 0.002), (cap_r * rng.uniform(0.8, 1.1), top)],
        _cap_material(rng),
        section if rng.random() < 0.5 else None,
    )
    return squashed([lathe(rows, glass, section=section), cap], squash), Symmetry(
        orders=(1, 4, 1)
    ) if squash == 1 else _OVAL


def _shampoo(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """An oval bottle with a cap about as wide as its body, on top or below."""
    h, radius = float(rng.uniform(0.14, 0.22)), float(rng.uniform(0.028, 0.042))
    cap_r, tall = radius * rng.uniform(0.6, 0.98), rng.uniform(0.018, 0.045)
    bulge = rng.uniform(-0.02, 0.07)
    if rng.random() < 0.4:  # it stands on its cap
        profile = Profile(0.0, tall).to(cap_r, tall).curve(radius, 0.85 * h, bulge, 1, 12).to(radius, h, 0.6 * radius)
        low, high = 0.0, tall - 0.0005
    else:
        profile = _body(rng, radius, 0.8 * h, h, bulge).curve(0.98 * cap_r, h, 0.4 * (1.0 - cap_r / radius))
        low, high = h + 0.0005, h + tall
    rows, bands = profile.to(0.0, h).build()
    cap = _turned([(cap_r, low), (cap_r * rng.uniform(0.92, 1.0), high)], _cap_material(rng))
    squash = rng.uniform(0.5, 0.8)
    return squashed([lathe(rows, _shell(rng), bands), cap], squash), _OVAL


def _foiled(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """A tall wine or champagne bottle whose neck is wrapped in foil of another colour."""
    h, radius = float(rng.uniform(0.26, 0.34)), float(rng.uniform(0.034, 0.046))
    neck, shoulder, y_neck = rng.uniform(0.0125, 0.0155), h * rng.uniform(0.5, 0.64), h * rng.uniform(0.7, 0.78)
    profile = _body(rng, radius, shoulder, 0.9 * h, 0.0).curve(neck, y_neck, rng.uniform(-0.04, 0.25))
    rows, bands = profile.to(0.95 * neck, h).to(0.0, h).build()
    dark = Material(m.one_of(rng, ((0.02, 0.05, 0.02), (0.05, 0.03, 0.02), (0.12, 0.2, 0.05))), 0.08)
    glass = m.clear(rng) if rng.random() < 0.4 else dark
    label = m.printed(rng) if rng.random() < 0.6 else _light(rng) if rng.random() < 0.4 else glass
    foil = Material(
        textures.colour(rng, rng.choice(["vivid", "dark", "any"])), rng.uniform(0.25, 0.5), rng.choice([0.0, 0.8])
    )
    low, knob = rng.uniform(y_neck, 0.86 * h), neck + rng.uniform(0.001, 0.004)
    wrap = [(neck + 0.0008, low), (0.95 * neck + 0.001, 0.95 * h), (knob, 0.96 * h), (knob, h + 0.004)]
    return [lathe(rows, (glass, label), bands), _turned(wrap, foil)], ROUND


def _sports(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """A drinking bottle for sports or hiking, its cap with a loop on +x."""
    h, radius = float(rng.uniform(0.15, 0.24)), float(rng.uniform(0.032, 0.041))
    cap_r, tall = radius * rng.uniform(0.55, 0.95), rng.uniform(0.03, 0.05)
    rows, bands = _body(rng, radius, 0.86 * h, h).curve(0.85 * cap_r, h, rng.uniform(0.0, 0.2)).to(0.0, h).build()
    lid = m.plastic(rng)
    cap = _turned([(cap_r, h + 0.0005), (cap_r, h + 0.6 * tall), (0.75 * cap_r, h + tall)], lid)
    path = arc_handle(rng, (0.7 * cap_r, h + 0.9 * tall), (0.95 * cap_r, h + 0.2 * tall), rng.uniform(0.015, 0.03))
    loop = sweep(path, np.array(0.0025), np.array(rng.uniform(0.003, 0.007)), lid, 3.0)
    return [lathe(rows, (_shell(rng)[0],) * 2 if rng.random() < 0.7 else _shell(rng), bands), cap, loop], Symmetry()


def _broad_cap(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """A round bottle with a cap nearly as wide as itself: pills, vitamins, spices, a thermos, a covered spray."""
    slim = rng.random() < 0.6
    radius = float(rng.uniform(0.021, 0.038) if slim else rng.uniform(0.025, 0.045))
    h = float(rng.uniform(0.13, 0.23) if slim else rng.uniform(0.06, 0.12))
    cap_r, tall = radius * rng.uniform(0.62, 1.0), rng.uniform(0.012, 0.06)
    profile = _body(rng, radius, h - (radius - cap_r) * rng.uniform(0.5, 1.6), h)
    rows, bands = profile.to(0.97 * cap_r, h, 0.3 * (radius - cap_r)).to(0.0, h).build()
    grooved = 1.0 - rng.uniform(0.0, 0.03) * (np.cos(36 * 2 * np.pi * np.arange(144) / 144) > 0)
    cover = [(cap_r, h + 0.0005), (cap_r, h + 0.8 * tall), (cap_r * rng.uniform(0.6, 1.0), h + tall)]
    return [lathe(rows, _shell(rng), bands), _turned(cover, _cap_material(rng), grooved)], ROUND


def _tumbler(rng: np.random.Generator) -> tuple[list[Part], Symmetry]:
    """An insulated bottle to drink from on the way: tall, wider above, often a sleeve, a lid as wide as its mouth."""
    mouth = float(rng.uniform(0.032, 0.041))
    h, base = mouth * float(rng.uniform(4.4, 6.0)), mouth * rng.uniform(0.72, 0.98)
    low = h * rng.uniform(0.3, 0.75)
    high, sleeve = low + h * rng.uniform(0.05, 0.22), rng.choice([0.0, rng.uniform(0.0004, 0.002)])

    def side(y: float, out: float = 0.0) -> tuple[float, float]:
        return base + (mouth - base) * y / h + out, y

    edge = rng.uniform(0.0006, 0.004)
    profile = Profile(0.0, 0.001).to(0.7 * base, 0.001, 0.001).to(base, 0.0, edge).to(*side(low))
    profile.to(*side(low + 0.0005, sleeve), band=1).to(*side(high, sleeve), band=1).to(*side(high + 0.0005), band=1)
    rows, bands = profile.to(*side(h)).to(0.0, h).build()
    body = m.one_of(rng, (_light(rng), m.painted(rng), m.metal(rng), m.plain(rng)))
    lid = m.one_of(rng, (m.plastic(rng, "dark"), m.plastic(rng), m.metal(rng)))
    grip = m.one_of(rng, (body, lid, m.rubber(rng)))
    tall, brim = rng.uniform(0.012, 0.03), mouth + rng.uniform(-0.001, 0.003)
    cover = [(brim, h + 0.0005), (brim, h + 0.45 * tall), (0.94 * brim, h + 0.55 * tall)]
    cover += [(0.9 * brim, h + tall), (0.82 * brim, h + tall), (0.78 * brim, h + rng.uniform(0.6, 1.0) * tall)]
    return [lathe(rows, (body, grip), bands, segments=40), _turned(cover, lid)], ROUND


def _body(rng: np.random.Generator, radius: float, shoulder: float, h: float, bulge: float | None = None) -> Profile:
    """From the axis below to the shoulder; the label is band 1, ``bulge`` is drawn where none is given."""
    fillet = radius * rng.uniform(0.04, 0.35)
    profile = Profile(0.0, 0.001).to(0.7 * radius, 0.001, 0.001).to(radius * rng.uniform(0.9, 1.0), 0.0, fillet)
    profile.to(radius, 0.06 * h, fillet).to(radius, 0.18 * h)
    bulge = rng.choice([0.0, rng.uniform(-0.06, 0.08)]) if bulge is None else bulge
    profile.curve(radius, 0.9 * shoulder, bulge, band=1)
    return profile.to(radius * rng.uniform(0.93, 1.0), shoulder, 0.1 * radius)


def _turned(outline: list[tuple[float, float]], material: Material, section=None) -> Part:
    """A solid turned from its side's (radius, y) points, from below upward, with a hint of an edge."""
    profile = Profile(0.0, outline[0][1])
    for r, y in outline:
        profile.to(r, y, 0.0008)
    return lathe(profile.to(0.0, outline[-1][1]).build(3)[0], material, section=section, segments=32)


def _squared(rng: np.random.Generator) -> np.ndarray:
    """The section of a rounded square."""
    return np.linalg.norm(outline_circle(48, rng.uniform(4.0, 10.0)), axis=1)


def _light(rng: np.random.Generator) -> Material:
    """White plastic in half of the draws, black or any colour else."""
    tone = m.one_of(rng, ((0.93, 0.93, 0.92), (0.93, 0.93, 0.92), (0.04, 0.04, 0.045), textures.colour(rng)))
    return m.plastic(rng, base=tone)


def _cap_material(rng: np.random.Generator) -> Material:
    return m.metal(rng) if rng.random() < 0.25 else _light(rng)


def _shell(rng: np.random.Generator) -> tuple[Material, Material]:
    """The body and its label; in half of the draws there is none."""
    body = m.clear(rng) if rng.random() < 0.2 else _light(rng)
    return body, body if rng.random() < 0.5 else m.printed(rng, body.albedo if rng.random() < 0.3 else None)


def _two_tone(rng: np.random.Generator) -> Material:
    upper = np.arange(64)[:, None, None] < 64 * rng.uniform(0.15, 0.85)
    tones = (255 * np.array([textures.colour(rng), textures.colour(rng)])).astype(np.uint8)
    return m.textured(np.where(upper, tones[0], tones[1]) + np.zeros((64, 8, 3), np.uint8), rng.uniform(0.2, 0.6))
