from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.training.calibrate import coverage, error_components, fit_calibration
from mkpose_ros.types import Symmetry


def test_calibration_makes_wrong_variances_cover_what_they_say():
    rng = np.random.default_rng(0)
    log_variance = rng.normal(-6.0, 1.0, (4000, 6))
    factor = np.array([0.2, 1.0, 5.0, 0.1, 2.0, 30.0])
    errors = rng.normal(size=(4000, 6)) * np.sqrt(factor * np.exp(log_variance))
    calibration = fit_calibration(errors[:2000], log_variance[:2000])
    np.testing.assert_allclose(calibration.variance_scale, factor, rtol=0.15)
    held_out = coverage(errors[2000:], calibration.sigma(log_variance[2000:]))
    for part in ("x", "turn_z", "all", "translation", "rotation"):
        assert abs(held_out[part]["50"] - 50) < 4
        assert abs(held_out[part]["90"] - 90) < 3


def test_a_few_mirrored_poses_do_not_set_the_scale():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(1000, 6)) * 0.05
    errors[:30, 4] = np.pi
    scale = fit_calibration(errors, np.full((1000, 6), 2 * np.log(0.05))).variance_scale
    assert scale[4] < 1.5


def test_the_free_turn_carries_no_error():
    rng = np.random.default_rng(0)
    truth = Rotation.random(5, random_state=0).as_matrix()
    turned = truth @ Rotation.from_rotvec([0, 1.0, 0]).as_matrix()
    errors = error_components(turned, rng.normal(size=(5, 3)), truth, np.zeros((5, 3)), [Symmetry(("y",))] * 5)
    assert np.isnan(errors[:, 4]).all()
    np.testing.assert_allclose(errors[:, [3, 5]], 0, atol=1e-6)


def test_error_components_are_in_the_objects_axes():
    truth = Rotation.from_euler("xyz", [0.3, -0.5, 1.0]).as_matrix()
    predicted = truth @ Rotation.from_rotvec([0.0, 0.0, -0.2]).as_matrix()
    errors = error_components(predicted[None], np.ones((1, 3)), truth[None], np.zeros((1, 3)), [Symmetry()])
    np.testing.assert_allclose(errors, [[1, 1, 1, 0, 0, 0.2]], atol=1e-9)
