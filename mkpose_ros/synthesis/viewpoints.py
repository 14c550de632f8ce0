"""Where cameras stand and what lenses they have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.synthesis.scene import Camera, Placed, SceneConfig
from mkpose_ros.types import CameraIntrinsics

__all__ = ["look_at", "random_camera", "random_intrinsics"]

_CLOSEST_M = 0.12  # nearer than that a thing fills the image and depth sensors see nothing


def look_at(eye: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """T_world_cam (4, 4) of a camera at ``eye`` (3,) that looks at ``target``, upright but for ``roll`` (rad)."""
    z = np.asarray(target, dtype=np.float64) - eye
    z = z / max(float(np.linalg.norm(z)), 1e-9)
    up = np.array([0.0, 0.0, 1.0]) if abs(z[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z], axis=1) @ Rotation.from_rotvec([0.0, 0.0, roll]).as_matrix()
    return compose_pose(R, eye)


def random_intrinsics(rng: np.random.Generator, config: SceneConfig) -> CameraIntrinsics:
    """A lens: focal length log-uniform in the config's range, the principal point near the middle."""
    scale = config.width / 640.0
    low, high = config.focal_px
    # Most cameras for tables have 55 to 70 degrees: half of the lenses are from that range.
    f = np.exp(rng.uniform(np.log(low), np.log(high))) if rng.random() < 0.5 else rng.uniform(460.0, 640.0)
    f = float(np.clip(f, low, high)) * scale
    cx = 0.5 * (config.width - 1) + rng.normal(0.0, 0.012) * config.width
    cy = 0.5 * (config.height - 1) + rng.normal(0.0, 0.012) * config.height
    return CameraIntrinsics(f, f * rng.uniform(0.995, 1.005), float(cx), float(cy), config.width, config.height)


def _room_before(eye: np.ndarray, things: Sequence[Placed]) -> float:
    """Metres from a camera to the nearest thing's bounding sphere."""
    gaps = [np.linalg.norm(eye - t.T_world_obj[:3, 3]) - 0.5 * np.linalg.norm(t.shape.size_m) for t in things]
    return float(min(gaps, default=np.inf))


def random_camera(rng: np.random.Generator, config: SceneConfig, things: Sequence[Placed], spread_m: float) -> Camera:
    """A camera that looks at the middle of the things, roughly."""
    intrinsics = random_intrinsics(rng, config)
    low, high = config.distance_m
    # So far that the group fills about the image for this lens, half as near to half as far again, within the range.
    group_m = 2.2 * spread_m + 0.15
    fitting = group_m * intrinsics.fx / config.width
    distance = float(np.clip(fitting * np.exp(rng.uniform(np.log(0.55), np.log(1.6))), low, high))
    elevation = np.radians(rng.uniform(*config.elevation_deg))
    azimuth = rng.uniform(-np.pi, np.pi)
    middle = np.mean([t.T_world_obj[:3, 3] for t in things], axis=0) if things else np.zeros(3)
    target = middle + rng.normal(0.0, 0.3 * spread_m, 3) * [1.0, 1.0, 0.3]
    out = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    roll = rng.normal(0.0, np.radians(5.0)) if rng.random() < 0.85 else rng.uniform(-np.pi, np.pi)
    eye = target + distance * out
    while _room_before(eye, things) < _CLOSEST_M and distance < high:
        distance *= 1.15
        eye = target + distance * out
    eye[2] = max(eye[2], 0.08)
    return Camera(intrinsics, look_at(eye, target, float(roll)))
