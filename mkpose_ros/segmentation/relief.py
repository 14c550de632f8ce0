"""Depth as a picture: what a network for colour images can read of a surface's shape and of its scale.

Raw depth says little to convolutions: an object stands out of a table by a hundredth of it. What is drawn here is the
same wherever the camera stands and whatever its lens: the direction that a surface faces, how far it lies off its
surroundings, and how large a pixel is there.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from mkpose_ros.array_pool import Empty
from mkpose_ros.types import CameraIntrinsics

__all__ = ["COLOURS", "RELIEF_CHANNELS", "no_relief", "relief_image"]

COLOURS = 3  # channels of a picture, which come first where relief is behind them
RELIEF_CHANNELS = 4
MIDDLE = 127.0  # of a byte: no slope, no step, nothing measured
NOTHING = (0.0, MIDDLE, MIDDLE, MIDDLE)  # where nothing was measured
_PIXEL_M = (1e-4, 0.03)  # what the bytes 1 and 255 of the first channel say of a pixel's size, in logarithmic steps
_LEAST_M, _MOST_M = 1e-3, 1e6
_SMOOTH_PX, _REACH_PX = 5, 2  # slopes are taken between means of 5x5 pixels, 2 to each side
_AROUND_PX = 65
_STEPS = 640.0  # bytes of the last channel for a relative depth: one is 1.6 mm at a metre


def relief_image(depth_m: np.ndarray, intrinsics: CameraIntrinsics, empty: Empty = np.empty) -> np.ndarray:
    """A depth image (H, W) float32, metres, 0 or not finite where nothing was measured, as (H, W, 4) uint8.

    Channels: the logarithm of a pixel's size in metres (0: not measured), the x and y of the surface's normal in the
    camera frame, and the logarithm of its depth over the mean depth within 32 pixels. `empty` makes all arrays.
    """
    new = partial(empty, depth_m.shape)
    valid = cv2.inRange(depth_m, _LEAST_M, _MOST_M, new(np.uint8))  # 255 or 0; a NaN is in no range
    weight, known_m = np.not_equal(valid, 0, out=new(np.float32)), new(np.float32)
    known_m.fill(0)
    cv2.copyTo(depth_m, valid, known_m)
    nx, ny = _normals(_mean(known_m, weight, _SMOOTH_PX, empty), intrinsics, empty)
    around_m = _mean(known_m, weight, _AROUND_PX, empty)
    gap = np.subtract(1.0, weight, out=weight)
    known_m += gap
    around_m += gap
    logarithm, around = cv2.log(known_m, new(np.float32)), cv2.log(around_m, new(np.float32))
    low, high = np.log(_PIXEL_M)
    per_step = 254.0 / (high - low)
    first = 1.0 - per_step * (low + np.log(0.5 * (intrinsics.fx + intrinsics.fy)))
    scale = cv2.addWeighted(logarithm, per_step, logarithm, 0.0, first, known_m)
    step = cv2.addWeighted(logarithm, _STEPS, around, -_STEPS, MIDDLE, around_m)
    np.maximum(scale, 1.0, out=scale)
    np.clip(step, 0.0, 254.0, out=step)
    drawn = ((scale, 1.0, 0.0), (nx, MIDDLE, MIDDLE), (ny, MIDDLE, MIDDLE), (step, 1.0, 0.0))
    channels = [_bytes(*c, valid, nothing, empty) for c, nothing in zip(drawn, NOTHING, strict=True)]
    return cv2.merge(channels, empty((*depth_m.shape, RELIEF_CHANNELS), np.uint8))


def no_relief(height: int, width: int, empty: Empty = np.empty) -> np.ndarray:
    """The relief of a picture without any depth."""
    relief = empty((height, width, RELIEF_CHANNELS), np.uint8)
    relief[...] = NOTHING
    return relief


def _mean(depth_m: np.ndarray, weight: np.ndarray, width_px: int, empty: Empty) -> np.ndarray:
    """The mean of the measured depths around each pixel, below _LEAST_M where there is none."""
    total, share = (empty(depth_m.shape, np.float32) for _ in range(2))
    cv2.boxFilter(depth_m, -1, (width_px, width_px), total, borderType=cv2.BORDER_CONSTANT)
    cv2.boxFilter(weight, -1, (width_px, width_px), share, borderType=cv2.BORDER_CONSTANT)
    np.maximum(share, 0.5 / width_px**2, out=share)
    return np.divide(total, share, out=total)


def _normals(depth_m: np.ndarray, k: CameraIntrinsics, empty: Empty) -> tuple[np.ndarray, np.ndarray]:
    """x and y (H, W) of the unit normals that point away from the camera; 0 beside what was not measured.

    With z of the pixel (u, v) the normal is along (-fx z_u, -fy z_v, z + (u - cx) z_u + (v - cy) z_v).
    """
    new = partial(empty, depth_m.shape, np.float32)
    _, measured = cv2.threshold(depth_m, _LEAST_M, 1.0, cv2.THRESH_BINARY, new())
    z_u = _slope_along_rows(depth_m, measured, new())
    z_v = _slope_along_rows(depth_m.T, measured.T, new().T).T
    height, width = depth_m.shape
    u, v = np.arange(width, dtype=np.float32) - np.float32(k.cx), np.arange(height, dtype=np.float32) - np.float32(k.cy)
    nz = np.multiply(u, z_u, out=new())
    nz += depth_m
    nz += np.multiply(v[:, None], z_v, out=measured)
    nx, ny = np.multiply(z_u, np.float32(-k.fx), out=z_u), np.multiply(z_v, np.float32(-k.fy), out=z_v)
    length = cv2.magnitude(cv2.magnitude(nx, ny, new()), nz, new())
    np.maximum(length, 1e-9, out=length)
    return np.divide(nx, length, out=nx), np.divide(ny, length, out=ny)


def _slope_along_rows(depth_m: np.ndarray, measured: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Metres per pixel to the right, 0 where a neighbour was not `measured` (1 or 0), written into `slope`."""
    ahead, behind = np.s_[:, 2 * _REACH_PX :], np.s_[:, : -2 * _REACH_PX]
    slope.fill(0)
    inner = np.subtract(depth_m[ahead], depth_m[behind], out=slope[:, _REACH_PX:-_REACH_PX])
    inner *= measured[ahead]
    inner *= measured[behind]
    slope *= np.float32(0.5 / _REACH_PX)
    return slope


def _bytes(
    values: np.ndarray, factor: float, offset: float, valid: np.ndarray, nothing: float, empty: Empty
) -> np.ndarray:
    """factor * values + offset, which must not be negative, as the nearest uint8; `nothing` where it is not valid."""
    rounded, kept = (empty(values.shape, np.uint8) for _ in range(2))
    kept.fill(nothing)
    return cv2.copyTo(cv2.convertScaleAbs(values, rounded, factor, offset), valid, kept)
