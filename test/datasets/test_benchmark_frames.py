"""The real thing: one frame of each part of the NOCS benchmark, where they are at hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mkpose_ros.datasets import open_dataset
from mkpose_ros.datasets.alignment import align_nocs_map
from mkpose_ros.geometry.camera import project
from mkpose_ros.geometry.rotations import rotation_angle_rad


def test_all_objects_of_the_three_frames_are_found(nocs_data):
    dataset = open_dataset(nocs_data)
    found = {s.name: sorted(o.category for o in s.objects) for s in dataset}
    assert found == {
        "camera/train/00000/0000": ["bottle", "bottle", "bowl", "mug"],
        "camera/val/00000/0000": ["laptop", "laptop"],
        "real/train/scene_1/0000": ["bottle", "bowl", "bowl", "can", "mug"],
    }
    assert not dataset.faults


def test_real_poses_put_each_nocs_point_on_its_pixel(nocs_data):
    sample = open_dataset(nocs_data, "real")[0]
    for truth in sample.objects:
        v, u = np.nonzero(sample.instance_ids == truth.instance_id)
        points = (sample.nocs[v, u] - 0.5) * np.linalg.norm(truth.size_m)
        pixels = project(points @ truth.T_cam_obj[:3, :3].T + truth.T_cam_obj[:3, 3], sample.frame.intrinsics)
        off_px = np.linalg.norm(pixels - np.stack([u, v], axis=1), axis=1)
        assert np.median(off_px) < 0.6, truth.model  # a millimetre at 1.1 m is 0.54 pixels


def perspective_n_point(points_m, pixels, k):
    """R, t_m of points (n, 3) seen at pixels (n, 2): no depth is asked."""
    K = np.array([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1]])
    _, turn, t, _ = cv2.solvePnPRansac(points_m, pixels, K, None, reprojectionError=3.0)
    return cv2.Rodrigues(turn)[0], t[:, 0]


def canonical_points(sample, truth):
    """The points (n, 3) in metres of an object's pixels (n, 2) by its coordinate map."""
    v, u = np.nonzero(sample.instance_ids == truth.instance_id)
    points = (sample.nocs[v, u] - 0.5) * np.linalg.norm(truth.size_m)
    return points.astype(np.float64), np.stack([u, v], axis=1).astype(np.float64)


def test_real_poses_agree_with_perspective_n_point_within_3_mm_and_1_degree(nocs_data):
    sample = open_dataset(nocs_data, "real")[0]
    for truth in sample.objects:
        R, t_m = perspective_n_point(*canonical_points(sample, truth), sample.frame.intrinsics)
        assert 1000 * np.linalg.norm(t_m - truth.T_cam_obj[:3, 3]) < 3.0, truth.model
        assert np.degrees(rotation_angle_rad(R, truth.T_cam_obj[:3, :3])) < 1.0, truth.model


def test_random_halves_of_a_mask_agree_with_the_whole_within_3_mm_and_1_degree(nocs_data):
    """How sharply the mask's pixels say where an object is; `pytest -s` prints the figures of docs/datasets.md."""
    sample = open_dataset(nocs_data, "real")[0]
    rng = np.random.default_rng(0)
    for truth in sample.objects:
        points, pixels = canonical_points(sample, truth)
        blocks = (pixels // 8) @ [1, 1000]
        names = np.unique(blocks)
        far_mm, turned_deg = [], []
        for _ in range(40):
            half = np.isin(blocks, rng.choice(names, len(names) // 2, replace=False))
            R, t_m = perspective_n_point(points[half], pixels[half], sample.frame.intrinsics)
            far_mm.append(1000 * np.linalg.norm(t_m - truth.T_cam_obj[:3, 3]))
            turned_deg.append(np.degrees(rotation_angle_rad(R, truth.T_cam_obj[:3, :3])))
        print(
            f"{truth.model}: off by at most {max(far_mm):.2f} mm, {max(turned_deg):.3f} degrees "
            f"(median {np.median(far_mm):.2f} mm, {np.median(turned_deg):.3f} degrees)"
        )
        assert max(far_mm) < 3.0, truth.model
        assert max(turned_deg) < 1.0, truth.model


def test_the_sensor_s_depth_agrees_with_the_map_within_its_own_error(nocs_data):
    sample = open_dataset(nocs_data, "real")[0]
    for truth in sample.objects:
        mask = sample.instance_ids == truth.instance_id
        fit = align_nocs_map(sample.nocs, sample.frame.depth_m, mask, sample.frame.intrinsics)
        assert fit.inliers > 0.7
        assert fit.residual_m < 0.003
        assert fit.scale == pytest.approx(np.linalg.norm(truth.size_m), rel=0.02)
        assert 1000 * np.linalg.norm(fit.translation_m - truth.T_cam_obj[:3, 3]) < 20.0


def test_the_projected_model_covers_the_mask(nocs_data):
    trimesh = pytest.importorskip("trimesh")
    sample = open_dataset(nocs_data, "real")[0]
    for truth in sample.objects:
        mesh = trimesh.load(nocs_data / "obj_models" / "real_train" / f"{truth.model}.obj", force="mesh", process=False)
        assert np.ptp(mesh.vertices, axis=0) == pytest.approx(truth.size_m, abs=1e-4)
        T = truth.T_cam_obj
        pixels = project(mesh.vertices @ T[:3, :3].T + T[:3, 3], sample.frame.intrinsics)
        silhouette = np.zeros(sample.instance_ids.shape, np.uint8)
        for triangle in np.rint(pixels[mesh.faces]).astype(np.int32):
            cv2.fillConvexPoly(silhouette, triangle, 1)
        mask = sample.instance_ids == truth.instance_id
        overlap = (mask & (silhouette > 0)).sum() / (mask | (silhouette > 0)).sum()
        assert overlap > 0.96, truth.model


def test_the_hidden_handle_of_the_camera_mug_makes_it_symmetric_and_the_real_mug_shows_its_own(nocs_data):
    mugs = {s.name.split("/")[0]: o for s in open_dataset(nocs_data) for o in s.objects if o.category == "mug"}
    assert not mugs["camera"].handle_visible
    assert mugs["camera"].symmetry.infinite_axes == ("y",)
    assert mugs["real"].handle_visible
    assert mugs["real"].symmetry.infinite_axes == ()
