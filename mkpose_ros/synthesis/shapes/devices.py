"""Cameras and laptops. As in ShapeNet's NOCS frame they look along +x: the lens points to +x and a laptop opens to +x.

The wide side of both (the laptop's hinge) lies along z.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.synthesis import textures
from mkpose_ros.synthesis.shapes import materials as m
from mkpose_ros.synthesis.shapes.base import Material, Part, Shape, assemble
from mkpose_ros.synthesis.shapes.loft import cuboid, extrude, lathe, outline_rounded, slab
from mkpose_ros.synthesis.shapes.profiles import Profile
from mkpose_ros.types import Symmetry

__all__ = ["camera", "laptop"]

# A plate made flat (x: right, y: out of the picture, -z: up in the picture) set up so that its picture faces +x ...
FACING_FRONT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
# ... or left flat, its picture read by someone at +x.
READ_FROM_FRONT = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])

Y_TO_Z = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

# style: share, width (m), height, body depth, lens radius, lens length
_CAMERAS = {
    "compact": (0.2, (0.088, 0.115), (0.052, 0.072), (0.016, 0.034), (0.014, 0.027), (0.004, 0.034)),
    "mirrorless": (0.24, (0.1, 0.135), (0.062, 0.085), (0.028, 0.045), (0.025, 0.036), (0.025, 0.075)),
    "dslr": (0.36, (0.12, 0.155), (0.088, 0.112), (0.045, 0.07), (0.029, 0.042), (0.045, 0.13)),
    "retro": (0.13, (0.11, 0.145), (0.068, 0.088), (0.026, 0.04), (0.021, 0.032), (0.018, 0.05)),
    "instant": (0.07, (0.095, 0.125), (0.085, 0.125), (0.045, 0.07), (0.018, 0.03), (0.012, 0.03)),
}


def camera(rng: np.random.Generator, name: str) -> Shape:
    """A compact, mirrorless, reflex, rangefinder-like or instant camera."""
    style = str(rng.choice(list(_CAMERAS), p=[v[0] for v in _CAMERAS.values()]))
    w, h, depth, lens_r, lens_l = (float(rng.uniform(*span)) for span in _CAMERAS[style][1:])
    lens_r = min(lens_r, 0.46 * h)
    skin = m.plastic(rng, "dark") if rng.random() < 0.62 else m.painted(rng)
    trim = skin if rng.random() < 0.4 else (m.metal(rng) if rng.random() < 0.5 else m.plastic(rng, "grey"))
    corner, bevel = h * rng.uniform(0.04, 0.22), min(depth, h) * rng.uniform(0.03, 0.2)
    front = camera_front(rng, style, skin, trim)
    body = slab((w, depth, h), corner, bevel, (camera_back(rng, skin), skin, front)).turned(FACING_FRONT)
    lens_z = rng.uniform(-0.06, 0.12) * w * (-1.0 if style != "compact" else 1.0)
    lens_z = np.clip(lens_z, -(w / 2 - lens_r), w / 2 - lens_r)
    lens_y = -rng.uniform(0.0, 0.06) * h if style != "instant" else -0.15 * h
    lens = camera_lens(rng, lens_r, lens_l).turned(FACING_FRONT).moved(depth - 0.002, lens_y, lens_z)
    parts = [body, lens]
    if style in ("mirrorless", "dslr") and rng.random() < (1.0 if style == "dslr" else 0.75):
        parts.append(camera_grip(rng, w, h, depth, lens_z + lens_r, skin))
    if style == "dslr" or (style in ("mirrorless", "retro") and rng.random() < 0.4):
        parts.append(camera_prism(rng, depth, lens_r, skin).moved(0.0, 0.5 * h, lens_z))
    parts += camera_top(rng, style, w, h, depth, trim)
    return assemble(name, "camera", parts, Symmetry())


def camera_front(rng: np.random.Generator, style: str, skin: Material, trim: Material) -> Material:
    if rng.random() < 0.6:
        image = textures.leather(rng, skin.albedo)
    else:
        image = np.full((128, 128, 3), np.array(skin.albedo) * 255).astype(np.uint8)
    if style == "retro" or rng.random() < 0.2:
        image[: int(rng.uniform(0.15, 0.35) * 128)] = np.array(trim.albedo) * 255
    if rng.random() < 0.7:
        ink = (230, 230, 230) if sum(skin.albedo) < 1.4 else (30, 30, 30)
        word = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUX"), int(rng.integers(4, 8))))
        cv2.putText(image, word, (int(rng.integers(4, 60)), 20), 0, 0.45, ink, 1, cv2.LINE_AA)
    if rng.random() < 0.6:  # the flash or a finder's window
        x = int(rng.integers(70, 100)) if rng.random() < 0.7 else int(rng.integers(8, 30))
        cv2.rectangle(image, (x, 6), (x + int(rng.integers(10, 24)), 20), (215, 220, 225), -1)
        cv2.rectangle(image, (x, 6), (x + 10, 20), (90, 95, 105), 1)
    return m.textured(image, rng.uniform(0.3, 0.8))


def camera_back(rng: np.random.Generator, skin: Material) -> Material:
    """A display and buttons; the plate's lower side is read mirrored, which no one can tell here."""
    image = np.empty((128, 128, 3), np.uint8)
    image[:] = np.array(skin.albedo) * 255
    if rng.random() < 0.85:
        x1 = int(rng.integers(74, 96))
        image[24:112, 10:x1] = cv2.resize(textures.screen(rng, (0.03, 0.03, 0.03)), (x1 - 10, 88))
        ink = (200, 200, 200) if sum(skin.albedo) < 1.2 else (50, 50, 50)
        for y in range(34, 112, 16):
            cv2.circle(image, (x1 + (128 - x1) // 2, y), 4, ink, 1, cv2.LINE_AA)
    return m.textured(image, rng.uniform(0.2, 0.6))


def camera_lens(rng: np.random.Generator, r: float, length: float) -> Part:
    """A barrel along +y from y = 0 with rings; its front glass sunk into the rim."""
    barrel = m.plastic(rng, "dark") if rng.random() < 0.7 else m.metal(rng)
    glass = Material(textures.colour(rng, "dark"), 0.05)
    profile = Profile(0.0, 0.0).to(r * rng.uniform(0.9, 1.0), 0.0, 0.001)
    ring = 0 if length < 0.02 else 1
    y = 0.0
    for _ in range(int(rng.integers(1, 4))):
        y += rng.uniform(0.15, 0.3) * length
        radius = r * rng.uniform(0.85, 1.0)
        profile.to(radius, y, 0.001)
        if ring and rng.random() < 0.6:
            profile.to(radius + 0.0012, y + 0.0015, 0.0005).to(radius + 0.0012, y + 0.12 * length, 0.0005, 1)
            y += 0.12 * length
    front = r * rng.uniform(0.8, 1.0)
    pane, sunk = front * rng.uniform(0.35, 0.85), min(0.4 * length, rng.uniform(0.002, 0.012))
    profile.to(front, length, 0.0012).to(front * 0.94, length, 0.0006).to(pane, length - sunk, 0.001)
    profile.curve(0.0, length - sunk + 0.12 * pane, 0.12, band=2)
    rows, bands = profile.build(3)
    return lathe(rows, (barrel, m.rubber(rng), glass), bands, segments=40)


def camera_grip(rng: np.random.Generator, w: float, h: float, depth: float, inner_z: float, skin: Material) -> Part:
    """The bulge for the right hand: at +z, seen from the front on the left."""
    room = max(0.5 * w - inner_z - 0.004, 0.012)
    width, out = min(rng.uniform(0.022, 0.036), room), rng.uniform(0.008, 0.026)
    outline = outline_rounded(out + 0.012, width, 0.45 * min(width, out + 0.012), 6)
    height = h * rng.uniform(0.8, 0.99)
    t = np.array([0.0, 0.004, 0.5, 0.85, 1.0]) * height
    scale = np.array([0.86, 0.96, 1.0, rng.uniform(0.85, 1.0), rng.uniform(0.6, 0.85)])
    material = m.rubber(rng, skin.albedo if rng.random() < 0.6 else None)
    part = extrude(outline, t, scale, material)
    return part.moved(depth + 0.5 * (out - 0.012), -0.495 * h, 0.5 * w - 0.5 * width - 0.001)


def camera_prism(rng: np.random.Generator, depth: float, lens_r: float, skin: Material) -> Part:
    """The hump above the lens, narrower towards its top."""
    height, width = rng.uniform(0.012, 0.032), lens_r * rng.uniform(1.1, 1.9)
    outline = outline_rounded(depth * rng.uniform(0.8, 1.15), width, 0.004, 4)
    scale = np.stack([[1.0, 1.0, 0.9, 0.7], [1.2, 1.0, 0.75, rng.uniform(0.45, 0.7)]], axis=-1)
    part = extrude(outline, np.array([-0.006, 0.1 * height, 0.8 * height, height]), scale, skin)
    return part.moved(x=0.52 * np.ptp(part.vertices[:, 0]))


def camera_top(rng: np.random.Generator, style: str, w: float, h: float, depth: float, trim: Material) -> list[Part]:
    """Release button, dials, accessory shoe."""
    x, top = 0.5 * depth, 0.5 * h
    button, _ = Profile(0.0, -0.003).to(0.0052, -0.003).to(0.005, 0.0025, 0.001).to(0.0, 0.0025).build(3)
    parts = [lathe(button, trim, segments=18).moved(x, top, rng.uniform(0.28, 0.38) * w)]
    if style != "compact" or rng.random() < 0.4:
        for side in (1.0, -1.0) if rng.random() < 0.4 else (float(rng.choice([1.0, -1.0])),):
            r, up = min(rng.uniform(0.0065, 0.011), 0.45 * depth), rng.uniform(0.004, 0.009)
            dial, _ = Profile(0.0, -0.002).to(r, -0.002).to(r, up, 0.0008).to(0.0, up).build(3)
            ribs = 1.0 - 0.05 * (np.arange(36) % 2)
            z = side * rng.uniform(0.17, 0.24) * w if side > 0 else -rng.uniform(0.28, 0.38) * w
            parts.append(lathe(dial, trim, section=ribs).moved(min(x, depth - r), top, z))
    if style in ("mirrorless", "retro") and rng.random() < 0.6:
        parts.append(cuboid((0.018, 0.006, 0.018), 0.0006, m.metal(rng)).moved(x, top + 0.001, 0.0))
    return parts


def laptop(rng: np.random.Generator, name: str) -> Shape:
    """A laptop, opened by 60 to 150 degrees: base with keyboard, screen with bezel, hinge on the -x side."""
    w = float(rng.uniform(0.25, 0.41))
    depth = w * float(rng.uniform(0.62, 0.8))
    base_t, lid_t = float(rng.uniform(0.009, 0.028)), float(rng.uniform(0.004, 0.011))
    angle = rng.uniform(60.0, 150.0) if rng.random() < 0.5 else rng.normal(114.0, 13.0)
    opening = np.deg2rad(np.clip(angle, 60.0, 150.0))
    corner, bevel = w * rng.uniform(0.008, 0.05), base_t * rng.uniform(0.05, 0.45)
    body = m.painted(rng, textures.colour(rng, rng.choice(["grey", "dark", "any"], p=[0.6, 0.25, 0.15])))
    lid = body if rng.random() < 0.7 else m.plastic(rng)
    dark = textures.colour(rng, "dark") if rng.random() < 0.75 else body.albedo

    deck = m.textured(textures.keyboard(rng, body.albedo), body.roughness)
    below = body if rng.random() < 0.5 else m.plastic(rng, "dark")
    base = slab((w, base_t, depth), corner, bevel, (below, body, deck)).turned(READ_FROM_FRONT)

    height = depth * float(rng.uniform(0.9, 1.0))
    display = m.textured(textures.screen(rng, dark), rng.uniform(0.05, 0.5))
    panel = slab((w * rng.uniform(0.97, 1.0), lid_t, height), corner, 0.4 * bevel, (_lid(rng, lid), lid, display))
    panel = opened(panel, height, lid_t, opening)
    hinge_x, hinge_y = -0.5 * depth + rng.uniform(0.002, 0.02), base_t + 0.3 * lid_t
    parts = [base, panel.moved(hinge_x, hinge_y)]
    barrel, length = max(0.4 * base_t, 0.6 * lid_t), float(rng.uniform(0.03, 0.2 * w))
    for z in (0.0,) if rng.random() < 0.3 else (-0.32 * w, 0.32 * w):
        pin = Profile(0.0, -length / 2).to(barrel, -length / 2, 0.001).to(barrel, length / 2, 0.001)
        along_z = lathe(pin.to(0.0, length / 2).build(2)[0], below, segments=16).turned(Y_TO_Z)
        parts.append(along_z.moved(hinge_x, hinge_y - 0.5 * barrel, z))
    return assemble(name, "laptop", parts, Symmetry())


def opened(panel: Part, height: float, thick: float, opening: float) -> Part:
    """A laptop's screen, a plate of ``height`` (m) along z, opened by ``opening`` (rad) about a hinge in the origin."""
    # It lies open at 180 degrees behind the hinge, then is turned up about the hinge, the z axis.
    flat = panel.turned(READ_FROM_FRONT).moved(x=-0.5 * height, y=-0.5 * thick)
    return flat.turned(Rotation.from_rotvec([0.0, 0.0, opening - np.pi]).as_matrix())


def _lid(rng: np.random.Generator, lid: Material) -> Material:
    """The lid's outer side: plain with a logo, seldom stickers."""
    if rng.random() < 0.4:
        return lid
    image = np.empty((96, 144, 3), np.uint8)
    image[:] = np.array(lid.albedo) * 255
    ink = tuple(int(v) for v in np.clip(np.array(lid.albedo) * 255 + rng.choice([-70, 70]), 0, 255))
    cv2.ellipse(image, (72, 48), (int(rng.integers(5, 14)), int(rng.integers(5, 12))), 0, 0, 360, ink, -1, cv2.LINE_AA)
    if rng.random() < 0.2:
        for _ in range(rng.integers(1, 6)):
            sticker = cv2.resize(textures.label(rng, 64, 64), (24, 24))
            y, x = int(rng.integers(0, 72)), int(rng.integers(0, 120))
            image[y : y + 24, x : x + 24] = sticker
    return m.textured(image, lid.roughness, lid.metallic)
