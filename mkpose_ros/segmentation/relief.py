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
_LEAST_M, _MOST_M = 1e-3, 1e6
_SMOOTH_PX, _REACH_PX = 5, 2  # slopes are taken between means of 5x5 pixels, 2 to each side
_AROUND_PX = 65
_STEPS = 640.0  # bytes of the last channel for a relative depth: one is 1.6 mm at a metre


def relief_image(depth_m: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """A depth image (H, W) float32, metres, 0 or not finite where nothing was measured, as (H, W, 4) uint8.

    Channels: the logarithm of a pixel's size in metres (0: not measured), the x and y of the surface's normal in the
    camera frame, and the logarithm of its depth over the mean depth within 32 pixels.
    """
    valid = cv2.inRange(depth_m, _LEAST_M, _MOST_M)  # 255 or 0; a NaN is in no range
    weight = (valid & 1).astype(np.float32)
    depth_m = cv2.bitwise_and(depth_m, depth_m, mask=valid)
    nx, ny = _normals(_mean(depth_m, weight, _SMOOTH_PX), intrinsics)
    logarithm = cv2.log(depth_m + (1.0 - weight))
    around = cv2.log(_mean(depth_m, weight, _AROUND_PX) + (1.0 - weight))
    low, high = np.log(_PIXEL_M)
    per_step = 254.0 / (high - low)
    first = 1.0 - per_step * (low + np.log(0.5 * (intrinsics.fx + intrinsics.fy)))
    scale = cv2.max(cv2.addWeighted(logarithm, per_step, logarithm, 0.0, first), 1.0)
    step = cv2.max(cv2.addWeighted(logarithm, _STEPS, around, -_STEPS, MIDDLE), 0.0)
    channels = (_bytes(scale), _bytes(nx, MIDDLE, MIDDLE), _bytes(ny, MIDDLE, MIDDLE), _bytes(cv2.min(step, 254.0)))
    return cv2.merge([_kept(c, valid, nothing) for c, nothing in zip(channels, NOTHING, strict=True)])


def no_relief(height: int, width: int) -> np.ndarray:
    """The relief of a picture without any depth."""
    return np.full((height, width, RELIEF_CHANNELS), NOTHING, np.uint8)


def _mean(depth_m: np.ndarray, weight: np.ndarray, width_px: int) -> np.ndarray:
    """The mean of the measured depths around each pixel, below _LEAST_M where there is none."""
    size = (width_px, width_px)
    total = cv2.boxFilter(depth_m, -1, size, borderType=cv2.BORDER_CONSTANT)
    share = cv2.boxFilter(weight, -1, size, borderType=cv2.BORDER_CONSTANT)
    return cv2.divide(total, cv2.max(share, 0.5 / width_px**2))


def _normals(depth_m: np.ndarray, k: CameraIntrinsics) -> tuple[np.ndarray, np.ndarray]:
    """x and y (H, W) of the unit normals that point away from the camera; 0 beside what was not measured.

    With z of the pixel (u, v) the normal is along (-fx z_u, -fy z_v, z + (u - cx) z_u + (v - cy) z_v).
    """
    z_u, z_v = _slope_along_rows(depth_m), _slope_along_rows(depth_m.T).T
    height, width = depth_m.shape
    u, v = np.arange(width, dtype=np.float32) - np.float32(k.cx), np.arange(height, dtype=np.float32) - np.float32(k.cy)
    nz = depth_m + u * z_u + v[:, None] * z_v
    nx, ny = np.float32(-k.fx) * z_u, np.float32(-k.fy) * z_v
    length = cv2.max(cv2.magnitude(cv2.magnitude(nx, ny), nz), 1e-9)
    return nx / length, ny / length


def _slope_along_rows(depth_m: np.ndarray) -> np.ndarray:
    """Metres per pixel to the right, 0 where a neighbour was not measured."""
    ahead, behind = depth_m[:, 2 * _REACH_PX :], depth_m[:, : -2 * _REACH_PX]
    slope = np.zeros_like(depth_m)
    inner = slope[:, _REACH_PX:-_REACH_PX]
    np.subtract(ahead, behind, out=inner, where=(ahead > _LEAST_M) & (behind > _LEAST_M))
    slope *= np.float32(0.5 / _REACH_PX)
    return slope


def _bytes(values: np.ndarray, factor: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """factor * values + offset, which must not be negative, as the nearest uint8."""
    return cv2.convertScaleAbs(values, alpha=factor, beta=offset)


def _kept(channel: np.ndarray, valid: np.ndarray, nothing: float) -> np.ndarray:
    return cv2.copyTo(channel, valid, np.full_like(channel, nothing))
