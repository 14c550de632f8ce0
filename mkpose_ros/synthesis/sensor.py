"""What a camera makes of a rendering: exposure and noise in colour; the errors of three kinds of depth sensor.

- Structured light (PrimeSense, Kinect v1): disparity steps, the projector's shadow, holes on dark and shiny things.
- Active stereo (RealSense D4xx): matching windows that smooth and fatten, correlated noise, occluded borders.
- Time of flight (Kinect v2, Azure): noise by returned light, flying pixels at edges, bias on dark things.

The axial noise of all three grows with z^2 (Khoshelham and Elberink, 2012; Nguyen et al., 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mkpose_ros.synthesis.render import Rendering
from mkpose_ros.synthesis.scene import SENSORS

__all__ = ["Dice", "expose", "measure_depth"]

_BANK = 1400  # side of the stored noise images: drawing fresh noise for each pixel would take longer than rendering


@dataclass(frozen=True)
class Dice:
    """Where chance comes from: ``look`` decides what camera it is, ``noise`` what differs between its frames."""

    look: np.random.Generator
    noise: np.random.Generator


# ---------------------------------------------------------------- colour


def expose(rendering: Rendering, dice: Dice, perfect: bool = False) -> np.ndarray:
    """The (H, W, 3) uint8 sRGB image: exposure, white balance, blur, noise, JPEG."""
    radiance = rendering.radiance
    sample = np.clip(np.nan_to_num(radiance[::8, ::8].astype(np.float32)), 0.0, 65504.0)
    white = sample.reshape(-1, 3).mean(axis=0)
    white = (white / max(float(white.mean()), 1e-6)) ** (1.0 if perfect else dice.look.uniform(0.4, 1.0))
    key = 0.2 if perfect else float(np.exp(dice.look.normal(np.log(0.19), 0.45)))
    level = np.exp(np.log(sample.mean(axis=-1) + 1e-4).mean())
    gains = key / max(float(level), 1e-6) / np.maximum(white, 0.2)
    if not perfect:
        gains = gains * np.exp(dice.look.normal(0.0, 0.05, 3))
    curves = _tone_curves(gains, shoulder=0.5 if perfect else dice.look.uniform(0.2, 1.0))
    image = np.stack([curves[c][radiance[..., c].view(np.uint16)] for c in range(3)], axis=-1)
    return image if perfect else _camera_faults(image, dice)


@lru_cache(maxsize=1)
def _all_halfs() -> np.ndarray:
    """The value of every 16-bit float by its bits; NaN and negative ones are 0."""
    with np.errstate(invalid="ignore"):
        values = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
        return np.clip(np.nan_to_num(values, nan=0.0, posinf=65504.0), 0.0, 65504.0)


def _tone_curves(gains: np.ndarray, shoulder: float) -> list[np.ndarray]:
    """Per channel, the 8-bit sRGB value of every 16-bit float: a soft shoulder over the highlights."""
    curves = []
    for gain in gains:
        x = _all_halfs() * np.float32(gain)
        x = x * (1.0 + shoulder * x / 4.0) / (1.0 + shoulder * x)
        x = np.clip(x, 0.0, 1.0)
        srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, np.float32(1 / 2.4)) - 0.055)
        curves.append((255.0 * srgb + 0.5).astype(np.uint8))
    return curves


def _camera_faults(image: np.ndarray, dice: Dice) -> np.ndarray:
    image = cv2.GaussianBlur(image, (0, 0), dice.look.uniform(0.45, 0.9))
    if dice.look.random() < 0.15:
        image = cv2.filter2D(image, -1, _motion_kernel(dice.look.uniform(1.5, 6.0), dice.look.uniform(0.0, np.pi)))
    if dice.look.random() < 0.3:  # sharpening in the camera
        amount = dice.look.uniform(0.2, 1.0)
        image = cv2.addWeighted(image, 1.0 + amount, cv2.GaussianBlur(image, (0, 0), 1.0), -amount, 0.0)
    sigma = np.exp(dice.look.uniform(np.log(0.6), np.log(7.0)))
    noise = np.stack([_noise(dice, image.shape[:2], smooth=False) for _ in range(3)], axis=-1)
    if dice.look.random() < 0.5:  # demosaicing and denoising leave grains larger than a pixel
        noise = 1.8 * cv2.blur(noise, (2, 2))
    image = cv2.add(image, np.float32(sigma) * noise, dtype=cv2.CV_8U)
    if dice.look.random() < 0.5:
        quality = int(dice.look.integers(55, 96))
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return image


def _motion_kernel(length_px: float, angle: float) -> np.ndarray:
    size = 2 * int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((size, size), np.float32)
    half = 0.5 * length_px * np.array([np.cos(angle), np.sin(angle)])
    centre = np.array([size // 2, size // 2])
    ends = [tuple(np.round(16 * (centre + s * half)).astype(int).tolist()) for s in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_AA, shift=4)
    return kernel / kernel.sum()


# ---------------------------------------------------------------- depth


@dataclass(frozen=True)
class _Optics:
    """A depth sensor's own geometry; depth images come registered to the colour camera."""

    focal_px: float
    baseline_m: float  # signed: on which side of the camera the projector, or the other eye, is


