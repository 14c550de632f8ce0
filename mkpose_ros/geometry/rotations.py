"""Rotations as 3x3 matrices, rotation vectors and xyzw quaternions."""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "compose_pose",
    "invert_pose",
    "orthonormal",
    "project_to_rotation",
    "quaternion_xyzw",
    "rotation_angle_rad",
    "rotations_of",
    "turns_of",
]


_EYE = np.eye(3)


def compose_pose(rotation: np.ndarray, translation_m: np.ndarray) -> np.ndarray:
    """The poses (..., 4, 4) of rotations (..., 3, 3) and translations (..., 3)."""
    rotation = np.asarray(rotation)
    T = np.zeros((*rotation.shape[:-2], 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = rotation, translation_m, 1.0
    return T


def invert_pose(T_a_b: np.ndarray) -> np.ndarray:
    """T_b_a of a rigid (4, 4) pose T_a_b."""
    R = T_a_b[:3, :3]
    return compose_pose(R.T, -R.T @ T_a_b[:3, 3])


def rotation_angle_rad(R_a: np.ndarray, R_b: np.ndarray) -> np.ndarray:
    """The geodesic angle in [0, pi] between rotations (..., 3, 3); exact near 0 and pi, never NaN."""
    relative = np.swapaxes(np.asarray(R_a, dtype=np.float64), -1, -2) @ np.asarray(R_b, dtype=np.float64)
    skew = np.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        axis=-1,
    )
    trace = np.trace(relative, axis1=-2, axis2=-1)
    # atan2 of |sin| and cos keeps full precision where arccos has none (0 and pi).
    return np.arctan2(np.linalg.norm(skew, axis=-1), trace - 1.0)


def quaternion_xyzw(R: np.ndarray) -> np.ndarray:
    """The unit quaternion (4,) x, y, z, w with w >= 0 of a (3, 3) rotation."""
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = np.asarray(R, dtype=np.float64).tolist()
    # Four times the products of the largest component with each one (Shepperd, 1978): its square is at least 1.
    squares = (1.0 + r00 - r11 - r22, 1.0 - r00 + r11 - r22, 1.0 - r00 - r11 + r22, 1.0 + r00 + r11 + r22)
    x, y, z, w = (
        (squares[0], r10 + r01, r02 + r20, r21 - r12),
        (r10 + r01, squares[1], r21 + r12, r02 - r20),
        (r02 + r20, r21 + r12, squares[2], r10 - r01),
        (r21 - r12, r02 - r20, r10 - r01, squares[3]),
    )[squares.index(max(squares))]
    length = math.copysign(math.sqrt(x * x + y * y + z * z + w * w), w)
    return np.array([x, y, z, w]) / length


def project_to_rotation(M: np.ndarray) -> np.ndarray:
    """The rotations (..., 3, 3) nearest to M in the Frobenius norm, determinant +1 (Kabsch, 1976)."""
    U, _, Vt = np.linalg.svd(np.asarray(M, dtype=np.float64))
    U[..., 2] *= np.sign(np.linalg.det(U @ Vt))[..., None]
    return U @ Vt


def orthonormal(R: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) that products have moved a little off, made orthonormal by one step of Newton's iteration.

    An error e becomes about e squared. Products of rotations that are made from one another need it: unchecked, their
    rounding errors can double with each product.
    """
    return 1.5 * R - 0.5 * (R @ np.swapaxes(R, -1, -2) @ R)


def rotations_of(turns_rad: np.ndarray) -> np.ndarray:
    """The rotations (..., 3, 3) of rotation vectors (..., 3) in radians (Rodrigues), many at once and cheap for few."""
    x, y, z = turns_rad[..., 0], turns_rad[..., 1], turns_rad[..., 2]
    K = np.zeros((*turns_rad.shape, 3))
    K[..., 2, 1], K[..., 0, 2], K[..., 1, 0] = x, y, z
    K -= K.swapaxes(-1, -2).copy()
    half = 0.5 * np.sqrt(x * x + y * y + z * z)[..., None, None]
    # sinc is exact at zero: sin(a) / a = sinc(a / 2) cos(a / 2) and (1 - cos(a)) / a^2 = sinc(a / 2)^2 / 2.
    sinc = np.sinc(half / np.pi)
    return _EYE + sinc * (np.cos(half) * K + (0.5 * sinc) * (K @ K))


def turns_of(R: np.ndarray) -> np.ndarray:
    """The rotation vectors (..., 3) in radians, of length <= pi, of rotations (..., 3, 3); also near a half turn."""
    skew = np.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], axis=-1)
    sine2 = np.sqrt((skew * skew).sum(axis=-1))  # twice the sine
    cosine2 = np.trace(R, axis1=-2, axis2=-1) - 1.0
    angle = np.arctan2(sine2, cosine2)
    turns = skew * (angle / np.where(sine2 > 1e-9, sine2, 2.0))[..., None]
    half = (sine2 < 1e-6) & (cosine2 < 0.0)
    if half.any():  # the skew part vanishes; R + 1 is twice the axis' outer product: take its longest column
        outer = R[half] + np.eye(3)
        column = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
        axis = np.take_along_axis(outer, column[..., None, None], axis=-1)[..., 0]
        turns[half] = axis / np.linalg.norm(axis, axis=-1, keepdims=True) * angle[half][..., None]
    return turns
