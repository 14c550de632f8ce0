"""From the network's log variances to the covariance of a pose in camera axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mkpose_ros.types import Symmetry

__all__ = ["UNIFORM_TURN_VARIANCE", "pose_covariance", "variance_scale"]

UNIFORM_TURN_VARIANCE = np.pi**2 / 3.0  # rad^2 of an angle about which nothing is known, uniform on a full turn
LEAST_VARIANCE = np.array([1e-8] * 3 + [1e-6] * 3)  # (0.1 mm)^2 and (0.06 degrees)^2: no camera knows better
MOST_VARIANCE = np.array([1e2] * 3 + [UNIFORM_TURN_VARIANCE] * 3)  # (10 m)^2 and nothing known


def variance_scale(calibration: Mapping[str, Any]) -> np.ndarray:
    """The factors (6,) of a model's calibration, fitted on held-out data; ones for an uncalibrated model."""
    return np.asarray(calibration.get("variance_scale", np.ones(6)), dtype=np.float64)


def pose_covariance(
    log_variance: np.ndarray, scale: np.ndarray, rotation: np.ndarray, symmetry: Symmetry
) -> np.ndarray:
    """The covariance (6, 6) in camera axes: x, y, z in m^2, then turns about x, y, z in rad^2.

    ``log_variance (6,)`` holds translation along the camera's axes, then turns about the object's axes;
    ``scale (6,)`` multiplies the variances; ``rotation (3, 3)`` takes object axes to camera axes. A turn about a
    continuous axis of symmetry is unknown: its variance is that of an angle drawn from the full circle.
    """
    variance = np.clip(scale * np.exp(np.clip(log_variance, -40.0, 40.0)), LEAST_VARIANCE, MOST_VARIANCE)
    for axis in symmetry.infinite_axes:
        variance[3 + "xyz".index(axis)] = UNIFORM_TURN_VARIANCE
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = np.diag(variance[:3])
    turns = (rotation * variance[3:]) @ rotation.T
    covariance[3:, 3:] = 0.5 * (turns + turns.T)
    return covariance
