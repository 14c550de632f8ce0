"""How the camera moved where nothing tells its pose: as most of what it sees moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mkpose_ros.geometry.rotations import compose_pose, project_to_rotation, turns_of
from mkpose_ros.tracking.filter import FilterBank
from mkpose_ros.tracking.track import Track
from mkpose_ros.types import Symmetry

__all__ = ["common_motion", "follow_camera"]

_LEAST = 2  # objects; one may move by itself
_REST_MPS = 0.02  # what moves this fast beside the others counts half
_OWN_MEMORY_S = 1.0  # ... judged over this time
_NO_TURN_M2 = 1e-6  # pulls a turn about which the objects tell nothing (one bottle's about its axis) to none
_MOST_TURN_RAD = 0.2  # of one object between two frames; more is another answer to which way round it is


def follow_camera(
    tracks: Sequence[Track], filters: FilterBank, before: np.ndarray, rows: np.ndarray, stamps_ns: tuple[int, int]
) -> None:
    """Move the tracks out of sight as those moved that are in sight.

    before: the poses (T, 4, 4) after the last frame; rows: of the tracks seen in this one, -1 is none; stamps_ns: those
    of both frames, which differ.
    """
    now = set(rows.tolist())
    both = np.array([i in now and track.last_seen_ns == stamps_ns[0] for i, track in enumerate(tracks)], bool)
    if np.count_nonzero(both) < _LEAST:
        return
    seen = [track for track, b in zip(tracks, both, strict=True) if b]
    before, after = before[both], filters.poses[both]
    weights = 1.0 / (_REST_MPS**2 + np.square([track.own_mps for track in seen]).sum(axis=-1))
    T = common_motion(before, after, filters.sizes_m[both], tuple(track.symmetry for track in seen), weights)
    dt_s = (stamps_ns[1] - stamps_ns[0]) * 1e-9
    own_mps = (after[:, :3, 3] - before[:, :3, 3] @ T[:3, :3].T - T[:3, 3]) / dt_s
    part = 1.0 - np.exp(-dt_s / _OWN_MEMORY_S)
    for track, speed_mps in zip(seen, own_mps, strict=True):
        track.own_mps += part * (speed_mps - track.own_mps)
    filters.move(~both, T)


def common_motion(
    before: np.ndarray, after: np.ndarray, sizes_m: np.ndarray, symmetries: tuple[Symmetry, ...], weights: np.ndarray
) -> np.ndarray:
    """The rigid motion (4, 4) that N >= 1 objects share, whose poses (N, 4, 4) were `before` and are `after`.

    Least squares (Kabsch, 1976) under weights (N,), over the objects' centres and the ends of those of their axes, with
    extents (N, 3), whose turn they tell.
    """
    turned = np.linalg.norm(turns_of(after[:, :3, :3] @ before[:, :3, :3].swapaxes(-1, -2)), axis=-1) > _MOST_TURN_RAD
    told = np.array([[not s.infinite_axes or axis in s.infinite_axes for axis in "xyz"] for s in symmetries])
    arms_m = np.where(told & ~turned[:, None], sizes_m / 2, 0.0)
    points, targets = _points(before, arms_m), _points(after, arms_m)
    shares = np.repeat(weights / (4.0 * weights.sum()), 4)[:, None]
    centre, target = (shares * points).sum(axis=0), (shares * targets).sum(axis=0)
    R = project_to_rotation((shares * (targets - target)).T @ (points - centre) + _NO_TURN_M2 * np.eye(3))
    return compose_pose(R, target - R @ centre)


def _points(poses: np.ndarray, arms_m: np.ndarray) -> np.ndarray:
    """Centres and ends of axes (4 N, 3), those of one object together."""
    ends = poses[:, None, :3, 3] + (poses[:, :3, :3] * arms_m[:, None]).swapaxes(-1, -2)
    return np.concatenate([poses[:, None, :3, 3], ends], axis=1).reshape(-1, 3)
