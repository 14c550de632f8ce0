"""Detections of objects that stand on a table, as an estimator with noise would give them."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.rotations import compose_pose, invert_pose
from mkpose_ros.types import CameraIntrinsics, ObjectPose, RgbdFrame, Symmetry

ROUND = Symmetry(("y",))
NONE = Symmetry()
PERIOD_NS = 100_000_000


def detection(
    category, T_cam_obj, *, symmetry=NONE, score=0.9, size_m=(0.1, 0.1, 0.1), sigma=(0.005, 0.05)
) -> ObjectPose:
    covariance = np.diag(np.repeat(np.square(sigma), 3))
    mask, box = None, np.zeros(4, np.float32)
    size = np.asarray(size_m, float)
    return ObjectPose(category, score, T_cam_obj, size, covariance, symmetry, box, np.zeros((0, 3), np.float32), mask)


def at(stamp_ns: int, T_world_cam: np.ndarray | None = None) -> RgbdFrame:
    blank = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)
    return RgbdFrame(*blank, CameraIntrinsics(5, 5, 2, 2, 4, 4), stamp_ns, "camera", T_world_cam)


def camera(time_s: float) -> np.ndarray:
    """T_world_cam of a camera that sways 1 m above a table, looking down."""
    look_down = Rotation.from_euler("x", 180, degrees=True)
    sway = Rotation.from_rotvec([0.2 * np.sin(time_s), 0.2 * np.cos(0.7 * time_s), 0.3 * np.sin(0.5 * time_s)])
    return compose_pose((sway * look_down).as_matrix(), [0.1 * np.sin(time_s), 0.1 * np.cos(time_s), 1.0])


def measure(rng, T_cam_obj, symmetry, sigma_m=0.004, sigma_rad=0.06) -> np.ndarray:
    """A pose with noise, and about a continuous axis with any turn at all."""
    R = T_cam_obj[:3, :3]
    if symmetry.infinite_axes:
        R = R @ Rotation.from_rotvec([0, rng.uniform(-np.pi, np.pi), 0]).as_matrix()
    R = Rotation.from_rotvec(rng.normal(0, sigma_rad, 3)).as_matrix() @ R
    return compose_pose(R, T_cam_obj[:3, 3] + rng.normal(0, sigma_m, 3))


def scene() -> dict[str, tuple[np.ndarray, Symmetry]]:
    return {
        "mug": (compose_pose(Rotation.from_euler("y", 40, degrees=True).as_matrix(), [0.1, 0.0, 0.0]), NONE),
        "bottle": (compose_pose(np.eye(3), [-0.15, 0.1, 0.0]), ROUND),
        "bowl": (compose_pose(Rotation.from_euler("x", 10, degrees=True).as_matrix(), [0.0, -0.2, 0.0]), ROUND),
    }


def run(tracker, frames, rng, *, world: bool):
    """Raw and tracked poses of the scene over time: {category: [(truth, raw, tracked, track_id)]}."""
    history = {category: [] for category in scene()}
    for k in range(frames):
        T_world_cam = camera(k * 0.1)
        truth = {c: (invert_pose(T_world_cam) @ T, s) for c, (T, s) in scene().items()}
        raw = [detection(c, measure(rng, T, s), symmetry=s, sigma=(0.004, 0.06)) for c, (T, s) in truth.items()]
        tracked = tracker.update(at(k * PERIOD_NS, T_world_cam if world else None), raw)
        for r, t in zip(raw, tracked, strict=True):
            history[r.category].append((truth[r.category][0], r.T_cam_obj, t.T_cam_obj, t.track_id))
    return history


def masked(category: str, x0: int, *, x_m: float = 0.0, score: float = 0.9) -> ObjectPose:
    mask = np.zeros((48, 64), bool)
    mask[10:30, x0 : x0 + 20] = True
    pose = detection(category, compose_pose(np.eye(3), [x_m, 0, 1.0]), score=score)
    return replace(pose, mask=mask, box2d=np.float32([x0, 10, x0 + 20, 30]))
