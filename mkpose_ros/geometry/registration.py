"""Depth moved onto the colour image's pixel grid."""

from __future__ import annotations

import numpy as np

from mkpose_ros.geometry.camera import deproject
from mkpose_ros.types import CameraIntrinsics

__all__ = ["register_depth"]


def register_depth(
    depth_m: np.ndarray, depth_camera: CameraIntrinsics, color_camera: CameraIntrinsics, T_color_depth: np.ndarray
) -> np.ndarray:
    """The (H, W) float32 depth in metres seen by the colour camera of a depth image (h, w); 0 where nothing lands.

    Each depth pixel is projected as a square of the size that it has in the colour image, the nearest surface wins.
    T_color_depth (4, 4) takes points of the depth camera to the colour camera.
    """
    v, u = np.nonzero(depth_m > 0.0)
    points = deproject(u, v, depth_m[v, u], depth_camera) @ T_color_depth[:3, :3].T + T_color_depth[:3, 3]
    points = points[points[:, 2] > 0.0]
    z = points[:, 2].astype(np.float32)
    x = np.rint(points[:, 0] / z * color_camera.fx + color_camera.cx).astype(np.int64)
    y = np.rint(points[:, 1] / z * color_camera.fy + color_camera.cy).astype(np.int64)
    registered = np.full((color_camera.height, color_camera.width), np.inf, np.float32)
    reach = int(np.ceil(max(color_camera.fx / depth_camera.fx, color_camera.fy / depth_camera.fy))) // 2
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            inside = (x + dx >= 0) & (x + dx < color_camera.width) & (y + dy >= 0) & (y + dy < color_camera.height)
            np.minimum.at(registered, (y[inside] + dy, x[inside] + dx), z[inside])
    registered[np.isinf(registered)] = 0.0
    return registered
