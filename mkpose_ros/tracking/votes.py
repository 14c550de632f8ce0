"""Which way round: hypotheses of a track's orientation, and the votes that the frames give them.

A network errs by half a turn where it errs most (a can upside down). The mean of two such answers is nonsense, so that
answers which contradict a track are counted for another hypothesis until one of those has more votes.
"""

from __future__ import annotations

import numpy as np

from mkpose_ros.geometry.rotations import orthonormal, rotation_angle_rad, rotations_of, turns_of
from mkpose_ros.geometry.symmetry import align_all
from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.types import Symmetry

__all__ = ["OrientationVotes"]

_OTHERS = 2  # hypotheses kept beside the believed one


class OrientationVotes:
    """For each of T tracks the votes (T, 1 + _OTHERS), the believed hypothesis first, and the other hypotheses.

    Those are kept as turns in the track's own object frame, so that they move with it.
    """

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config
        self._votes = np.zeros((0, 1 + _OTHERS))
        self._others = np.zeros((0, _OTHERS, 3, 3))  # R_believed^T R_other

    def add(self, n: int) -> None:
        """n new rows, with one vote for what was seen."""
        votes = np.zeros((n, 1 + _OTHERS))
        votes[:, 0] = 1.0
        self._votes = np.concatenate([self._votes, votes])
        self._others = np.concatenate([self._others, np.tile(np.eye(3), (n, _OTHERS, 1, 1))])

    def keep(self, rows: np.ndarray) -> None:
        """Drop all rows but these (T,) bool."""
        self._votes, self._others = self._votes[rows], self._others[rows]

    def reset(self, rows: np.ndarray) -> None:
        """One vote for what is believed, none for anything else."""
        self._votes[rows] = 0.0
        self._votes[rows, 0] = 1.0

    def fade(self, dt_s: float) -> None:
        """Time makes votes lighter."""
        self._votes *= np.exp(-dt_s / self._config.vote_memory_s)

    def cast(
        self,
        rows: np.ndarray,
        believed: np.ndarray,
        seen: np.ndarray,
        contradicts: np.ndarray,
        symmetries: tuple[Symmetry, ...],
    ) -> np.ndarray:
        """One vote for each of some rows: believed and seen rotations (N, 3, 3), contradicts (N,) bool.

        Returns the rotations (N, 3, 3) to be believed instead, NaN where the believed one stands.
        """
        self._votes[rows[~contradicts], 0] += 1.0
        winners = np.full(believed.shape, np.nan)
        for i in np.flatnonzero(contradicts):  # few
            winners[i] = self._contradict(rows[i], believed[i], seen[i], symmetries[i])
        return winners

    def _contradict(self, row: int, believed: np.ndarray, seen: np.ndarray, symmetry: Symmetry) -> np.ndarray:
        """Vote for the nearest other hypothesis, or make one; the rotation (3, 3) that wins by it, or NaN."""
        votes, others = self._votes[row], self._others[row]
        hypotheses = believed @ others
        aligned = align_all(np.tile(seen, (_OTHERS, 1, 1)), hypotheses, (symmetry,) * _OTHERS)
        angles = np.where(votes[1:] > 0.0, rotation_angle_rad(aligned, hypotheses), np.inf)
        k = int(np.argmin(angles))
        if angles[k] <= self._config.hypothesis_radius_rad:
            votes[1 + k] += 1.0
            step = rotations_of(turns_of(aligned[k] @ hypotheses[k].T) / max(votes[1 + k], 1.0))
            others[k] = orthonormal(believed.T @ step @ hypotheses[k])  # the mean of those that voted for it
        else:
            k = int(np.argmin(votes[1:]))
            votes[1 + k], others[k] = 1.0, orthonormal(believed.T @ seen)
        if votes[1 + k] <= votes[0]:
            return np.full((3, 3), np.nan)
        winner = others[k].copy()
        votes[[0, 1 + k]] = votes[[1 + k, 0]]
        others[k] = np.eye(3)
        others[:] = orthonormal(winner.T @ others)  # the old belief is a hypothesis seen from the new one
        return orthonormal(believed @ winner)
