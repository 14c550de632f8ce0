from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.errors import ModelError
from mkpose_ros.training.calibrate import Calibration, coverage, error_components, fit_calibration
from mkpose_ros.types import Symmetry


def _wrong_variances(rng, errors_of_unit_variance):
    """Errors, log variances that are off by a factor and a power, and disagreements that say more."""
    n = len(errors_of_unit_variance)
    log_variance = rng.normal(-6.0, 1.0, (n, 6))
    apart = np.abs(rng.normal(size=(n, 2))) * [0.01, 0.3]
    truth = Calibration(np.array([0.2, 1.0, 5.0, 0.1, 2.0, 30.0]) * 1e-2, np.full(6, 0.7), np.full(6, 0.5))
    return errors_of_unit_variance * np.sqrt(truth.variance(log_variance, apart)), log_variance, apart


def test_calibration_makes_wrong_variances_cover_what_they_say():
    rng = np.random.default_rng(0)
    errors, log_variance, apart = _wrong_variances(rng, rng.normal(size=(4000, 6)))
    calibration = fit_calibration(errors[:2000], log_variance[:2000], apart[:2000])
    np.testing.assert_allclose(calibration.power, 0.7, atol=0.1)
    np.testing.assert_allclose(calibration.disagreement, 0.5, atol=0.1)
    held_out = coverage(errors[2000:], calibration.variance(log_variance[2000:], apart[2000:]), calibration.tail)
    for part in ("x", "turn_z", "translation", "rotation", "pose"):
        assert abs(held_out[part]["50"] - 50) < 5
        assert abs(held_out[part]["90"] - 90) < 4
    assert min(calibration.tail) > 10.0  # no tail where there is none


def test_with_long_tails_the_90_percent_region_is_right_and_the_tail_tells_the_50():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(8000, 6)) / np.sqrt(rng.chisquare(2.0, (8000, 1)) / 2.0)  # t with two degrees of freedom
    errors, log_variance, apart = _wrong_variances(rng, unit * 0.1)
    calibration = fit_calibration(errors[:4000], log_variance[:4000], apart[:4000])
    held_out = coverage(errors[4000:], calibration.variance(log_variance[4000:], apart[4000:]), calibration.tail)
    for part in ("translation", "rotation"):
        assert abs(held_out[part]["90"] - 90) < 3
        assert held_out[part]["50"] > 65  # read as a Gaussian it promises too little there
        assert abs(held_out[part]["t50"] - 50) < 5
    np.testing.assert_allclose(calibration.tail, 2.0, atol=0.6)


def test_errors_that_are_not_there_leave_the_networks_word():
    errors = np.full((50, 6), np.nan)
    calibration = fit_calibration(errors, np.zeros((50, 6)), np.zeros((50, 2)))
    np.testing.assert_array_equal(calibration.variance_scale, 1.0)
    assert coverage(errors, np.ones((50, 6)), calibration.tail) == {}


def test_a_calibration_survives_its_metadata():
    calibration = Calibration(np.arange(1.0, 7.0), np.full(6, 0.5), np.full(6, 0.25), np.array([2.0, 3.0]), "fused")
    again = Calibration.from_metadata(json.loads(json.dumps(calibration.to_metadata())))
    for name in ("variance_scale", "power", "disagreement", "tail"):
        np.testing.assert_array_equal(getattr(again, name), getattr(calibration, name))
    assert again.pose_source == "fused"


@pytest.mark.parametrize("values", [{"power": [1.0]}, {"pose_source": "feet"}])
def test_a_calibration_that_cannot_be_is_refused(values):
    with pytest.raises(ModelError, match="mkpose train --ship"):
        Calibration.from_metadata(values)


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
