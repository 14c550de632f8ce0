"""Open vessels with a real inside: bowls, cups, drinking glasses, mugs and teapots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import ROUND, Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.loft import lathe, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile, arc_handle, bezier, radius_at
from mkpose_ros.types import Symmetry

__all__ = ["bowl", "cup", "glass", "mug", "teapot"]


def bowl(rng: np.random.Generator, name: str) -> Shape:
    """A bowl: hemispherical, flared or steep, with or without a foot ring and a turned-out rim."""
    radius = float(rng.uniform(0.05, 0.125))
    h = 2.0 * radius * float(rng.uniform(0.28, 0.68))
    foot = radius * rng.uniform(0.3, 0.62)
    wall = float(rng.uniform(0.002, 0.0065))
    profile = Profile(0.0, 0.0)
    y_foot = 0.0
    if rng.random() < 0.5:
        y_foot = float(rng.uniform(0.003, 0.012))
        profile = Profile(0.0, 0.6 * y_foot).to(0.85 * foot, 0.6 * y_foot, 0.001).to(0.9 * foot, 0.0, 0.001)
        profile.to(foot, 0.0, 0.001)
    profile.to(foot, y_foot, rng.uniform(0.0, 0.006))
    rim = rng.choice(["plain", "flared", "lip"], p=[0.6, 0.25, 0.15])
    bulge = rng.uniform(0.05, 0.3) if rng.random() < 0.85 else rng.uniform(-0.05, 0.05)
    top = h if rim == "plain" else min(h * rng.uniform(0.82, 0.95), h - 2.2 * wall)
    inner = radius if rim == "plain" else radius * rng.uniform(0.86, 0.97)
    profile.curve(inner, top, bulge, band=1, steps=14, lean=rng.uniform(0.75, 1.25))
    if rim != "plain":
        profile.to(radius, top if rim == "lip" else h, 0.3 * (h - top), band=1)
    if rim == "lip":
        profile.to(radius, h, 0.001, band=1)
    rows, bands = profile.inside(wall, y_foot + wall, 0.3 * foot, band=2, lip=2 * (rim == "lip")).build()
    return assemble(name, "bowl", [lathe(rows, ware_materials(rng), bands, segments=48)], ROUND)


def cup(rng: np.random.Generator, name: str) -> Shape:
    """A cup without a handle: a tumbler, a paper cup with or without lid, a tea bowl."""
    style = rng.choice(["tumbler", "paper", "tea"], p=[0.45, 0.35, 0.2])
    h = float(rng.uniform(0.055, 0.085) if style == "tea" else rng.uniform(0.075, 0.15))
    top = 0.5 * h * float(rng.uniform(1.0, 1.45) if style == "tea" else rng.uniform(0.62, 0.98))
    base = top * float(rng.uniform(0.5, 0.75) if style == "tea" else rng.uniform(0.62, 0.95))
    wall = float(rng.uniform(0.0012, 0.002) if style == "paper" else rng.uniform(0.0015, 0.004))
    profile = Profile(0.0, 0.001).to(0.8 * base, 0.001, 0.001).to(base, 0.0, rng.uniform(0.0005, 0.25 * base))
    bulge = 0.0 if style == "paper" else rng.uniform(-0.04, 0.18 if style == "tea" else 0.08)
    grooved = style == "tumbler" and rng.random() < 0.2
    if grooved:
        profile.ridges(top, h, rng.uniform(0.0008, 0.002), int(rng.integers(3, 8)), band=1)
    else:
        profile.curve(top, h, bulge, band=1, steps=10, lean=rng.uniform(0.7, 1.4))
    if style == "paper":
        profile.to(top + 0.0015, h - 0.001, 0.0006).to(top + 0.0012, h + 0.0015, 0.0008)
    rows, bands = profile.inside(wall, max(wall, 0.02 * h), 0.1 * base, band=2, lip=2 * (style == "paper")).build()
    if style == "paper":
        paper = textures.colour(rng, "pale")
        outside = m.printed(rng) if rng.random() < 0.7 else Material(paper, 0.8)
        ware = (Material(paper, 0.8), outside, Material(paper, 0.7))
    else:
        ware = ware_materials(rng)
    parts = [lathe(rows, ware, bands)]
    if style == "paper" and rng.random() < 0.45:
        parts.append(cup_lid(rng, top, h))
    return assemble(name, "cup", parts, ROUND)


def cup_lid(rng: np.random.Generator, top: float, h: float) -> Part:
    rise = rng.uniform(0.006, 0.016)
    profile = Profile(0.0, h - 0.003).to(top + 0.003, h - 0.003, 0.001).to(top + 0.003, h + 0.003, 0.001)
    profile.to(top * 0.93, h + 0.003, 0.001).to(top * 0.88, h + rise, 0.002).to(top * 0.82, h + rise, 0.001)
    rows, _ = profile.to(top * 0.8, h + rise * 0.6, 0.001).to(0.0, h + rise * 0.6).build()
    return lathe(rows, m.plastic(rng, rng.choice(["dark", "pale"])))


def glass(rng: np.random.Generator, name: str) -> Shape:
    """A drinking glass: a tumbler, or a stemmed glass for wine, champagne or beer."""
    wall = float(rng.uniform(0.0012, 0.0028))
    if rng.random() < 0.5:
        h, top = float(rng.uniform(0.08, 0.17)), float(rng.uniform(0.028, 0.046))
        base, floor = top * rng.uniform(0.65, 1.0), rng.uniform(0.004, 0.014)
        profile = Profile(0.0, 0.001).to(base * 0.8, 0.0008, 0.001).to(base, 0.0, rng.uniform(0.0008, 0.004))
        profile.curve(top, h, rng.uniform(-0.05, 0.1), band=0, steps=10, lean=rng.uniform(0.6, 1.6))
    else:
        h, foot = float(rng.uniform(0.13, 0.24)), float(rng.uniform(0.026, 0.042))
        stem, bowl_low = float(rng.uniform(0.003, 0.006)), h * float(rng.uniform(0.25, 0.55))
        top, floor = float(rng.uniform(0.02, 0.046)), bowl_low + 0.003
        profile = Profile(0.0, 0.001).to(foot, 0.0, 0.001).to(foot, 0.0022, 0.0008)
        profile.to(stem * 2.2, 0.008, 0.012).to(stem, 0.3 * bowl_low, 0.02).to(stem, 0.92 * bowl_low, 0.01)
        profile.to(stem * 1.8, bowl_low, 0.004)
        profile.curve(top, h, rng.uniform(0.08, 0.38), steps=14, lean=rng.uniform(0.6, 0.95))
    rows, bands = profile.inside(wall, floor, 0.2 * top, band=0).build()
    faceted = None
    if rng.random() < 0.12:
        count = int(rng.integers(6, 13))
        phase = np.linspace(0, 2 * np.pi * count, 4 * count, endpoint=False)
        faceted = 1.0 - 0.02 * (1 - np.cos(phase))
    material = replace(m.clear(rng), albedo=(0.93, 0.95, 0.95)) if rng.random() < 0.8 else m.clear(rng)
    return assemble(name, "glass", [lathe(rows, material, bands, section=faceted, segments=44)], ROUND)


def mug(rng: np.random.Generator, name: str) -> Shape:
    """A mug: straight, tapered, barrel or tulip body with one handle on +x."""
    h = float(rng.uniform(0.072, 0.125))
    radius = 0.5 * h * float(rng.uniform(0.72, 1.08))
    top, base = radius * rng.uniform(0.92, 1.06), radius * rng.uniform(0.7, 1.02)
    wall = float(rng.uniform(0.0025, 0.0055))
    profile = mug_body(rng, base, radius, top, h)
    rows, bands = profile.inside(wall, wall * rng.uniform(1.0, 2.0), 0.25 * base, band=2).build()
    ware = ware_materials(rng)
    parts = [lathe(rows, ware, bands, segments=44), _mug_handle(rng, rows, h, wall, ware)]
    return assemble(name, "mug", parts, Symmetry())


def mug_body(rng: np.random.Generator, base: float, radius: float, top: float, h: float) -> Profile:
    """From the axis to the rim; the decorated side is band 1."""
    fillet = rng.uniform(0.001, 0.3 * base)
    profile = Profile(0.0, 0.002).to(0.75 * base, 0.002, 0.001).to(0.8 * base, 0.0, 0.001)
    form = rng.choice(["straight", "taper", "barrel", "tulip", "stepped"], p=[0.36, 0.2, 0.2, 0.16, 0.08])
    if form == "straight":
        return profile.to(radius, 0.0, fillet).to(radius, 0.06 * h).to(radius, h, 0.0, 1)
    if form == "taper":
        return profile.to(base, 0.0, fillet).curve(top, h, rng.uniform(-0.03, 0.06), band=1)
    if form == "barrel":
        return profile.to(base, 0.0, fillet).curve(top, h, rng.uniform(0.05, 0.18), band=1, steps=12)
    if form == "tulip":
        waist = h * rng.uniform(0.45, 0.7)
        profile.to(base, 0.0, fillet).curve(radius * rng.uniform(0.85, 0.98), waist, rng.uniform(0.1, 0.25), band=1)
        return profile.curve(top * rng.uniform(1.0, 1.15), h, -rng.uniform(0.03, 0.12), band=1)
    step = h * rng.uniform(0.1, 0.3)
    profile.to(base, 0.0, fillet).to(base, step, 0.003).to(radius * 1.02, step + 0.15 * h, 0.006)
    return profile.to(top, h, 0.0, 1)


def _mug_handle(rng: np.random.Generator, rows: np.ndarray, h: float, wall: float, ware) -> Part:
    y_top, y_low = h * rng.uniform(0.76, 0.93), h * rng.uniform(0.1, 0.32)
    thick, wide = rng.uniform(0.0025, 0.0062), rng.uniform(0.004, 0.0095)
    ends = [(radius_at(rows, y) - 0.55 * wall, y) for y in (y_top, y_low)]
    path = arc_handle(rng, *ends, reach=float(rng.uniform(0.023, 0.047)))
    swell = 1.0 + rng.uniform(0.0, 0.45) * np.abs(np.linspace(-1, 1, len(path))) ** 3  # thicker where it is stuck on
    material = ware[int(rng.choice([0, 2]))]
    power = rng.choice([2.0, 2.6, 5.0])
    return replace(sweep(path, thick * swell, wide * swell, material, power), is_handle=True)


def teapot(rng: np.random.Generator, name: str) -> Shape:
    """A teapot: bellied body, lid with a knob, handle on +x, spout towards -x."""
    h, radius = float(rng.uniform(0.08, 0.14)), float(rng.uniform(0.05, 0.085))
    mouth, base = radius * rng.uniform(0.4, 0.6), radius * rng.uniform(0.45, 0.8)
    profile = Profile(0.0, 0.0).to(base, 0.0, 0.004)
    bulge = (radius - 0.5 * (mouth + base)) / h * rng.uniform(0.95, 1.2)
    profile.curve(mouth, h, bulge, band=1, steps=16, lean=rng.uniform(0.75, 1.3))
    rows, bands = profile.to(0.0, h).build()
    ware = ware_materials(rng)
    parts = [lathe(rows, ware, bands, segments=44), pot_lid(rng, mouth, h, ware)]
    y_top, y_low = h * rng.uniform(0.72, 0.88), h * rng.uniform(0.18, 0.35)
    ends = [(radius_at(rows, y) - 0.004, y) for y in (y_top, y_low)]
    path = arc_handle(rng, *ends, reach=float(rng.uniform(0.028, 0.05)))
    thick = np.array(rng.uniform(0.0035, 0.007))
    handle = sweep(path, thick, thick * rng.uniform(0.9, 1.5), ware[0])
    return assemble(name, "teapot", [*parts, handle, _spout(rng, rows, h, ware[0])], Symmetry())


def pot_lid(rng: np.random.Generator, mouth: float, h: float, ware) -> Part:
    edge, rise, knob = mouth * rng.uniform(1.0, 1.12), rng.uniform(0.006, 0.024), float(rng.uniform(0.006, 0.012))
    profile = Profile(0.0, h - 0.004).to(edge, h - 0.004, 0.001).to(edge, h + 0.002, 0.001)
    profile.curve(0.5 * knob, h + rise, rng.uniform(0.02, 0.2)).to(0.5 * knob, h + rise + 0.3 * knob)
    rows, _ = profile.curve(0.0, h + rise + 2.0 * knob, 0.55, steps=10).build()
    return lathe(rows, ware[int(rng.choice([0, 2]))])


def _spout(rng: np.random.Generator, rows: np.ndarray, h: float, material: Material) -> Part:
    y0 = h * rng.uniform(0.25, 0.5)
    start = np.array([-(radius_at(rows, y0) - 0.008), y0])
    end = np.array([start[0] - rng.uniform(0.05, 0.085), h * rng.uniform(0.85, 1.12)])
    bend = rng.uniform(-0.3, 0.6)
    control = np.array([0.6 * end[0] + 0.4 * start[0], start[1] + (0.5 - bend) * 0.5 * (end[1] - start[1])])
    path = np.concatenate([bezier(start, control, end, 16), np.zeros((16, 1))], axis=1)
    width = np.linspace(rng.uniform(0.013, 0.02), rng.uniform(0.005, 0.009), 16)
    return sweep(path, width, width, material)


def ware_materials(rng: np.random.Generator) -> tuple[Material, Material, Material]:
    """What a vessel is made of: (foot and handle, outer side, inside)."""
    kind = rng.choice(["ceramic", "plastic", "metal", "wood", "enamel"], p=[0.66, 0.14, 0.1, 0.04, 0.06])
    if kind == "metal":
        steel = m.metal(rng)
        return steel, m.painted(rng) if rng.random() < 0.4 else steel, steel
    if kind == "wood":
        plank = m.wooden(rng)
        return plank, plank, plank
    if kind == "plastic":
        body = m.plastic(rng)
        return body, m.decorated(rng, body.albedo) if rng.random() < 0.3 else body, body
    body = m.glazed(rng)
    side = m.decorated(rng, body.albedo if rng.random() < 0.6 else None) if rng.random() < 0.55 else body
    inside = body if rng.random() < 0.6 else m.glazed(rng)
    return body, side, inside
