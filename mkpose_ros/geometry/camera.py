"""The pinhole camera: pixels and depth to points, and back."""

from __future__ import annotations

import numpy as np

from mkpose_ros.types import CameraIntrinsics

__all__ = ["camera_matrix", "deproject", "intrinsics_from_matrix", "project"]


def camera_matrix(intrinsics: CameraIntrinsics) -> np.ndarray:
    """The (3, 3) float64 matrix K of a pinhole camera."""
    k = intrinsics
    return np.array([[k.fx, 0.0, k.cx], [0.0, k.fy, k.cy], [0.0, 0.0, 1.0]])


def intrinsics_from_matrix(K: np.ndarray, width: int, height: int) -> CameraIntrinsics:
    """The intrinsics of a (3, 3) matrix K for an image of width x height pixels."""
    K = np.asarray(K, dtype=np.float64)
    fx, fy, cx, cy = (float(K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return CameraIntrinsics(fx, fy, cx, cy, int(width), int(height))


def deproject(u_px: np.ndarray, v_px: np.ndarray, depth_m: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """Points (..., 3) float32 in the camera frame of pixels (u, v), each array (...), at depth_m (...).

    >>> deproject(np.array([2.0]), np.array([1.0]), np.array([2.0]), CameraIntrinsics(2, 2, 1, 1, 4, 3))
    array([[1., 0., 2.]], dtype=float32)
    """
    k = intrinsics
    z = np.asarray(depth_m, dtype=np.float32)
    x = (np.asarray(u_px, dtype=np.float32) - np.float32(k.cx)) * z / np.float32(k.fx)
    y = (np.asarray(v_px, dtype=np.float32) - np.float32(k.cy)) * z / np.float32(k.fy)
    return np.stack([x, y, z], axis=-1)


def project(points_cam_m: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """Pixels (..., 2) float64 of points (..., 3) in the camera frame; NaN where z is not positive."""
    k = intrinsics
    points = np.asarray(points_cam_m, dtype=np.float64)
    z = np.where(points[..., 2] > 0.0, points[..., 2], np.nan)
    return np.stack([k.fx * points[..., 0] / z + k.cx, k.fy * points[..., 1] / z + k.cy], axis=-1)
