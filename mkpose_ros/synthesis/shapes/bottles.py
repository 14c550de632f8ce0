"""Bottles, jars and cans: closed vessels turned on a lathe, with caps, labels and a few square or oval bodies."""

from __future__ import annotations

import numpy as np

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import ROUND, Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.loft import extrude, lathe, outline_circle, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile, arc_handle
from mkpose_ros.types import Symmetry

__all__ = ["bottle", "can"]

# style: share, height (m), diameter / height, neck / body radius, shoulder / height, neck length / height
_STYLES = {
    "beer": (0.14, (0.18, 0.27), (0.24, 0.33), (0.34, 0.48), (0.12, 0.28), (0.14, 0.30)),
    "wine": (0.10, (0.26, 0.34), (0.22, 0.29), (0.32, 0.42), (0.08, 0.20), (0.22, 0.32)),
    "water": (0.18, (0.17, 0.30), (0.25, 0.38), (0.32, 0.52), (0.14, 0.30), (0.04, 0.10)),
    "lotion": (0.18, (0.11, 0.25), (0.26, 0.46), (0.35, 0.70), (0.05, 0.16), (0.03, 0.07)),
    "pill": (0.12, (0.07, 0.14), (0.42, 0.70), (0.60, 0.95), (0.06, 0.14), (0.04, 0.10)),
    "sauce": (0.12, (0.14, 0.24), (0.26, 0.40), (0.28, 0.45), (0.15, 0.45), (0.08, 0.20)),
    "flask": (0.16, (0.18, 0.29), (0.25, 0.38), (0.60, 0.98), (0.04, 0.12), (0.03, 0.08)),
}


def bottle(rng: np.random.Generator, name: str) -> Shape:
    """A bottle: base, body (straight, bellied, waisted or grooved), shoulder, neck and cap."""
    style = str(rng.choice(list(_STYLES), p=[v[0] for v in _STYLES.values()]))
    h, aspect, neck, shoulder, neck_length = (rng.uniform(*span) for span in _STYLES[style][1:])
    radius = 0.5 * aspect * h
    neck_r = max(neck * radius, 0.007)
    y_neck = h * (1.0 - neck_length)
    y_shoulder = max(y_neck - shoulder * h, 0.25 * h)
    open_top = style in ("beer", "sauce", "water") and rng.random() < 0.12

    profile = _body(rng, style, radius, y_shoulder)
    r_top = radius * (1.0 if rng.random() < 0.7 else rng.uniform(0.85, 1.0))
    profile.to(r_top, y_shoulder, 0.12 * radius)
    profile.curve(neck_r, y_neck, rng.uniform(-0.06, 0.3) if rng.random() < 0.75 else rng.uniform(-0.2, 0.0))
    if neck_length > 0.1 and rng.random() < 0.5:
        profile.to(neck_r * rng.uniform(0.85, 1.0), h * 0.96)
    if open_top:
        wall = min(0.0022, 0.25 * neck_r)
        profile.to(neck_r, 0.985 * h, 0.001).to(neck_r + 0.0012, 0.988 * h, 0.001).to(neck_r + 0.0012, h, 0.001)
        profile.to(neck_r - wall, h, 0.001).to(neck_r - wall, y_neck, 0.002).to(0.0, y_neck)
    else:
        profile.to(neck_r, h, 0.0008).to(0.0, h)
    rows, bands = profile.build()

    section, symmetry, squash = _section(rng, rows, radius, neck_r)
    body, body_label = _bottle_materials(rng, style)
    parts = [lathe(rows, (body, body_label), bands, section)]
    if not open_top:
        parts += _cap(rng, style, neck_r, h, radius, y_neck)
    if symmetry is ROUND and style in ("lotion", "water", "flask") and rng.random() < 0.04:
        top = (0.93 * neck_r, y_neck + 0.3 * (h - y_neck))
        path = arc_handle(rng, top, (0.97 * r_top, 0.72 * y_shoulder), rng.uniform(0.02, 0.04))
        parts.append(sweep(path, np.array(rng.uniform(0.005, 0.009)), np.array(rng.uniform(0.006, 0.011)), body))
        symmetry = Symmetry()
    return assemble(name, "bottle", squashed(parts, squash), symmetry)


