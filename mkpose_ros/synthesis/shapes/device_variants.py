"""Cameras and laptops beyond the common ones of ``devices``, in the same frames: to train on."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import devices as d
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.loft import cuboid, lathe, slab, sweep
from mkpose_ros.synthesis.shapes.profiles import Profile
from mkpose_ros.types import Symmetry

__all__ = ["camera_variant", "laptop_variant"]


def camera_variant(rng: np.random.Generator, name: str) -> Shape:
    """A thin compact, a tele lens, a reflex with battery grip, a rangefinder, a camcorder, a cube, a webcam."""
    makers = (_compact, _tele, _tall, _rangefinder, _camcorder, _cube, _webcam)
    return assemble(name, "camera", makers[int(rng.choice(7, p=_CAMERA_SHARES))](rng), Symmetry())


_CAMERA_SHARES = (0.2, 0.2, 0.15, 0.17, 0.1, 0.1, 0.08)


def _body(rng: np.random.Generator, w: float, h: float, depth: float, skin: Material, style: str, trim=None) -> Part:
    corner, bevel = h * rng.uniform(0.04, 0.25), min(depth, h) * rng.uniform(0.03, 0.25)
    sides = (d.camera_back(rng, skin), trim or skin, d.camera_front(rng, style, skin, trim or skin))
    return slab((w, depth, h), corner, bevel, sides).turned(d.FACING_FRONT)


def _compact(rng: np.random.Generator) -> list[Part]:
    w, h, depth = rng.uniform(0.085, 0.115), rng.uniform(0.05, 0.068), rng.uniform(0.014, 0.028)
    if rng.random() < 0.5:
        skin = m.plastic(rng, rng.choice(["dark", "grey"], p=[0.75, 0.25]))
    else:
        skin = m.painted(rng, textures.colour(rng, rng.choice(["vivid", "pale", "any"])))
    r, out = h * rng.uniform(0.26, 0.44), rng.uniform(0.002, 0.012)
    lens = d.camera_lens(rng, r, max(out, 0.004)).turned(d.FACING_FRONT)
    lens = lens.moved(depth - 0.0015, -rng.uniform(0, 0.08) * h, rng.uniform(-0.25, 0.1) * w)
    return [_body(rng, w, h, depth, skin, "compact"), lens, *d.camera_top(rng, "compact", w, h, depth, m.metal(rng))]


def _reflex(rng: np.random.Generator, h: float, reach: float) -> list[Part]:
    """A reflex or mirrorless body of height h with a lens of ``reach``."""
    w, depth, lens_r = rng.uniform(0.11, 0.155), rng.uniform(0.035, 0.065), rng.uniform(0.028, 0.042)
    skin = m.plastic(rng, "dark") if rng.random() < 0.75 else m.painted(rng)
    lens_z, lens_y = rng.uniform(-0.06, 0.02) * w, max(0.0, 0.5 * h - 0.055)
    lens = d.camera_lens(rng, lens_r, reach).turned(d.FACING_FRONT).moved(depth - 0.002, lens_y, lens_z)
    parts = [_body(rng, w, h, depth, skin, "dslr"), lens, d.camera_grip(rng, w, h, depth, lens_z + lens_r, skin)]
    if rng.random() < 0.6:
        parts.append(_ribbed_ring(rng, lens_r, reach).moved(depth, lens_y, lens_z))
    if rng.random() < 0.8:
        parts.append(d.camera_prism(rng, depth, lens_r, skin).moved(0.0, 0.5 * h, lens_z))
    if rng.random() < 0.6 and reach > 0.05:  # a hood, as one more hollow barrel
        r = lens_r * rng.uniform(1.02, 1.3)
        hood = np.array([[0.9 * lens_r, 0.0], [1.03 * lens_r, 0.0], [r, 0.05], [r - 0.0015, 0.05], [0.9 * lens_r, 0.0]])
        hood = lathe(hood * (1.0, rng.uniform(0.5, 1.1)), m.plastic(rng, "dark")).turned(d.FACING_FRONT)
        parts.append(hood.moved(depth + reach - 0.014, lens_y, lens_z))
    return parts + d.camera_top(rng, "dslr", w, h, depth, skin)


def _ribbed_ring(rng: np.random.Generator, lens_r: float, reach: float) -> Part:
    """The rubber ring that a zoom or the focus is turned by, around a lens along +x."""
    start, wide = reach * rng.uniform(0.05, 0.35), reach * rng.uniform(0.15, 0.5)
    r = lens_r * rng.uniform(1.02, 1.1)
    ribs = 1.0 - rng.uniform(0.015, 0.05) * (np.arange(2 * int(rng.integers(16, 30))) % 2)
    ring = np.array([[0.0, start], [r, start], [r, start + wide], [0.0, start + wide]])
    return lathe(ring, m.rubber(rng), section=ribs).turned(d.FACING_FRONT)


def _tele(rng: np.random.Generator) -> list[Part]:
    return _reflex(rng, rng.uniform(0.075, 0.11), rng.uniform(0.1, 0.2))


def _tall(rng: np.random.Generator) -> list[Part]:
    return _reflex(rng, rng.uniform(0.125, 0.165), rng.uniform(0.03, 0.13))


def _rangefinder(rng: np.random.Generator) -> list[Part]:
    w, h, depth = rng.uniform(0.115, 0.15), rng.uniform(0.065, 0.088), rng.uniform(0.026, 0.04)
    skin = m.plastic(rng, rng.choice(["vivid", "any", "dark"]))
    trim = m.metal(rng) if rng.random() < 0.7 else m.painted(rng)
    lens = d.camera_lens(rng, rng.uniform(0.02, 0.03), rng.uniform(0.012, 0.05)).turned(d.FACING_FRONT)
    lens = lens.moved(depth - 0.002, -0.05 * h, rng.uniform(-0.08, 0.08) * w)
    top = cuboid((0.96 * depth, 0.012, w * rng.uniform(0.4, 0.8)), 0.002, trim).moved(0.5 * depth, 0.5 * h + 0.004)
    knobs = [part.moved(y=0.006) for part in d.camera_top(rng, "retro", w, h, depth, trim)]
    return [_body(rng, w, h, depth, skin, "retro", trim), lens, top, *knobs]


def _camcorder(rng: np.random.Generator) -> list[Part]:
    length, h, w = rng.uniform(0.09, 0.15), rng.uniform(0.05, 0.075), rng.uniform(0.04, 0.06)
    skin = m.plastic(rng, rng.choice(["dark", "grey"]))
    r = 0.5 * min(h, w) * rng.uniform(0.7, 1.0)
    body = _body(rng, w, h, length, skin, "compact")
    lens = d.camera_lens(rng, r, rng.uniform(0.012, 0.045)).turned(d.FACING_FRONT).moved(length - 0.002)
    angle = np.linspace(-0.1, np.pi + 0.1, 17)
    arc = np.stack([0.42 * length * np.cos(angle), 0.03 * np.sin(angle), np.zeros(17)], axis=-1)
    strap = sweep(arc, np.array(0.0018), np.array(rng.uniform(0.01, 0.018)), m.rubber(rng))
    strap = strap.turned(d.Y_TO_Z).moved(0.5 * length, 0.0, 0.5 * w - 0.004)
    if rng.random() < 0.4:
        return [body, lens, strap]
    view = m.textured(textures.screen(rng, (0.03, 0.03, 0.03)), 0.15)
    panel = slab((0.75 * length, 0.007, 0.8 * h), 0.004, 0.0015, (view, skin, skin)).turned(d.FACING_FRONT)
    yaw = Rotation.from_rotvec([0.0, rng.uniform(-0.6, 0.3), 0.0]).as_matrix()
    return [body, lens, strap, panel.moved(z=-0.375 * length).turned(yaw).moved(0.75 * length, 0.0, -0.5 * w + 0.003)]


def _cube(rng: np.random.Generator) -> list[Part]:
    w, h, depth = rng.uniform(0.04, 0.075), rng.uniform(0.038, 0.06), rng.uniform(0.02, 0.05)
    skin = m.plastic(rng, rng.choice(["dark", "grey", "pale", "any"]))
    r, spread = rng.uniform(0.2, 0.38) * h, rng.choice([-0.2, 0.0, 0.2])
    lens = d.camera_lens(rng, r, rng.uniform(0.004, 0.014)).turned(d.FACING_FRONT)
    return [_body(rng, w, h, depth, skin, "compact"), lens.moved(depth - 0.001, 0.1 * h, spread * w)]


def _webcam(rng: np.random.Generator) -> list[Part]:
    """A ball or a bar on a clip or a foot."""
    skin = m.plastic(rng, rng.choice(["dark", "grey", "pale"]))
    h, depth = rng.uniform(0.026, 0.05), rng.uniform(0.02, 0.045)
    w = h * rng.uniform(1.0, 3.0)
    head = slab((w, depth, h), 0.45 * h, 0.3 * min(depth, h), (skin, skin, skin), 7).turned(d.FACING_FRONT)
    lens = d.camera_lens(rng, 0.5 * h * rng.uniform(0.45, 0.8), rng.uniform(0.003, 0.008)).turned(d.FACING_FRONT)
    post = cuboid((0.012, 0.05, 0.012), 0.002, skin).moved(0.5 * depth, -0.5 * h - 0.015)
    foot = slab((0.05, 0.01, rng.uniform(0.04, 0.075)), 0.01, 0.003, (skin, skin, skin))
    return [head, lens.moved(depth - 0.001), post, foot.moved(0.5 * depth, -0.5 * h - 0.045)]


def laptop_variant(rng: np.random.Generator, name: str) -> Shape:
    """A thin, a thick, a bright or a white laptop or a tablet on its keyboard, opened by 90 to 165 degrees."""
    thick, tablet = rng.random() < 0.3, rng.random() < 0.25
    w = float(rng.uniform(0.22, 0.3) if tablet else rng.uniform(0.26, 0.41))
    depth = w * float(rng.uniform(0.62, 0.76))
    base_t = float(rng.uniform(0.022, 0.042) if thick and not tablet else rng.uniform(0.005, 0.015))
    lid_t = float(rng.uniform(0.008, 0.016) if thick else rng.uniform(0.003, 0.009))
    opening = np.deg2rad(rng.uniform(90.0, 165.0))
    corner, bevel = w * rng.uniform(0.005, 0.06), base_t * rng.uniform(0.05, 0.45)
    tone = rng.choice(["pale", "rose", "dark", "vivid", "grey"], p=[0.25, 0.1, 0.25, 0.2, 0.2])
    rose = tuple(float(v) for v in np.array([0.85, 0.68, 0.63]) * rng.uniform(0.8, 1.1))
    body = Material(rose if tone == "rose" else textures.colour(rng, str(tone)), float(rng.uniform(0.2, 0.6)))
    body = replace(body, metallic=float(rng.choice([0.0, 0.6])))
    lid = body if rng.random() < 0.6 else m.plastic(rng, rng.choice(["dark", "pale", "any"]))
    deck = m.textured(textures.keyboard(rng, body.albedo), body.roughness)
    base = slab((w, base_t, depth), corner, bevel, (body, body, deck)).turned(d.READ_FROM_FRONT)
    height = depth * float(rng.uniform(0.9, 1.02))
    panel = slab(
        (w * rng.uniform(0.96, 1.0), lid_t, height), corner, 0.4 * min(bevel, lid_t), (lid, lid, _display(rng, body))
    )
    panel = d.opened(panel, height, lid_t, opening)
    hinge_x, hinge_y = -0.5 * depth + rng.uniform(0.002, 0.06 * depth), base_t + 0.3 * lid_t
    barrel = max(0.35 * base_t, 0.6 * lid_t)
    pin, _ = Profile(0, -0.5).to(barrel, -0.5).to(barrel, 0.5).to(0.0, 0.5).build(2)
    pin = lathe(pin * (1.0, w * rng.uniform(0.1, 0.8)), lid, segments=16).turned(d.Y_TO_Z)
    parts = [base, panel.moved(hinge_x, hinge_y), pin.moved(hinge_x, hinge_y - 0.5 * barrel)]
    return assemble(name, "laptop", parts, Symmetry())


def _display(rng: np.random.Generator, body: Material) -> Material:
    """A screen in a wide or narrow bezel, black and switched off in half of the draws."""
    edge = textures.colour(rng, "dark") if rng.random() < 0.65 else body.albedo
    image = textures.screen(rng, edge)
    h, w = image.shape[:2]
    if rng.random() < 0.5:
        off = int(rng.integers(2, 30))
        image[6 : h - 8, 6 : w - 6] = off
    wide = int(rng.integers(0, 14))
    image[:wide] = image[h - 2 * wide :] = np.array(edge) * 255
    image[:, :wide] = image[:, w - wide :] = np.array(edge) * 255
    cv2.circle(image, (w // 2, max(2, wide // 2)), 1, (60, 60, 60), -1)
    return m.textured(image, rng.uniform(0.04, 0.5))
