"""One object's state over time: pose, velocity and size, filtered under the object's symmetry.

An error-state Kalman filter on SE(3) with constant velocity: the nominal state is (t, R, v, w), the error
(dt, dtheta, dv, dw) with R = exp(dtheta) R_nominal, all in the axes of one reference frame (the world when the camera's
pose is known, else the camera).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.symmetry import align_to_reference
from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.types import Symmetry

__all__ = ["Innovation", "PoseFilter"]

_INITIAL_SPEED_MPS = 0.2
_INITIAL_TURN_RATE_RADPS = 0.5
_SIZE_SIGMA = 0.15  # relative, of one measurement


@dataclass(frozen=True)
class Innovation:
    """What a measurement says that the prediction did not."""

    difference: np.ndarray  # (6,) m and rad, in the reference frame's axes
    covariance: np.ndarray  # (6, 6) of the measurement
    size_m: np.ndarray  # (3,) measured extents, along the axes of the track's object frame
    distance2: float  # squared Mahalanobis length


class PoseFilter:
    """The filter of one track. Poses are (4, 4), covariances (6, 6): m^2 and rad^2 in the reference frame's axes."""

    def __init__(self, config: TrackerConfig, T_ref_obj: np.ndarray, covariance: np.ndarray, size_m: np.ndarray):
        self._config = config
        self._log_size_variance = np.full(3, _SIZE_SIGMA**2)
        self._log_size = np.log(size_m)
        self.reset(T_ref_obj, covariance)

    def reset(self, T_ref_obj: np.ndarray, covariance: np.ndarray) -> None:
        """Start again from one measurement; the size keeps what it has learnt."""
        self._translation_m = T_ref_obj[:3, 3].copy()
        self._rotation = T_ref_obj[:3, :3].copy()
        self._velocity = np.zeros(6)  # m/s, rad/s
        self._P = np.zeros((12, 12))
        self._P[:6, :6] = covariance
        speeds = np.repeat([_INITIAL_SPEED_MPS, _INITIAL_TURN_RATE_RADPS], 3)
        self._P[6:, 6:] = np.diag(speeds**2)

    @property
    def T_ref_obj(self) -> np.ndarray:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self._rotation, self._translation_m
        return T

    @property
    def covariance(self) -> np.ndarray:
        """(6, 6) of the pose now."""
        return self._P[:6, :6].copy()

    @property
    def size_m(self) -> np.ndarray:
        return np.exp(self._log_size)

    def predict(self, dt_s: float, *, at_rest: bool) -> None:
        """Move on by dt_s >= 0 seconds; at_rest says that the reference frame is the world, where objects rest."""
        config = self._config
        self._translation_m = self._translation_m + self._velocity[:3] * dt_s
        self._rotation = Rotation.from_rotvec(self._velocity[3:] * dt_s).as_matrix() @ self._rotation
        F = np.eye(12)
        F[:6, 6:] = np.eye(6) * dt_s
        linear = config.static_acceleration_mps2 if at_rest else config.acceleration_mps2
        angular = config.static_turn_acceleration_radps2 if at_rest else config.turn_acceleration_radps2
        q = np.diag(np.repeat([linear**2, angular**2], 3))
        # White acceleration, integrated over the step.
        Q = np.block([[q * dt_s**4 / 4, q * dt_s**3 / 2], [q * dt_s**3 / 2, q * dt_s**2]])
        self._P = F @ self._P @ F.T + Q

    def innovation(
        self, T_ref_obj: np.ndarray, covariance: np.ndarray, size_m: np.ndarray, symmetry: Symmetry
    ) -> Innovation:
        """How a measured pose, covariance (6, 6) and extents (3,) differ from the prediction, under the symmetry."""
        R_aligned = align_to_reference(T_ref_obj[:3, :3], self._rotation, symmetry)
        turn = Rotation.from_matrix(R_aligned @ self._rotation.T).as_rotvec()
        difference = np.concatenate([T_ref_obj[:3, 3] - self._translation_m, turn])
        S = self._P[:6, :6] + covariance
        # The squares of a rotation's entries blend the extents as a turn does: exact for quarter turns.
        size_aligned_m = ((T_ref_obj[:3, :3].T @ R_aligned) ** 2).T @ size_m
        return Innovation(difference, covariance, size_aligned_m, float(difference @ np.linalg.solve(S, difference)))

    def update(self, innovation: Innovation) -> None:
        """Take in one measurement."""
        difference, covariance = innovation.difference, innovation.covariance
        R = covariance * self._config.correlation_factor
        gain = np.linalg.solve(self._P[:6, :6] + R, self._P[:6, :]).T  # (12, 6)
        correction = gain @ difference
        self._translation_m = self._translation_m + correction[:3]
        self._rotation = Rotation.from_rotvec(correction[3:6]).as_matrix() @ self._rotation
        self._velocity = self._velocity + correction[6:]
        # Joseph's form keeps P symmetric and positive when the gain is near one.
        keep = np.eye(12)
        keep[:, :6] -= gain
        self._P = keep @ self._P @ keep.T + gain @ R @ gain.T
        self._update_size(innovation.size_m)

    def _update_size(self, size_m: np.ndarray) -> None:
        config = self._config
        measured_variance = _SIZE_SIGMA**2 * config.size_correlation_factor
        gain = self._log_size_variance / (self._log_size_variance + measured_variance)
        self._log_size = self._log_size + gain * (np.log(size_m) - self._log_size)
        self._log_size_variance = np.maximum(self._log_size_variance * (1.0 - gain), config.min_size_sigma**2)