def _body(rng: np.random.Generator, style: str, radius: float, y_shoulder: float) -> Profile:
    """From the axis below to the shoulder; the label is band 1."""
    foot = radius * rng.uniform(0.8, 1.0)
    fillet = rng.uniform(0.04, 0.35) * radius
    profile = Profile(0.0, rng.uniform(0.0, 0.004)).to(foot * 0.6, 0.001, 0.002).to(foot, 0.0, fillet)
    y0, y1 = (y_shoulder * rng.uniform(*span) for span in ((0.08, 0.3), (0.65, 0.95)))
    form = rng.choice(["straight", "belly", "waist", "grooved"], p=[0.5, 0.14, 0.2, 0.16])
    profile.to(radius, min(0.1 * y_shoulder, 0.012), fillet)
    if form == "grooved" and style in ("water", "flask", "lotion"):
        profile.to(radius, y0).ridges(radius, 0.5 * (y0 + y1), rng.uniform(0.0008, 0.003), int(rng.integers(2, 6)))
        return profile.to(radius, y1, 0.0, 1)
    bulge = {"straight": 0.0, "grooved": 0.0, "belly": rng.uniform(0.02, 0.09), "waist": -rng.uniform(0.02, 0.1)}[form]
    bulge = max(bulge, -0.35 * radius / max(y1 - y0, 1e-3))
    profile.to(radius, y0)
    if bulge == 0.0:
        return profile.to(radius, y1, 0.0, 1)
    return profile.curve(radius, y1, bulge, band=1, lean=rng.uniform(0.7, 1.4))


def _bottle_materials(rng: np.random.Generator, style: str) -> tuple[Material, Material]:
    glassy = {"beer": 0.75, "wine": 0.85, "water": 0.7, "sauce": 0.5, "pill": 0.3, "lotion": 0.12, "flask": 0.1}[style]
    if rng.random() < glassy:
        body = m.clear(rng)
        if rng.random() < 0.35:  # full of something opaque, or dark glass: solid to the eye
            body = Material(textures.colour(rng, rng.choice(["dark", "any"])), body.roughness)
    elif style == "flask" and rng.random() < 0.5:
        body = m.metal(rng) if rng.random() < 0.4 else m.painted(rng)
    else:
        body = m.plastic(rng, rng.choice(["any", "pale", "vivid"]))
    if rng.random() < 0.2:
        return body, body
    return body, m.printed(rng, body.albedo if rng.random() < 0.3 else None)


def _section(rng: np.random.Generator, rows: np.ndarray, radius: float, neck_r: float):
    """The turn's outline (R, S), its symmetry and the squash along z: round in nine draws of ten."""
    if rng.random() < 0.9:
        return None, ROUND, 1.0
    n = 48
    square = np.linalg.norm(outline_circle(n, rng.uniform(3.5, 8.0)), axis=1)
    square = square / square.max() ** 0.5
    weight = np.clip((rows[:, 0] - neck_r) / max(0.7 * radius - neck_r, 1e-4), 0.0, 1.0)
    weight = weight * weight * (3.0 - 2.0 * weight)
    if rng.random() < 0.5:
        return 1.0 + weight[:, None] * (square[None] - 1.0), Symmetry(orders=(1, 4, 1)), 1.0
    squash = rng.uniform(0.5, 0.8)
    if rng.random() < 0.5:
        return np.ones((len(rows), n)), Symmetry(orders=(1, 2, 1)), squash
    return 1.0 + weight[:, None] * (square[None] - 1.0), Symmetry(orders=(1, 2, 1)), squash


def squashed(parts: list[Part], squash: float) -> list[Part]:
    if squash == 1.0:
        return parts
    squeezed = []
    for part in parts:
        normals = part.normals / np.array([1.0, 1.0, squash])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        vertices = part.vertices * np.array([1.0, 1.0, squash])
        squeezed.append(
            Part(vertices, normals, part.uv, part.faces, part.face_materials, part.materials, part.is_handle)
        )
    return squeezed


