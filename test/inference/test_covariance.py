"""The covariance of a pose: in camera axes, large where a symmetry leaves an angle open, finite and positive."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.inference.covariance import UNIFORM_TURN_VARIANCE, Calibration, pose_covariances
from mkpose_ros.types import Symmetry


def test_the_covariance_turns_from_object_to_camera_axes():
    R = Rotation.from_euler("xyz", [20, -50, 70], degrees=True).as_matrix()
    variance = np.array([1e-4, 4e-4, 9e-4, 0.01, 0.04, 0.09])
    covariance = pose_covariances(variance[None], R[None], [Symmetry()])[0]
    # Independently: samples of small turns about the object's axes, seen in camera axes.
    rng = np.random.default_rng(0)
    turns = rng.normal(size=(200_000, 3)) * np.sqrt(variance[3:])
    np.testing.assert_allclose(covariance[3:, 3:], np.cov((turns @ R.T).T), atol=6e-4)
    np.testing.assert_allclose(covariance[:3, :3], np.diag(variance[:3]), rtol=1e-12)
    assert not covariance[:3, 3:].any()


def test_the_covariance_is_large_about_a_continuous_axis_only():
    R = Rotation.from_euler("xyz", [20, -50, 70], degrees=True).as_matrix()
    covariance = pose_covariances(np.full((1, 6), 1e-4), R[None], [Symmetry(("y",))])[0]
    values, vectors = np.linalg.eigh(covariance[3:, 3:])
    np.testing.assert_allclose(values, [1e-4, 1e-4, UNIFORM_TURN_VARIANCE], rtol=1e-9)
    assert abs(vectors[:, 2] @ R[:, 1]) == pytest.approx(1.0)


@pytest.mark.parametrize("log_variance", [-1e4, 1e4, 80.0])
def test_the_covariance_is_finite_and_positive_whatever_the_network_says(log_variance):
    variance = Calibration().variance(np.full((1, 6), log_variance), np.zeros((1, 2)))
    (covariance,) = pose_covariances(variance, np.eye(3)[None], [Symmetry()])
    assert np.isfinite(covariance).all()
    assert np.linalg.eigvalsh(covariance).min() > 0.0
