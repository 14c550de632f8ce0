"""Many rotations at once against scipy and against the function for one."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.rotations import quaternion_xyzw, rotation_angle_rad, rotations_of, turns_of
from mkpose_ros.geometry.symmetry import align_all, align_to_reference
from mkpose_ros.types import Symmetry

SYMMETRIES = (
    Symmetry(),
    Symmetry(("y",)),
    Symmetry((), (2, 2, 2)),
    Symmetry((), (1, 4, 1)),
    Symmetry(("y",), (2, 1, 2)),
)


def _vectors(n: int = 500) -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, 1.5, (n, 3))


def test_rotation_vectors_become_scipy_s_rotations():
    np.testing.assert_allclose(rotations_of(_vectors()), Rotation.from_rotvec(_vectors()).as_matrix(), atol=1e-14)
    np.testing.assert_array_equal(rotations_of(np.zeros((2, 3))), np.tile(np.eye(3), (2, 1, 1)))


@pytest.mark.parametrize("short_of_half_turn", [3.0, 1.0, 1e-3, 1e-5, 1e-7, 1e-10, 0.0])
def test_rotations_come_back_from_their_vectors_up_to_the_half_turn(short_of_half_turn):
    axes = _vectors() / np.linalg.norm(_vectors(), axis=1, keepdims=True)
    R = Rotation.from_rotvec((np.pi - short_of_half_turn) * axes).as_matrix()
    np.testing.assert_allclose(rotations_of(turns_of(R)), R, atol=1e-6)


@pytest.mark.parametrize("turn_rad", [0.0, 1e-9, 1.0, np.pi - 1e-9, np.pi])
def test_quaternions_are_scipy_s_with_w_not_negative(turn_rad):
    axes = np.concatenate([np.eye(3), -np.eye(3), _vectors(200) / np.linalg.norm(_vectors(200), axis=1)[:, None]])
    for R in Rotation.from_rotvec(turn_rad * axes).as_matrix():
        q, expected = quaternion_xyzw(R), Rotation.from_matrix(R).as_quat()
        assert q[3] >= 0.0
        assert abs(q @ expected) == pytest.approx(1.0, abs=1e-12)
        assert q @ q == pytest.approx(1.0, abs=1e-12)


def test_aligning_all_is_aligning_each():
    symmetries = SYMMETRIES * 40
    R, R_reference = Rotation.random(2 * len(symmetries), random_state=1).as_matrix().reshape(2, -1, 3, 3)
    together = align_all(R, R_reference, symmetries)
    for one, reference, symmetry, result in zip(R, R_reference, symmetries, together, strict=True):
        expected = align_to_reference(one, reference, symmetry)
        assert rotation_angle_rad(result, reference) == pytest.approx(rotation_angle_rad(expected, reference), abs=1e-7)
        again = align_to_reference(result, one, symmetry)  # it still is the same rotation but for the symmetry
        assert rotation_angle_rad(again, one) == pytest.approx(0.0, abs=1e-6)