def _cap(rng: np.random.Generator, style: str, neck_r: float, h: float, radius: float, y_neck: float) -> list[Part]:
    """The closure on a neck that reaches from ``y_neck`` to ``h``; a wide one stays above the shoulder."""
    if style == "wine" and rng.random() < 0.5:
        r, top = 0.7 * neck_r, h + rng.uniform(0.004, 0.012)
        cork, _ = Profile(0.0, h - 0.01).to(r, h - 0.01).to(r, top, 0.001).to(0.0, top).build()
        return [lathe(cork, m.wooden(rng), segments=24)]
    material = m.metal(rng) if style == "beer" or rng.random() < 0.2 else m.plastic(rng)
    cap_r = neck_r + rng.uniform(0.001, 0.003)
    if style in ("lotion", "pill", "flask") and rng.random() < 0.5:
        cap_r = max(cap_r, radius * rng.uniform(0.75, 1.02))
    length = rng.uniform(0.006, 0.01) if style == "beer" else float(rng.uniform(0.01, 0.03) + 0.25 * cap_r)
    low = max(h - 0.7 * length, y_neck + 0.001) if cap_r > 1.15 * neck_r else h - 0.7 * length
    top = max(low + length, h + 0.001)
    profile = Profile(0.0, low).to(cap_r, low, 0.0005)
    if style in ("lotion", "flask", "water", "sauce") and rng.random() < 0.4:  # a sport, flip or nozzle top
        tip = cap_r * rng.uniform(0.15, 0.6)
        top += rng.uniform(0.6, 1.8) * cap_r
        profile.to(cap_r * rng.uniform(0.9, 1.0), max(low + length, h), 0.2 * cap_r)
        profile.curve(tip, 0.6 * top + 0.4 * h, rng.uniform(-0.15, 0.25))
        profile.to(tip * rng.uniform(0.7, 1.1), top, 0.15 * tip)
    elif rng.random() < 0.25:
        profile.to(cap_r, h).curve(0.12 * cap_r, top + 0.5 * cap_r, rng.uniform(0.15, 0.35))
        top += 0.5 * cap_r
    else:
        profile.to(cap_r * rng.uniform(0.88, 1.0), top, rng.uniform(0.0003, 0.004))
    rows, _ = profile.to(0.0, top).build(3)
    section = None
    if rng.random() < 0.4:
        section = 1.0 - 0.035 * (np.arange(48) % 2)
    return [lathe(rows, material, section=section, segments=32)]


def can(rng: np.random.Generator, name: str) -> Shape:
    """A drink can, a food tin, a spray can or a tin with a plastic lid."""
    style = rng.choice(["drink", "food", "spray", "tin"], p=[0.42, 0.3, 0.12, 0.16])
    build = {"drink": _drink_can, "food": _food_can, "spray": _spray_can, "tin": _lidded_tin}[str(style)]
    return assemble(name, "can", build(rng), ROUND)


def _drink_can(rng: np.random.Generator) -> list[Part]:
    radius = float(rng.choice([0.0263, 0.029, 0.0331], p=[0.25, 0.25, 0.5])) * rng.uniform(0.96, 1.04)
    h = float(rng.uniform(0.088, 0.17)) * (radius / 0.0331) ** 0.3
    rim, foot = radius * rng.uniform(0.78, 0.86), radius * rng.uniform(0.72, 0.82)
    shoulder, heel = rng.uniform(0.008, 0.018), rng.uniform(0.005, 0.01)
    profile = Profile(0.0, 0.007).curve(foot - 0.004, 0.002, 0.12).to(foot, 0.0, 0.002).to(radius, heel, 0.004)
    profile.to(radius, h - shoulder, 0.005, 1).to(rim, h - 0.003, 0.003).to(rim + 0.0015, h - 0.0015, 0.0006)
    profile.to(rim + 0.0012, h, 0.0006).to(rim - 0.001, h, 0.0006).to(rim - 0.002, h - 0.004, 0.001).to(0.0, h - 0.004)
    rows, bands = profile.build(4)
    alu = m.metal(rng, brushed=False)
    parts = [lathe(rows, (alu, _print(rng)), bands)]
    if rng.random() < 0.8:  # the tab, flat in the lid's recess
        outline = outline_circle(20, 2.6) * np.array([0.011, 0.007])
        tab = extrude(outline, np.array([h - 0.0045, h - 0.0032]), np.ones(2), alu)
        parts.append(tab.moved(x=0.003))
    return parts


