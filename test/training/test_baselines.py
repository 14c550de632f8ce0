from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mkpose_ros.errors import MkposeError
from mkpose_ros.training.baselines import mean_shape_icp, nocs_umeyama, principal_box, umeyama
from mkpose_ros.training.comparison import compare
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
    predictions = {
        "nocs": (points / np.linalg.norm(size))[None],
        "keypoints_m": (points @ R.T + [0.0, 0.1, 0.0])[None],
    }
    poses = nocs_umeyama(predictions)
    np.testing.assert_allclose(poses.rotation[0], R, atol=1e-6)
    np.testing.assert_allclose(poses.translation_m[0], [0.0, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(poses.size_m[0], size, atol=1e-6)


def test_principal_box_puts_its_longest_axis_along_the_cloud(made_up_samples):
    samples = made_up_samples(4)
    poses = principal_box(samples)
    for i in range(4):
        points = samples.points_m[i].astype(float)
        long_axis = poses.rotation[i][:, np.argmax(poses.size_m[i])]
        spread = np.linalg.svd(points - points.mean(axis=0))[2][0]
        assert abs(long_axis @ spread) > 0.999
        assert np.linalg.det(poses.rotation[i]) == pytest.approx(1.0)


def test_icp_lays_a_template_on_its_own_copy(made_up_samples):
    pytest.importorskip("open3d")
    rng = np.random.default_rng(0)
    shape = rng.uniform(-0.5, 0.5, (400, 3)) * np.array([0.153, 0.096, 0.093])
    shape[:80] = [0.0765, 0.0, 0.0] + rng.normal(0, 0.004, (80, 3))  # a bump on +x, so that the pose is unique
    shape -= 0.5 * (shape.min(axis=0) + shape.max(axis=0))
    shape *= np.array([0.153, 0.096, 0.093]) / np.ptp(shape, axis=0)
    samples = made_up_samples(1, n_points=400)
    R = samples.rotation[0].astype(float)
    samples.points_m[0] = (shape @ R.T).astype(np.float16)
    poses = mean_shape_icp(samples, lambda _: shape)
    placed = shape @ poses.rotation[0].T + poses.translation_m[0]
    assert np.abs(placed - shape @ R.T).max() < 0.01


def test_the_network_stands_beside_its_yardsticks(tiny, tmp_path, shard_folder):
    pytest.importorskip("open3d")
    Trainer(tiny("run", "steps=2", "validate_every=2")).train()
    rows = compare(tmp_path / "run" / "best.safetensors", [str(shard_folder)], limit=4)
    assert next(iter(rows)) == "mean box by principal axes"
    assert len(rows) == 4
    assert all(row["instances"] == 4 for row in rows.values())
    with pytest.raises(MkposeError, match="no crops"):
        compare(tmp_path / "run" / "best.safetensors", [str(tmp_path / "nothing")])