def measure_depth(rendering: Rendering, kind: str, dice: Dice) -> np.ndarray:
    """What a sensor of ``kind`` reports: (H, W) float32 metres in steps of 1 mm, 0 where it sees nothing.

    ``kind`` is one of ``scene.SENSORS``; "perfect" returns the rendered depth as it is.
    """
    if kind == "perfect":
        return rendering.depth_m.copy()
    if kind not in SENSORS:
        raise ValueError(f"measure_depth: sensor {kind!r}, expected one of {', '.join(SENSORS)}")
    depth_m = _misregistered(_through_glass(rendering, dice), dice)
    measure = {
        "structured-light": _structured_light,
        "active-stereo": _active_stereo,
        "time-of-flight": _time_of_flight,
    }
    measured = measure[kind](depth_m, rendering, dice)
    far = dice.look.uniform(3.0, 6.0)
    measured[(measured < 0.2) | (measured > far)] = 0.0
    return np.round(measured * np.float32(1000.0)) * np.float32(0.001)


def _structured_light(z: np.ndarray, rendering: Rendering, dice: Dice) -> np.ndarray:
    optics = _Optics(z.shape[1] / 640 * dice.look.uniform(540, 600), dice.look.choice([-1.0, 1.0]) * 0.075)
    z = _jittered(z, dice, dice.look.uniform(0.3, 0.8))
    disparity = _disparity(z, optics)
    noise = dice.look.uniform(0.5, 1.0) * _noise(dice, z.shape, smooth=False) + _noise(dice, z.shape, smooth=True)
    disparity = np.round((disparity + dice.look.uniform(0.03, 0.10) * noise) * 8.0) * 0.125
    measured = _depth(disparity, optics)
    lost = _shadow(z, optics) | _too_dark(rendering, z, dice, 1.0) | _too_shiny(rendering, dice)
    measured[cv2.medianBlur(lost.astype(np.uint8), 3) > 0] = 0.0
    measured[_ragged_edges(z, dice, dice.look.uniform(0.4, 0.9))] = 0.0
    return measured


