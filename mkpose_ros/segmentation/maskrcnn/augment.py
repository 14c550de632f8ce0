"""What makes a rendered picture look like many: another view of it, and another camera's faults."""

from __future__ import annotations

import cv2
import numpy as np

from mkpose_ros.segmentation.relief import relief_image
from mkpose_ros.types import CameraIntrinsics

__all__ = ["degrade", "faded", "random_view", "relief_of_view", "view_of"]

FILL = 127
_WRONG_SCALE = 0.02  # of depth, as cameras are badly calibrated


def random_view(
    picture: tuple[int, int], size: tuple[int, int], scale_range: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """A (2, 3) affine matrix from a picture to an input (heights and widths): scale, flip, roll and a random crop."""
    fit = min(size[0] / picture[0], size[1] / picture[1])
    scale = fit * np.exp(rng.uniform(*np.log(scale_range)))
    angle = np.deg2rad(rng.normal(0.0, 6.0))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    linear = scale * np.array([[flip * np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), np.cos(angle)]])
    centre = np.array([picture[1], picture[0]]) / 2
    slack = np.maximum(np.array([picture[1], picture[0]]) * scale - np.array([size[1], size[0]]), 0.0) / 2
    spare = np.maximum(np.array([size[1], size[0]]) - np.array([picture[1], picture[0]]) * scale, 0.0) / 2
    target = np.array([size[1], size[0]]) / 2 + rng.uniform(-1, 1, 2) * (slack + spare)
    return np.column_stack([linear, target - linear @ centre])


def view_of(
    image: np.ndarray, ids: np.ndarray, transform: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) and its ids (H, W), moved by the affine matrix onto a canvas of `size`."""
    scale = np.sqrt(abs(np.linalg.det(transform[:, :2])))
    if scale < 0.7:  # bilinear sampling alone would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.35 / scale)
    moved = cv2.warpAffine(image, transform, size[::-1], flags=cv2.INTER_LINEAR, borderValue=(FILL, FILL, FILL))
    return moved, cv2.warpAffine(ids, transform, size[::-1], flags=cv2.INTER_NEAREST, borderValue=0)


def relief_of_view(
    depth_m: np.ndarray,
    camera: CameraIntrinsics,
    transform: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """The relief (h, w, 4) of a depth image (H, W) moved like `view_of`: what a camera sees that is turned, has another
    lens, or looks into a mirror."""
    moved_m = cv2.warpAffine(depth_m, transform, size[::-1], flags=cv2.INTER_NEAREST, borderValue=0)
    moved_m *= np.float32(np.exp(rng.normal(0.0, _WRONG_SCALE)))
    scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
    cx, cy = (transform @ [camera.cx, camera.cy, 1.0]).tolist()
    return relief_image(moved_m, CameraIntrinsics(camera.fx * scale, camera.fy * scale, cx, cy, size[1], size[0]))


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other light, white balance, focus, motion, noise, sharpening and compression; (H, W, 3) uint8 in and out."""
    table = np.arange(256, dtype=np.float32)[:, None] / 255.0
    gain = np.exp(rng.normal(0.0, 0.25)) * np.exp(rng.normal(0.0, 0.08, 3))
    table = np.clip((table ** np.exp(rng.normal(0.0, 0.2)) - 0.5) * np.exp(rng.normal(0.0, 0.2)) + 0.5, 0, 1) * gain
    image = np.stack([cv2.LUT(image[..., c], _as_bytes(table[:, c] * 255.0)) for c in range(3)], axis=-1)
    if rng.random() < 0.5:
        image = _saturate(image, float(np.exp(rng.normal(-0.1, 0.45))) if rng.random() < 0.85 else 0.0)
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    elif rng.random() < 0.15:
        image = cv2.filter2D(image, -1, _motion_kernel(int(rng.integers(3, 8)), rng.uniform(0, np.pi)))
    if rng.random() < 0.5:
        grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(1.0, 12.0)
        image = _as_bytes(image + grain)
    if rng.random() < 0.3:  # depth cameras sharpen what they see, noise too
        soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.6))
        amount = rng.uniform(0.3, 2.5)
        image = cv2.addWeighted(image, 1.0 + amount, soft, -amount, 0.0)
    if rng.random() < 0.4:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return image


def faded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture (H, W, 3) uint8 of which little or nothing is left in a grey."""
    left = max(rng.uniform(-0.2, 0.3), 0.0)
    return cv2.addWeighted(image, left, np.full_like(image, FILL), 1.0 - left, 0.0)


def _saturate(image: np.ndarray, factor: float) -> np.ndarray:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1.0 - factor, 0.0)


def _motion_kernel(length: int, angle: float) -> np.ndarray:
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    step = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = np.round(middle - step).astype(int), np.round(middle + step).astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
    return kernel / kernel.sum()


def _as_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)
