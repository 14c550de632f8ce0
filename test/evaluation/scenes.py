"""Predictions and truths made by hand or at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.datasets.base import view_symmetry
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.types import ObjectPose, ObjectTruth

DEFAULT_SIZE = (0.12, 0.09, 0.09)


def pose_at(t=(0.0, 0.0, 1.0), turn=(0.0, 0.0, 0.0)) -> np.ndarray:
    """A pose (4, 4) with a translation in metres and a rotation vector in degrees."""
    return compose_pose(Rotation.from_rotvec(np.radians(turn)).as_matrix(), np.asarray(t, dtype=np.float64))


def prediction(T, size_m=DEFAULT_SIZE, category="camera", score=1.0, covariance=None) -> ObjectPose:
    return ObjectPose(
        category=category,
        score=score,
        T_cam_obj=np.asarray(T, dtype=np.float64),
        size_m=np.asarray(size_m, dtype=np.float64),
        covariance=np.zeros((6, 6)) if covariance is None else covariance,
        symmetry=view_symmetry(category, True),
        box2d=np.array([1, 1, 5, 5], np.float32),
        keypoints_m=np.zeros((0, 3), np.float32),
    )


def truth(T, size_m=DEFAULT_SIZE, category="camera", handle_visible=True, instance_id=1) -> ObjectTruth:
    size_m = np.asarray(size_m, dtype=np.float64)
    symmetry = view_symmetry(category, handle_visible)
    return ObjectTruth(
        instance_id, category, "model", np.asarray(T, dtype=np.float64), size_m, symmetry, handle_visible
    )


def random_scene(rng: np.random.Generator, categories: Sequence[str]) -> tuple[list[ObjectPose], list[ObjectTruth]]:
    """One image: some objects found, well or badly or twice or with equal scores, some missed, some invented."""
    predictions, truths = [], []
    for instance_id in range(1, rng.integers(1, 8)):
        category = str(rng.choice(categories))
        T = compose_pose(Rotation.random(random_state=rng).as_matrix(), rng.uniform([-0.3, -0.2, 0.5], [0.3, 0.2, 1.5]))
        size_m = rng.uniform(0.05, 0.3, 3)
        truths.append(truth(T, size_m, category, bool(rng.integers(2)), instance_id))
        for _ in range(rng.choice([0, 1, 1, 1, 1, 2])):
            noise = rng.choice([0.1, 0.3, 1.0, 3.0])
            turn = Rotation.from_rotvec(rng.normal(0.0, 0.08 * noise, 3)).as_matrix()
            if rng.random() < 0.3:
                turn = turn @ Rotation.from_euler("y", rng.uniform(0.0, 2.0 * np.pi)).as_matrix()
            noisy = compose_pose(T[:3, :3] @ turn, T[:3, 3] + rng.normal(0.0, 0.015 * noise, 3))
            size = size_m * np.exp(rng.normal(0.0, 0.1 * noise, 3))
            predictions.append(prediction(noisy, size, category, _score(rng)))
    if rng.random() < 0.3:
        invented = pose_at(rng.uniform([-0.3, -0.2, 0.5], [0.3, 0.2, 1.5]))
        predictions.append(prediction(invented, rng.uniform(0.05, 0.3, 3), str(rng.choice(categories)), _score(rng)))
    return predictions, truths


def _score(rng: np.random.Generator) -> float:
    """Different from all others but for rounding noise of the sort order: ties have their own tests."""
    return float(rng.random())