def _active_stereo(z: np.ndarray, rendering: Rendering, dice: Dice) -> np.ndarray:
    optics = _Optics(z.shape[1] / 640 * dice.look.uniform(380, 650), -dice.look.uniform(0.05, 0.095))
    disparity = _disparity(z, optics)
    window = int(dice.look.choice([3, 5]))
    disparity = cv2.medianBlur(disparity, window)  # matching windows fatten edges and round corners
    if dice.look.random() < 0.7:
        near = _local_range(disparity) < 1.0
        disparity = np.where(near, cv2.blur(disparity, (window, window)), disparity)
    amount = dice.look.uniform(0.03, 0.12)
    noise = _noise(dice, z.shape, smooth=True) + 0.3 * _noise(dice, z.shape, smooth=False)
    waves = cv2.resize(
        dice.look.standard_normal((8, 10)).astype(np.float32), z.shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    disparity = np.round((disparity + amount * (noise + 0.5 * waves)) * 32.0) / 32.0
    measured = _depth(disparity, optics)
    lost = _shadow(z, optics) | _too_dark(rendering, z, dice, 0.5) | _too_shiny(rendering, dice)
    measured[cv2.medianBlur(lost.astype(np.uint8), 5) > 0] = 0.0
    measured[_ragged_edges(z, dice, dice.look.uniform(0.1, 0.5))] = 0.0
    return measured


def _time_of_flight(z: np.ndarray, rendering: Rendering, dice: Dice) -> np.ndarray:
    light = _returned_light(rendering)
    sigma = dice.look.uniform(0.0006, 0.002) * (0.3 + z * z) / np.sqrt(np.maximum(light, 0.02))
    mixed = cv2.blur(z, (3, 3))
    edge = _local_range(z) > 0.03 * np.maximum(z, 0.1)
    flying = edge & (_noise(dice, z.shape, smooth=False) > dice.look.uniform(-0.5, 1.0))
    measured = np.where(flying, mixed, z) + sigma * _noise(dice, z.shape, smooth=False)
    measured += (
        dice.look.uniform(0.0, 0.004) * (1.0 - light) * dice.look.choice([-1.0, 1.0])
    )  # dark things read too near or far
    measured += dice.look.uniform(0.0, 0.003) * np.sin(
        2.0 * np.pi * z / dice.look.uniform(0.3, 0.9)
    )  # the phase's wiggling
    measured = measured.astype(np.float32)
    lost = _too_dark(rendering, z, dice, 1.4) | _too_shiny(rendering, dice)
    measured[lost | (z <= 0)] = 0.0
    return measured


def _through_glass(rendering: Rendering, dice: Dice) -> np.ndarray:
    """Where glass is met, patches of its front, of what lies behind, and of nothing."""
    glass = rendering.gloss == 255
    if not glass.any():
        return rendering.depth_m.copy()
    field = _noise(dice, glass.shape, smooth=True) + dice.look.normal(0.0, 0.7)
    depth_m = np.where(glass & (field < 0.4), rendering.behind_m, rendering.depth_m)
    depth_m[glass & (field < -0.5)] = 0.0
    return depth_m


def _misregistered(depth_m: np.ndarray, dice: Dice) -> np.ndarray:
    """Depth whose grid is off by about a pixel against colour."""
    shift = dice.look.normal(0.0, 0.5, 2)
    scale = 1.0 + dice.look.normal(0.0, 0.0008)
    h, w = depth_m.shape
    M = np.array([[scale, 0.0, (1 - scale) * w / 2 + shift[0]], [0.0, scale, (1 - scale) * h / 2 + shift[1]]])
    return cv2.warpAffine(depth_m, M, (w, h), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def _jittered(z: np.ndarray, dice: Dice, sigma_px: float) -> np.ndarray:
    """Lateral noise: each pixel reads a neighbour."""
    h, w = z.shape
    x, y = _grid(h, w)
    dx, dy = (sigma_px * _noise(dice, z.shape, smooth=True) for _ in range(2))
    return cv2.remap(z, x + dx, y + dy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def _disparity(z: np.ndarray, optics: _Optics) -> np.ndarray:
    return np.float32(optics.focal_px * abs(optics.baseline_m)) / np.maximum(z, np.float32(0.05)) * (z > 0)


def _depth(disparity: np.ndarray, optics: _Optics) -> np.ndarray:
    valid = disparity > 0.5
    scaled = np.float32(optics.focal_px * abs(optics.baseline_m)) / np.where(valid, disparity, 1.0).astype(np.float32)
    return np.where(valid, scaled, np.float32(0.0))


def _shadow(z: np.ndarray, optics: _Optics) -> np.ndarray:
    """Pixels that the projector (or the other eye) can't see: along a row its columns must keep their order."""
    w = z.shape[1]
    side = np.sign(optics.baseline_m)
    column = np.arange(w, dtype=np.float32)[None] - side * _disparity(z, optics)
    if side > 0:  # what lies left of a near thing is hidden: walk from the right
        least = np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1]
        return column > least + 1.0
    most = np.maximum.accumulate(column, axis=1)
    return column < most - 1.0


def _returned_light(rendering: Rendering) -> np.ndarray:
    """How much of the sensor's light comes back, (H, W) float32 in [0, 1]."""
    return rendering.infrared.astype(np.float32) * rendering.cosine * np.float32(1.0 / 65025.0)


def _too_dark(rendering: Rendering, z: np.ndarray, dice: Dice, sensitivity: float) -> np.ndarray:
    threshold = sensitivity * 0.015 * dice.look.random() ** 3 * np.maximum(z, 0.3) ** 2
    patchy = threshold * (1.0 + 0.5 * _noise(dice, z.shape, smooth=True))
    grazing = rendering.cosine < 255 * dice.look.uniform(0.02, 0.12) * (1.0 + 0.3 * _noise(dice, z.shape, smooth=False))
    return (_returned_light(rendering) < patchy) | grazing


def _too_shiny(rendering: Rendering, dice: Dice) -> np.ndarray:
    """A mirror-like surface is blinding where it faces the sensor and black elsewhere."""
    gloss = np.where(rendering.gloss == 255, 0, rendering.gloss).astype(np.float32) / 200.0
    cosine = rendering.cosine.astype(np.float32) / 255.0
    blinding = (gloss > 0.6) & (cosine > 1.0 - 0.006 * gloss)
    return blinding & (_noise(dice, gloss.shape, smooth=True) > dice.look.uniform(-1.5, 1.5))


def _ragged_edges(z: np.ndarray, dice: Dice, share: float) -> np.ndarray:
    """Holes along jumps of depth."""
    edge = _local_range(z) > np.maximum(0.02, 0.03 * z)
    return edge & (_noise(dice, z.shape, smooth=True) < np.float32(2.5 * share - 1.2))


def _local_range(image: np.ndarray) -> np.ndarray:
    kernel = np.ones((3, 3), np.uint8)
    return cv2.dilate(image, kernel) - cv2.erode(image, kernel)


@lru_cache(maxsize=4)
def _grid(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return x, y


@lru_cache(maxsize=2)
def _bank(smooth: bool) -> np.ndarray:
    noise = np.random.default_rng(5 + smooth).standard_normal((_BANK, _BANK)).astype(np.float32)
    if smooth:
        noise = cv2.GaussianBlur(noise, (0, 0), 1.7)
        noise /= noise.std()
    return noise


def _noise(dice: Dice, shape: tuple[int, int], smooth: bool) -> np.ndarray:
    """Unit normal noise (h, w) float32, white or with a grain of about four pixels: a random window of stored noise."""
    bank = _bank(smooth)
    h, w = shape
    while min(bank.shape) <= max(h, w):  # images larger than the bank
        bank = np.tile(bank, (2, 2))
    y, x = int(dice.noise.integers(bank.shape[0] - h)), int(dice.noise.integers(bank.shape[1] - w))
    window = bank[y : y + h, x : x + w]
    if dice.noise.random() < 0.5:
        window = window[:, ::-1]
    return window if dice.noise.random() < 0.5 else -window
