"""Medians, box distance and the honesty of the covariance."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import pose_at, prediction, truth
from scipy.spatial.transform import Rotation

from mkpose_ros.evaluation import NOCS
from mkpose_ros.evaluation.statistics import collect_statistics, mahalanobis
from mkpose_ros.types import Symmetry


def test_known_errors_come_out():
    pose = prediction(pose_at((0.01, 0, 1), turn=(0, 0, 3)), (0.132, 0.09, 0.09))
    summary = collect_statistics([[pose]], [[truth(pose_at())]], NOCS).summary()
    assert summary["median_rotation_deg"] == pytest.approx(3.0)
    assert summary["median_translation_cm"] == pytest.approx(1.0)
    assert summary["median_size_error_percent"] == pytest.approx(10.0 / 3.0)
    assert summary["covered_50_percent"] is None


def test_the_box_distance_of_a_pure_shift_is_the_shift():
    pair = collect_statistics([[prediction(pose_at((0, 0.03, 1)))]], [[truth(pose_at())]], NOCS).pairs[0]
    assert pair.box_distance_m == pytest.approx(0.03)


def test_the_box_distance_ignores_turns_of_a_symmetric_object():
    pose = prediction(pose_at(turn=(0, 130, 0)), (0.1, 0.2, 0.1), "bottle")
    pair = collect_statistics([[pose]], [[truth(pose_at(), (0.1, 0.2, 0.1), "bottle")]], NOCS).pairs[0]
    assert pair.box_distance_m == pytest.approx(0.0, abs=1e-9)


def test_a_distant_prediction_pairs_with_nothing():
    statistics = collect_statistics([[prediction(pose_at((2, 0, 1)))]], [[truth(pose_at())]], NOCS)
    assert (len(statistics.pairs), statistics.missed, statistics.unpaired) == (0, 1, 1)


@pytest.mark.parametrize("category", ["camera", "bottle"])
def test_errors_drawn_from_the_covariance_lie_in_its_regions(category):
    rng = np.random.default_rng(2)
    predictions, truths = [], []
    for _ in range(800):
        T = pose_at(rng.uniform(-0.2, 0.2, 3) + [0, 0, 1], rng.uniform(-120, 120, 3))
        A = rng.normal(0, 0.01, (6, 6)) * np.array([0.5, 0.5, 0.5, 1, 1, 1])[:, None]
        covariance = A @ A.T + 1e-6 * np.eye(6)
        error = rng.multivariate_normal(np.zeros(6), covariance)
        found = T.copy()
        found[:3, 3] -= error[:3]
        found[:3, :3] = Rotation.from_rotvec(-error[3:]).as_matrix() @ T[:3, :3]
        if category == "bottle":  # a turn that nobody can see must not matter
            found[:3, :3] = found[:3, :3] @ Rotation.from_euler("y", rng.uniform(0, 6)).as_matrix()
        predictions.append([prediction(found, (0.1, 0.2, 0.1), category, covariance=covariance)])
        truths.append([truth(T, (0.1, 0.2, 0.1), category)])
    summary = collect_statistics(predictions, truths, NOCS).summary()
    assert summary["covered_50_percent"] == pytest.approx(50.0, abs=6.0)
    assert summary["covered_90_percent"] == pytest.approx(90.0, abs=4.0)


def test_a_small_covariance_is_found_out():
    pose = prediction(pose_at((0.05, 0, 1)), covariance=1e-6 * np.eye(6))
    summary = collect_statistics([[pose]], [[truth(pose_at())]], NOCS).summary()
    assert summary["covered_90_percent"] == 0.0


def test_the_mahalanobis_distance_of_a_ball_counts_translation_only():
    pose = prediction(pose_at((0.02, 0, 1), turn=(50, 0, 0)), covariance=1e-4 * np.eye(6))
    distance, freedom = mahalanobis(pose, pose_at(), Symmetry(("x", "y", "z")))
    assert (distance, freedom) == (pytest.approx(4.0), 3)
