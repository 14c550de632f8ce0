"""What a symmetric object's pose means: the turns that change nothing, and errors that ignore them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.rotations import rotation_angle_rad, rotations_of
from mkpose_ros.types import Symmetry

__all__ = ["AXES", "align_all", "align_to_reference", "finite_rotations", "symmetric_rotation_error_rad", "twist_rad"]

AXES = {"x": np.array([1.0, 0.0, 0.0]), "y": np.array([0.0, 1.0, 0.0]), "z": np.array([0.0, 0.0, 1.0])}


@lru_cache(maxsize=64)
def finite_rotations(symmetry: Symmetry) -> np.ndarray:
    """The group (G, 3, 3) that the finite turns generate, the identity first; read-only.

    Turns about an infinite axis are left out: that axis is handled as a direction.
    """
    generators = [
        Rotation.from_rotvec(AXES[name] * 2.0 * np.pi / order).as_matrix()
        for name, order in zip("xyz", symmetry.orders, strict=True)
        if order > 1 and name not in symmetry.infinite_axes
    ]
    group = [np.eye(3)]
    for element in group:  # grows while it is walked, until closed
        for generator in generators:
            candidate = generator @ element
            if not any(np.allclose(candidate, known, atol=1e-9) for known in group):
                group.append(candidate)
        if len(group) > 120:
            raise ValueError(f"Symmetry.orders {symmetry.orders} do not generate a small finite group")
    result = np.stack(group)
    result.setflags(write=False)
    return result


def align_to_reference(R: np.ndarray, R_reference: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """The rotation (3, 3), equal to R under the symmetry, that is nearest to R_reference."""
    candidates = R @ finite_rotations(symmetry)
    for name in symmetry.infinite_axes:
        candidates = np.stack([_turn_about_axis(c, R_reference, AXES[name]) for c in candidates])
    return candidates[np.argmin(rotation_angle_rad(candidates, R_reference[None]))]


def align_all(R: np.ndarray, R_reference: np.ndarray, symmetries: tuple[Symmetry, ...]) -> np.ndarray:
    """`align_to_reference` of many rotations at once: (N, 3, 3) each to its own (N, 3, 3) under its own symmetry."""
    group, infinite = _candidates(symmetries)
    candidates = R[:, None] @ group  # (N, G, 3, 3)
    for axis, rows in enumerate(infinite):
        if len(rows):
            turned = candidates[rows]
            relative = np.swapaxes(turned, -1, -2) @ R_reference[rows][:, None]
            candidates[rows] = turned @ _twists(relative, axis)
    # The trace of A^T B is 1 + 2 cos of the angle between A and B.
    best = np.argmax((candidates * R_reference[:, None]).sum(axis=(-2, -1)), axis=1)
    return candidates[np.arange(len(R)), best]


@lru_cache(maxsize=256)
def _candidates(symmetries: tuple[Symmetry, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The finite turns (N, G, 3, 3) of each symmetry, padded with identities; which ones are infinite about x, y, z."""
    groups = [finite_rotations(symmetry) for symmetry in symmetries]
    padded = np.tile(np.eye(3), (len(groups), max(map(len, groups)), 1, 1))
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = group
    return padded, tuple(np.flatnonzero([name in s.infinite_axes for s in symmetries]) for name in AXES)


def _twists(relative: np.ndarray, axis: int) -> np.ndarray:
    """The turns (..., 3, 3) about axis 0, 1 or 2 by `twist_rad` of rotations (..., 3, 3), without its angle."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    cosine = relative[..., i, i] + relative[..., j, j]
    sine = relative[..., j, i] - relative[..., i, j]
    length = np.hypot(cosine, sine)
    none = length == 0.0  # every turn is as near as any other
    length[none], cosine[none] = 1.0, 1.0
    turns = np.zeros(relative.shape)
    turns[..., axis, axis] = 1.0
    turns[..., i, i] = turns[..., j, j] = cosine / length
    turns[..., j, i] = sine / length
    turns[..., i, j] = -turns[..., j, i]
    return turns


def _turn_about_axis(R: np.ndarray, R_reference: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """R turned about its own axis so that it is as near as possible to R_reference."""
    return R @ rotations_of(twist_rad(R.T @ R_reference, axis) * axis)


def twist_rad(relative: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The angle (...) of the turn about an axis that comes nearest to rotations (..., 3, 3).

    It is the twist of the swing-twist decomposition, which maximises trace(turn^T relative).
    """
    skew = np.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        axis=-1,
    )
    return np.arctan2(skew @ axis, np.trace(relative, axis1=-2, axis2=-1) - (relative @ axis) @ axis)


def symmetric_rotation_error_rad(R_a: np.ndarray, R_b: np.ndarray, symmetry: Symmetry) -> float:
    """The smallest angle between R_a and any rotation that the symmetry makes equal to R_b."""
    return float(rotation_angle_rad(R_a, align_to_reference(R_b, R_a, symmetry)))