def _food_can(rng: np.random.Generator) -> list[Part]:
    radius = float(rng.uniform(0.031, 0.052))
    h = float(rng.uniform(0.035, 0.06)) if rng.random() < 0.2 else float(rng.uniform(0.075, 0.16))
    rim = rng.uniform(0.0008, 0.002)
    profile = Profile(0.0, 0.003).to(radius - 0.002, 0.003, 0.001).to(radius - 0.0015, 0.0, 0.0005)
    profile.to(radius + rim, 0.0, 0.0006).to(radius + rim, 0.003, 0.0008).to(radius, 0.0042, 0.0005)
    margin = rng.uniform(0.03, 0.15) * h
    profile.to(radius, 0.0045 + margin)
    if rng.random() < 0.4:
        profile.ridges(radius, h - 0.0045 - margin, rng.uniform(0.0004, 0.0015), int(rng.integers(3, 11)), band=1)
    else:
        profile.to(radius, h - 0.0045 - margin, 0.0, 1)
    profile.to(radius, h - 0.0042, 0.0005).to(radius + rim, h - 0.003, 0.0008).to(radius + rim, h, 0.0006)
    profile.to(radius - 0.0015, h, 0.0005).to(radius - 0.002, h - 0.003, 0.001)
    if rng.random() < 0.5:
        profile.to(0.7 * radius, h - 0.003).to(0.68 * radius, h - 0.0022, 0.0005)
        profile.to(0.0, h - 0.0022)
    else:
        profile.to(0.0, h - 0.003)
    rows, bands = profile.build(3)
    return [lathe(rows, (m.metal(rng, brushed=False), _print(rng)), bands)]


def _spray_can(rng: np.random.Generator) -> list[Part]:
    radius, h = float(rng.uniform(0.02, 0.033)), float(rng.uniform(0.12, 0.21))
    profile = Profile(0.0, 0.004).to(radius * 0.85, 0.002, 0.002).to(radius, 0.0, 0.001).to(radius, 0.004)
    profile.to(radius, 0.78 * h, 0.001, 1).to(radius - 0.0025, 0.79 * h, 0.001)
    profile.to(radius - 0.0025, 0.8 * h).to(radius * 0.5, 0.84 * h, 0.004).to(0.0, 0.84 * h)
    rows, bands = profile.build(4)
    cap_r = radius * rng.uniform(0.85, 1.0)
    top = cap_r * rng.uniform(0.85, 1.0)
    cap = Profile(0.0, 0.797 * h).to(cap_r, 0.797 * h, 0.0005).to(top, h, rng.uniform(0.001, 0.012)).to(0.0, h)
    return [lathe(rows, (m.metal(rng, brushed=False), _print(rng)), bands), lathe(cap.build()[0], m.plastic(rng))]


def _lidded_tin(rng: np.random.Generator) -> list[Part]:
    radius, h = float(rng.uniform(0.035, 0.055)), float(rng.uniform(0.09, 0.22))
    profile = Profile(0.0, 0.002).to(radius - 0.001, 0.002).to(radius, 0.0, 0.0005).to(radius, 0.004)
    rows, bands = profile.to(radius, h - 0.008, 0.0, 1).to(radius, h, 0.0005).to(0.0, h).build(3)
    lid_r, low = radius + rng.uniform(0.0006, 0.002), h - rng.uniform(0.005, 0.014)
    lid = Profile(0.0, low).to(lid_r, low, 0.0004).to(lid_r, h + 0.003, 0.001).to(lid_r - 0.003, h + 0.003, 0.0005)
    rows_lid, _ = lid.to(lid_r - 0.004, h + 0.0012, 0.0005).to(0.0, h + 0.0012).build(3)
    top = m.plastic(rng) if rng.random() < 0.7 else m.metal(rng)
    return [lathe(rows, (m.metal(rng), _print(rng)), bands), lathe(rows_lid, top)]


def _print(rng: np.random.Generator) -> Material:
    """A can's print: on paper, or through which the metal shines."""
    texture = textures.label(rng, 144, 256) if rng.random() < 0.75 else textures.pattern(rng, 128, 256)
    return m.textured(texture, rng.uniform(0.15, 0.6), rng.choice([0.0, 0.6], p=[0.7, 0.3]))
