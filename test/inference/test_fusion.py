"""Fusing the head's pose with the fit of the normalised coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.categories import load_categories
from mkpose_ros.inference.fusion import fuse_poses, seen_symmetry
from mkpose_ros.types import Symmetry

NONE = Symmetry()
ABOUT_Y = Symmetry(infinite_axes=("y",))


def _objects(count, seed=0):
    """True rotations, translations, sizes, and keypoints with the normalised coordinates that belong to them."""
    rng = np.random.default_rng(seed)
    R = Rotation.random(count, random_state=seed).as_matrix()
    t, size = rng.normal(size=(count, 3)) * 0.05, rng.uniform(0.05, 0.3, (count, 3))
    nocs = rng.uniform(-0.4, 0.4, (count, 20, 3))
    points = nocs * np.linalg.norm(size, axis=1)[:, None, None]
    return R, t, size, np.einsum("bij,bkj->bki", R, points) + t[:, None], nocs


def test_translations_meet_in_the_middle_and_exact_coordinates_give_the_rotation():
    R, t, size, keypoints, nocs = _objects(5)
    found = fuse_poses(R, t + 0.02, size, keypoints, nocs, [NONE] * 5)
    np.testing.assert_allclose(found.rotation, R, atol=1e-12)
    np.testing.assert_allclose(found.translation_m, t + 0.01, atol=1e-12)
    np.testing.assert_allclose(found.disagreement, [[0.02 * np.sqrt(3), 0.0]] * 5, atol=1e-7)


def test_the_fit_outweighs_a_wrong_head_and_the_disagreement_tells():
    R, t, size, keypoints, nocs = _objects(20)
    wrong = R @ Rotation.from_rotvec([0.0, 0.5, 0.0]).as_matrix()
    found = fuse_poses(wrong, t, size, keypoints, nocs, [NONE] * 20)
    error = Rotation.from_matrix(np.swapaxes(found.rotation, 1, 2) @ R).magnitude()
    assert error.max() < 0.25
    np.testing.assert_allclose(found.disagreement[:, 1] + error, 0.5, atol=0.05)


def test_a_free_turn_of_the_head_is_no_disagreement():
    R, t, size, keypoints, nocs = _objects(5)
    turned = R @ Rotation.from_rotvec([0.0, 2.0, 0.0]).as_matrix()
    found = fuse_poses(turned, t, size, keypoints, nocs, [ABOUT_Y] * 5)
    np.testing.assert_allclose(found.rotation, R, atol=1e-5)
    np.testing.assert_allclose(found.disagreement[:, 1], 0.0, atol=1e-5)


def test_coordinates_in_one_spot_leave_the_head():
    R, t, size, keypoints, nocs = _objects(3)
    found = fuse_poses(R, t, size, keypoints, np.zeros_like(nocs), [NONE] * 3)
    np.testing.assert_allclose(found.rotation, R, atol=1e-9)
    assert np.isfinite(found.translation_m).all()


def test_the_rotation_is_never_a_reflection():
    R, t, size, keypoints, nocs = _objects(10)
    found = fuse_poses(R, t, size, keypoints, nocs * [1.0, 1.0, -1.0], [NONE] * 10)
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1.0)


def test_no_instance_gives_no_pose():
    found = fuse_poses(*(np.zeros((0, *s)) for s in ((3, 3), (3,), (3,), (8, 3), (8, 3))), [])
    assert [value.shape for value in found] == [(0, 3, 3), (0, 3), (0, 2)]


@pytest.mark.parametrize(
    ("name", "probability", "expected"),
    [("mug", 0.9, ABOUT_Y), ("mug", 0.1, NONE), ("can", 0.1, ABOUT_Y), ("camera", 0.9, NONE), (None, 0.9, ABOUT_Y)],
)
def test_what_is_seen_decides_for_hidden_handles_and_unknown_categories(name, probability, expected):
    assert seen_symmetry(load_categories().get(name), probability) == expected
