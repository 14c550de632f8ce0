"""Depth as a picture: what a network for colour images can read of a surface's shape and of its scale.

Raw depth says little to convolutions: an object stands out of a table by a hundredth of it. What is drawn here is the
same wherever the camera stands and whatever its lens: the direction that a surface faces, how far it lies off its
surroundings, and how large a pixel is there.
"""

from __future__ import annotations

import cv2
import numpy as np

from mkpose_ros.types import CameraIntrinsics

__all__ = ["RELIEF_CHANNELS", "no_relief", "relief_image"]

RELIEF_CHANNELS = 4
MIDDLE = 127.0  # of a byte: no slope, no step, nothing measured
NOTHING = (0.0, MIDDLE, MIDDLE, MIDDLE)  # where nothing was measured
_PIXEL_M = (1e-4, 0.03)  # what the bytes 1 and 255 of the first channel say of a pixel's size, in logarithmic steps
_SMOOTH_PX, _REACH_PX = 5, 2  # slopes are taken between means of 5x5 pixels, 2 to each side
_AROUND_PX = 65
_STEPS = 640.0  # bytes of the last channel for a relative depth: one is 1.6 mm at a metre


def relief_image(depth_m: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """A depth image (H, W) float32, metres, 0 or not finite where nothing was measured, as (H, W, 4) uint8.

    Channels: the logarithm of a pixel's size in metres (0: not measured), the x and y of the surface's normal in the
    camera frame, and the logarithm of its depth over the mean depth within 32 pixels.
    """
    valid = (depth_m > 0.0) & (depth_m < np.inf)
    weight = valid.astype(np.float32)
    depth_m = np.where(valid, depth_m, np.float32(0.0))
    near = _mean(depth_m, weight, _SMOOTH_PX)
    nx, ny = _normals(near, intrinsics)
    focal_px = np.float32(0.5 * (intrinsics.fx + intrinsics.fy))
    safe_m = np.where(valid, depth_m, np.float32(1.0))
    low, high = np.log(np.float32(_PIXEL_M))
    scale = 1.0 + (cv2.log(safe_m / focal_px) - low) * (254.0 / (high - low))
    around = np.where(valid, _mean(depth_m, weight, _AROUND_PX), np.float32(1.0))
    step = MIDDLE + _STEPS * cv2.log(safe_m / around)
    relief = cv2.merge([np.clip(scale, 1.0, 255.0), MIDDLE + MIDDLE * nx, MIDDLE + MIDDLE * ny, np.clip(step, 0, 254)])
    relief[~valid] = NOTHING
    return np.rint(relief).astype(np.uint8)


def no_relief(height: int, width: int) -> np.ndarray:
    """The relief of a picture without any depth."""
    return np.full((height, width, RELIEF_CHANNELS), NOTHING, np.uint8)


def _mean(depth_m: np.ndarray, weight: np.ndarray, width_px: int) -> np.ndarray:
    """The mean of the measured depths around each pixel, 0 where there is none."""
    size = (width_px, width_px)
    total = cv2.boxFilter(depth_m, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    count = cv2.boxFilter(weight, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.where(count > 0.5, total / np.maximum(count, 1.0), np.float32(0.0))


def _normals(depth_m: np.ndarray, k: CameraIntrinsics) -> tuple[np.ndarray, np.ndarray]:
    """x and y (H, W) of the unit normals that point away from the camera; 0 beside what was not measured.

    With z of the pixel (u, v) the normal is along (-fx z_u, -fy z_v, z + (u - cx) z_u + (v - cy) z_v).
    """
    z_u, z_v = _slope(depth_m, 1), _slope(depth_m, 0)
    height, width = depth_m.shape
    u, v = np.arange(width, dtype=np.float32) - np.float32(k.cx), np.arange(height, dtype=np.float32) - np.float32(k.cy)
    nz = depth_m + u * z_u + v[:, None] * z_v
    nx, ny = np.float32(-k.fx) * z_u, np.float32(-k.fy) * z_v
    length = np.maximum(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-9))
    return nx / length, ny / length


def _slope(depth_m: np.ndarray, axis: int) -> np.ndarray:
    """Metres per pixel along an axis, 0 where a neighbour was not measured."""
    ahead, behind = np.roll(depth_m, -_REACH_PX, axis), np.roll(depth_m, _REACH_PX, axis)
    slope = np.where((ahead > 0.0) & (behind > 0.0), (ahead - behind) / (2.0 * _REACH_PX), np.float32(0.0))
    border = [slice(None)] * 2
    for border[axis] in (slice(None, _REACH_PX), slice(-_REACH_PX, None)):
        slope[tuple(border)] = 0.0
    return slope
