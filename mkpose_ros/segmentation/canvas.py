"""What the network is given of a frame: colour and relief, scaled to fit its input."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from mkpose_ros.array_pool import Empty
from mkpose_ros.segmentation.base import check_rgb
from mkpose_ros.segmentation.relief import COLOURS, RELIEF_CHANNELS, no_relief, relief_image
from mkpose_ros.types import CameraIntrinsics, RgbdFrame

__all__ = ["fitted", "frame_without_depth", "letterbox", "relief_at"]


def fitted(
    frame: RgbdFrame, height: int, width: int, fill: int, relief: bool, empty: Empty = np.empty
) -> tuple[np.ndarray, float]:
    """A (height, width, 3) uint8 canvas with a frame's picture top left, or (height, width, 7) with its relief behind
    the colours, and the scale (canvas / image pixels). Raises InputError for a picture that is none."""
    canvas, scale = letterbox(check_rgb(frame.rgb, "segmenter"), height, width, fill, empty)
    if not relief:
        return canvas, scale
    seen = relief_at(frame, *_fit(frame.rgb.shape[:2], scale), empty)
    if seen.shape[:2] != (height, width):
        behind = no_relief(height, width, empty)
        behind[: seen.shape[0], : seen.shape[1]] = seen
        seen = behind
    return cv2.merge((canvas, seen), empty((height, width, COLOURS + RELIEF_CHANNELS), np.uint8)), scale


def relief_at(frame: RgbdFrame, height: int, width: int, empty: Empty = np.empty) -> np.ndarray:
    """The relief (height, width, 4) of a frame whose picture is scaled to that size."""
    rows, columns = frame.depth_m.shape
    sy, sx, k = height / rows, width / columns, frame.intrinsics
    scaled_m = empty((height, width), np.float32)
    cv2.resize(frame.depth_m, (width, height), scaled_m, interpolation=cv2.INTER_NEAREST)
    cx, cy = (k.cx + 0.5) * sx - 0.5, (k.cy + 0.5) * sy - 0.5
    camera = replace(k, fx=k.fx * sx, fy=k.fy * sy, cx=cx, cy=cy, width=width, height=height)
    return relief_image(scaled_m, camera, empty)


def letterbox(rgb: np.ndarray, height: int, width: int, fill: int, empty: Empty = np.empty) -> tuple[np.ndarray, float]:
    """A (H, W, 3) image scaled to fit a (height, width, 3) canvas, top left, and the scale (canvas / image pixels)."""
    scale = min(height / rgb.shape[0], width / rgb.shape[1])
    if scale == 1.0 and rgb.shape[:2] == (height, width):
        return np.ascontiguousarray(rgb), 1.0
    new_height, new_width = _fit(rgb.shape[:2], scale)
    interpolation = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    canvas = empty((height, width, 3), np.uint8)
    canvas[new_height:] = fill
    canvas[:, new_width:] = fill
    cv2.resize(rgb, (new_width, new_height), canvas[:new_height, :new_width], interpolation=interpolation)
    return canvas, scale


def frame_without_depth(rgb: np.ndarray) -> RgbdFrame:
    """A (H, W, 3) picture as a frame that nothing was measured in."""
    height, width = rgb.shape[:2]
    camera = CameraIntrinsics(float(width), float(width), width / 2, height / 2, width, height)
    return RgbdFrame(rgb, np.zeros((height, width), np.float32), camera)


def _fit(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """The height and width of a picture that is scaled."""
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)
