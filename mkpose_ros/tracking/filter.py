"""The objects' states over time: pose, velocity and size, filtered under each object's symmetry, all tracks at once.

An error-state Kalman filter on SE(3) with velocities that die away: the nominal state is (t, R, v, w), the error
(dt, dtheta, dv, dw) with R = exp(dtheta) R_nominal, all in the axes of one reference frame (the world when the camera's
pose is known, else the camera). Tracks are the rows of arrays: a handful of numpy calls serve five objects or fifty.
"""

from __future__ import annotations

import numpy as np

from mkpose_ros.geometry.rotations import compose_pose, orthonormal, rotations_of, turns_of
from mkpose_ros.geometry.symmetry import align_all
from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.votes import OrientationVotes
from mkpose_ros.types import Symmetry

__all__ = ["FilterBank", "turn_covariances"]

_INITIAL_SPEEDS = np.repeat([0.2, 0.5], 3)  # one sigma: m/s and rad/s
_SIZE_SIGMA = 0.15  # relative, of one measurement
_UNIFORM_TURN_RAD2 = np.pi**2 / 3  # the variance of an angle that may be anything
_UNKNOWN_TURN = 1e4 * np.eye(3)  # rad^2: a measured orientation that is left out


class FilterBank:
    """The filters of T tracks. Poses are (T, 4, 4), covariances (T, 6, 6): m^2, rad^2 in the reference frame's axes."""

    _ROWS = ("_translation_m", "_rotation", "_velocity", "_P", "_log_size", "_log_size_variance", "_outliers")

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config
        self._translation_m = np.zeros((0, 3))
        self._rotation = np.zeros((0, 3, 3))
        self._velocity = np.zeros((0, 6))  # m/s, rad/s
        self._P = np.zeros((0, 12, 12))
        self._log_size = np.zeros((0, 3))
        self._log_size_variance = np.zeros((0, 3))
        self._outliers = np.zeros(0, int)  # centres over the gate, in a row
        self._votes = OrientationVotes(config)

    def __len__(self) -> int:
        return len(self._translation_m)

    @property
    def centres_m(self) -> np.ndarray:
        return self._translation_m

    @property
    def poses(self) -> np.ndarray:
        return compose_pose(self._rotation, self._translation_m)

    @property
    def covariances(self) -> np.ndarray:
        return self._P[:, :6, :6]

    @property
    def sizes_m(self) -> np.ndarray:
        return np.exp(self._log_size)

    def add(self, poses: np.ndarray, covariances: np.ndarray, sizes_m: np.ndarray) -> None:
        """New rows at the end, each from one measurement."""
        n = len(poses)
        if not n:
            return  # most frames
        new = (
            poses[:, :3, 3],
            poses[:, :3, :3],
            np.zeros((n, 6)),
            _initial_covariances(covariances),
            np.log(sizes_m),
            np.full((n, 3), _SIZE_SIGMA**2),
            np.zeros(n, int),
        )
        for name, rows in zip(self._ROWS, new, strict=True):
            setattr(self, name, np.concatenate([getattr(self, name), rows]))
        self._votes.add(n)

    def keep(self, rows: np.ndarray) -> None:
        """Drop all rows but these (T,) bool."""
        for name in self._ROWS:
            setattr(self, name, getattr(self, name)[rows])
        self._votes.keep(rows)

    def predict(self, dt_s: float, *, at_rest: bool) -> None:
        """Move on by dt_s >= 0 seconds; at_rest says that the reference frame is the world, where objects rest."""
        config, P = self._config, self._P
        self._translation_m = self._translation_m + self._velocity[:, :3] * dt_s
        self._rotation = orthonormal(rotations_of(self._velocity[:, 3:] * dt_s) @ self._rotation)
        P[:, :6] += dt_s * P[:, 6:]  # F P
        P[:, :, :6] += dt_s * P[:, :, 6:]  # ... F^T
        kept = np.exp(-dt_s / (config.static_motion_s if at_rest else config.motion_s))
        self._velocity = self._velocity * kept
        P[:, 6:] *= kept
        P[:, :, 6:] *= kept
        linear = config.static_acceleration_mps2 if at_rest else config.acceleration_mps2
        angular = config.static_turn_acceleration_radps2 if at_rest else config.turn_acceleration_radps2
        q = np.repeat([linear**2, angular**2], 3)
        # White acceleration, integrated over the step.
        pose, speed = np.arange(6), np.arange(6, 12)
        P[:, pose, pose] += q * dt_s**4 / 4
        P[:, pose, speed] += q * dt_s**3 / 2
        P[:, speed, pose] += q * dt_s**3 / 2
        P[:, speed, speed] += q * dt_s**2
        self._bound_turns()
        self._votes.fade(dt_s)

    def change_reference(self, T_new_old: np.ndarray) -> None:
        """Express everything in another reference frame (4, 4), which may move relative to the old one."""
        R = T_new_old[:3, :3]
        turn = np.kron(np.eye(4), R)
        self._translation_m = self._translation_m @ R.T + T_new_old[:3, 3]
        self._rotation = R @ self._rotation
        self._velocity = self._velocity @ turn[:6, :6].T
        self._P = turn @ self._P @ turn.T
        self._P[:, 6:, 6:] += np.diag(_INITIAL_SPEEDS**2)

    def move(self, rows: np.ndarray, T: np.ndarray) -> None:
        """Move some rows (T,) bool by a motion (4, 4) of all that is seen; what else they do is unknown."""
        self._translation_m[rows] = self._translation_m[rows] @ T[:3, :3].T + T[:3, 3]
        self._rotation[rows] = T[:3, :3] @ self._rotation[rows]
        self._velocity[rows] = 0.0
        P = self._P[rows]
        P[:, 6:] = P[:, :, 6:] = 0.0
        P[:, 6:, 6:] = np.diag(_INITIAL_SPEEDS**2)
        self._P[rows] = P

    def update(
        self,
        rows: np.ndarray,
        poses: np.ndarray,
        covariances: np.ndarray,
        sizes_m: np.ndarray,
        symmetries: tuple[Symmetry, ...],
    ) -> None:
        """Take in a measurement for each of some rows (N,): poses, covariances and extents along its object's axes."""
        config = self._config
        predicted = self._rotation[rows]
        aligned = align_all(poses[:, :3, :3], predicted, symmetries)
        sizes_m = _sizes_along(poses[:, :3, :3], aligned, sizes_m)
        turns = turns_of(aligned @ predicted.swapaxes(-1, -2))
        shifts_m = poses[:, :3, 3] - self._translation_m[rows]
        S = self._P[rows][:, :6, :6] + covariances
        far = _squared_lengths(shifts_m, S[:, :3, :3]) > config.innovation_gate
        turned = (_squared_lengths(turns, S[:, 3:, 3:]) > config.innovation_gate) | (
            np.linalg.norm(turns, axis=-1) > 2.0 * config.hypothesis_radius_rad
        )
        self._outliers[rows] = np.where(far, self._outliers[rows] + 1, 0)
        lost = self._outliers[rows] >= config.reset_after
        if lost.any():
            self._reset(rows[lost], compose_pose(aligned, poses[:, :3, 3])[lost], covariances[lost])
            turned, far = turned & ~lost, far & ~lost

        winners = self._votes.cast(rows, predicted, aligned, turned, symmetries)
        won = ~np.isnan(winners[:, 0, 0]) & ~far & ~lost
        if won.any():
            self._turn_to(rows[won], winners[won], covariances[won])
        differences = np.concatenate([shifts_m, np.where(turned[:, None], 0.0, turns)], axis=-1)
        noise = covariances * config.correlation_factor
        noise[turned, 3:, :] = noise[turned, :, 3:] = 0.0
        noise[turned, 3:, 3:] = _UNKNOWN_TURN
        taken = ~(far | lost)
        self._absorb(rows[taken], differences[taken], noise[taken])
        # A turn within the symmetry tells nothing, and a track that has tilted would take one: no bottle spins.
        self._rotation[rows] = orthonormal(align_all(self._rotation[rows], predicted, symmetries))
        self._resize(rows[taken & ~turned], sizes_m[taken & ~turned])
        self._bound_turns()

    def _bound_turns(self) -> None:
        """No orientation is less certain than one about which nothing is known."""
        excess = self._P[:, [3, 4, 5], [3, 4, 5]].max(axis=1, initial=0.0) / _UNIFORM_TURN_RAD2
        if (excess > 1.0).any():
            kept = np.maximum(excess, 1.0)[:, None, None] ** -0.5
            self._P[:, 3:6] *= kept
            self._P[:, :, 3:6] *= kept

    def _reset(self, rows: np.ndarray, poses: np.ndarray, covariances: np.ndarray) -> None:
        """Start again from one measurement; the size keeps what it has learnt."""
        self._translation_m[rows], self._rotation[rows] = poses[:, :3, 3], poses[:, :3, :3]
        self._velocity[rows], self._P[rows] = 0.0, _initial_covariances(covariances)
        self._outliers[rows] = 0
        self._votes.reset(rows)

    def _turn_to(self, rows: np.ndarray, rotations: np.ndarray, covariances: np.ndarray) -> None:
        """Believe another orientation, as uncertain as one measurement; the centre stays what it is."""
        self._rotation[rows], self._velocity[rows, 3:] = rotations, 0.0
        P = self._P[rows]
        for block in (slice(3, 6), slice(9, 12)):
            P[:, block, :] = P[:, :, block] = 0.0
        P[:, 3:6, 3:6] = covariances[:, 3:, 3:]
        P[:, 9:, 9:] = np.diag(_INITIAL_SPEEDS[3:] ** 2)
        self._P[rows] = P

    def _absorb(self, rows: np.ndarray, differences: np.ndarray, noise: np.ndarray) -> None:
        """The Kalman update; a difference far out in the tails weighs less, as under Student's t."""
        P = self._P[rows]
        freedom, S = self._config.tail_freedom, P[:, :6, :6] + noise
        surprise = (freedom + _squared_lengths(differences, S)) / (freedom + 6.0)
        noise = noise * np.maximum(surprise, 1.0)[:, None, None]
        gain = np.linalg.solve(P[:, :6, :6] + noise, P[:, :6, :]).swapaxes(-1, -2)  # (N, 12, 6)
        correction = (gain @ differences[..., None])[..., 0]
        self._translation_m[rows] += correction[:, :3]
        self._rotation[rows] = rotations_of(correction[:, 3:6]) @ self._rotation[rows]
        self._velocity[rows] += correction[:, 6:]
        # Joseph's form keeps P symmetric and positive when the gain is near one.
        keep = np.tile(np.eye(12), (len(rows), 1, 1))
        keep[:, :, :6] -= gain
        self._P[rows] = keep @ P @ keep.swapaxes(-1, -2) + gain @ noise @ gain.swapaxes(-1, -2)

    def _resize(self, rows: np.ndarray, sizes_m: np.ndarray) -> None:
        config, variance = self._config, self._log_size_variance[rows]
        gain = variance / (variance + _SIZE_SIGMA**2 * config.size_correlation_factor)
        self._log_size[rows] += gain * (np.log(sizes_m) - self._log_size[rows])
        self._log_size_variance[rows] = np.maximum(variance * (1.0 - gain), config.min_size_sigma**2)


def turn_covariances(R: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Covariances (N, 6, 6) of poses in the axes that R (3, 3) turns theirs to."""
    turn = np.zeros((6, 6))
    turn[:3, :3] = turn[3:, 3:] = R
    return turn @ covariances @ turn.T


def _initial_covariances(covariances: np.ndarray) -> np.ndarray:
    P = np.zeros((len(covariances), 12, 12))
    P[:, :6, :6] = covariances
    P[:, 6:, 6:] = np.diag(_INITIAL_SPEEDS**2)
    return P


def _squared_lengths(vectors: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis lengths (N,)."""
    return (vectors * np.linalg.solve(covariances, vectors[..., None])[..., 0]).sum(axis=-1)


def _sizes_along(rotations: np.ndarray, aligned: np.ndarray, sizes_m: np.ndarray) -> np.ndarray:
    """Extents (N, 3) along the axes of the aligned rotation.

    The squares of a rotation's entries blend the extents as a turn does: exact for quarter turns.
    """
    blend = (rotations.swapaxes(-1, -2) @ aligned) ** 2
    return (blend.swapaxes(-1, -2) @ sizes_m[..., None])[..., 0]
