from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.errors import InputError
from mkpose_ros.training.ablate import run_ablations
from mkpose_ros.training.baselines import MeanShapeIcp, nocs_umeyama, principal_box, umeyama
from mkpose_ros.training.comparison import compare, comparison_table
from mkpose_ros.training.trainer import Trainer


def test_umeyama_recovers_a_similarity():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(40, 3))
    R = Rotation.random(random_state=1).as_matrix()
    scale, rotation, translation = umeyama(source, 0.3 * source @ R.T + [1.0, -2.0, 0.5])
    assert scale == pytest.approx(0.3)
    np.testing.assert_allclose(rotation, R, atol=1e-9)
    np.testing.assert_allclose(translation, [1.0, -2.0, 0.5], atol=1e-9)


def test_umeyama_never_mirrors():
    source = np.random.default_rng(0).normal(size=(40, 3))
    _, rotation, _ = umeyama(source, source * [-1.0, 1.0, 1.0])
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_nocs_coordinates_give_pose_and_size():
    rng = np.random.default_rng(0)
    R, size = Rotation.random(random_state=2).as_matrix(), np.array([0.1, 0.2, 0.05])
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    points = np.concatenate([corners, rng.uniform(-0.5, 0.5, (20, 3)) * size])
    box = nocs_umeyama(points @ R.T + [0.0, 0.1, 0.0], points / np.linalg.norm(size))
    np.testing.assert_allclose(box.rotation, R, atol=1e-6)
    np.testing.assert_allclose(box.translation_m, [0.0, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(box.size_m, size, atol=1e-6)


def test_principal_box_puts_its_longest_axis_along_the_cloud(made_up_samples):
    samples = made_up_samples(4)
    for cloud, category in zip(samples.points_m, samples.category.tolist(), strict=True):
        points = cloud.astype(float)
        box = principal_box(points, category)
        long_axis = box.rotation[:, np.argmax(box.size_m)]
        spread = np.linalg.svd(points - points.mean(axis=0))[2][0]
        assert abs(long_axis @ spread) > 0.999
        assert np.linalg.det(box.rotation) == pytest.approx(1.0)


def test_icp_lays_a_template_on_its_own_copy():
    pytest.importorskip("open3d")
    rng = np.random.default_rng(0)
    shape = rng.uniform(-0.5, 0.5, (400, 3)) * np.array([0.153, 0.096, 0.093])
    shape[:80] = [0.0765, 0.0, 0.0] + rng.normal(0, 0.004, (80, 3))  # a bump on +x, so that the pose is unique
    shape -= 0.5 * (shape.min(axis=0) + shape.max(axis=0))
    shape *= np.array([0.153, 0.096, 0.093]) / np.ptp(shape, axis=0)
    R, t = Rotation.random(1, random_state=0).as_matrix()[0], np.array([0.3, 0.0, 0.9])
    box = MeanShapeIcp(lambda _: shape)(shape @ R.T + t, "mug")
    assert np.abs(shape @ box.rotation.T + box.translation_m - shape @ R.T - t).max() < 0.01


def test_the_network_stands_beside_its_yardsticks(tiny, tmp_path, test_scenes):
    pytest.importorskip("open3d")
    Trainer(tiny("run", "steps=2", "validate_every=2")).train()
    weights = tmp_path / "run" / "best.safetensors"
    rows = compare(weights, test_scenes, also={"without text": weights})
    assert next(iter(rows)) == "mean box by principal axes"
    assert list(rows)[-2:] == ["MK-Pose `small`", "without text"]
    group = "the six of NOCS (6)"
    assert all(row[group]["objects"] == 2 for row in rows.values())
    assert rows["without text"] == rows["MK-Pose `small`"]
    assert rows["the pose head alone"][group]["median_cm"] != rows["MK-Pose `small`"][group]["median_cm"]
    table = comparison_table(rows).splitlines()
    assert table[0] == "**trained categories (6)**, 2 objects"
    assert sum(line.startswith("| ") for line in table) >= 7


def test_a_row_that_does_not_exist_is_said(tmp_path):
    with pytest.raises(InputError, match="colour; expected some of text, symmetry_loss"):
        run_ablations("train_small", tmp_path, [], ["colour"])
