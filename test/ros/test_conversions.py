"""Poses as messages: conventions that a grasp planner relies on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker

from mkpose_ros.geometry.boxes import box_corners
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.ros.conversions import (
    OBJECT_FRAMES,
    detections_3d_msg,
    frame_header,
    in_object_frame,
    is_publishable,
    object_pose_array_msg,
    object_pose_from_msg,
    pose_array_msg,
    vision_msgs,
)
from mkpose_ros.ros.markers import markers_msg
from mkpose_ros.types import CameraIntrinsics, ObjectPose, RgbdFrame, Symmetry

FRAME = RgbdFrame(
    np.zeros((4, 4, 3), np.uint8),
    np.ones((4, 4), np.float32),
    CameraIntrinsics(4, 4, 1.5, 1.5, 4, 4),
    1_700_000_001_000_000_002,
    "optical",
)
HEADER = frame_header(FRAME)


def a_pose(seed=0, **changes):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6))
    pose = ObjectPose(
        category="mug",
        score=0.75,
        T_cam_obj=compose_pose(Rotation.random(random_state=seed).as_matrix(), rng.uniform(0.3, 1.0, 3)),
        size_m=rng.uniform(0.05, 0.3, 3),
        covariance=root @ root.T,
        symmetry=Symmetry(("y",), (1, 1, 2)),
        box2d=np.array([1.5, 2.0, 30.0, 40.25], np.float32),
        keypoints_m=rng.normal(size=(7, 3)).astype(np.float32),
        track_id="mug_3",
    )
    return replace(pose, **changes)


def test_the_stamp_and_frame_of_the_colour_image_become_the_header():
    assert (HEADER.stamp.sec, HEADER.stamp.nanosec, HEADER.frame_id) == (1_700_000_001, 2, "optical")


@pytest.mark.parametrize("seed", range(10))
def test_z_up_moves_no_corner_and_turns_y_into_z(seed):
    pose = a_pose(seed)
    turned = in_object_frame(pose, "z_up")
    before = box_corners(pose.T_cam_obj, pose.size_m)
    after = box_corners(turned.T_cam_obj, turned.size_m)
    distances = np.linalg.norm(before[:, None] - after[None], axis=-1)
    assert distances.min(axis=0).max() < 1e-12
    np.testing.assert_allclose(turned.T_cam_obj[:3, 2], pose.T_cam_obj[:3, 1])
    assert np.linalg.det(turned.T_cam_obj[:3, :3]) == pytest.approx(1.0)
    assert turned.size_m[2] == pose.size_m[1]
    assert turned.symmetry == Symmetry(("z",), (1, 2, 1))
    np.testing.assert_array_equal(turned.keypoints_m, pose.keypoints_m)


def test_every_object_frame_is_a_rotation():
    for R in OBJECT_FRAMES.values():
        np.testing.assert_array_equal(R @ R.T, np.eye(3))
        assert np.linalg.det(R) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_pose_survives_the_way_into_a_message_and_back(seed):
    pose = in_object_frame(a_pose(seed), "z_up")
    message = object_pose_array_msg(HEADER, [pose], "z_up", {"engine": 3.5}, 9.0)
    assert (message.stages[0].name, message.stages[0].duration_ms, message.latency_ms) == ("engine", 3.5, 9.0)
    back = object_pose_from_msg(message.objects[0])
    np.testing.assert_allclose(back.T_cam_obj, pose.T_cam_obj, atol=1e-12)
    np.testing.assert_allclose(back.size_m, pose.size_m)
    np.testing.assert_allclose(back.covariance, pose.covariance)
    np.testing.assert_allclose(back.keypoints_m, pose.keypoints_m, rtol=1e-6)
    np.testing.assert_array_equal(back.box2d, pose.box2d)
    assert (back.category, back.score, back.track_id) == ("mug", 0.75, "mug_3")
    assert back.symmetry == Symmetry(("z",), (1, 2, 1))


def test_quaternions_are_of_unit_length():
    for seed in range(20):
        q = pose_array_msg(HEADER, [a_pose(seed)]).poses[0].orientation
        assert q.x**2 + q.y**2 + q.z**2 + q.w**2 == pytest.approx(1.0, abs=1e-12)


def test_poses_that_are_none_are_not_publishable():
    assert is_publishable(a_pose())
    skewed, mirrored, behind = (a_pose().T_cam_obj.copy() for _ in range(3))
    skewed[0, 0] += 0.2
    mirrored[:3, 0] *= -1
    behind[2, 3] = -0.1
    for T in (skewed, mirrored, behind, np.full((4, 4), np.nan)):
        assert not is_publishable(a_pose(T_cam_obj=T))
    assert not is_publishable(a_pose(size_m=np.array([0.1, 0.0, 0.1])))
    assert not is_publishable(a_pose(covariance=np.full((6, 6), np.inf)))
    assert not is_publishable(a_pose(score=float("nan")))
    assert not is_publishable(a_pose(score=1.5))


def test_the_corners_of_the_marker_are_those_of_the_box():
    pose = a_pose()
    _, box, axes, label, symmetry = markers_msg(HEADER, [pose]).markers
    corners = np.unique(np.round([(p.x, p.y, p.z) for p in box.points], 9), axis=0)
    np.testing.assert_allclose(np.ptp(corners, axis=0), pose.size_m, atol=1e-8)
    assert len(box.points) == 24
    assert len(axes.points) == len(axes.colors) == 6
    assert label.text == "mug_3 0.75"
    along = np.subtract(*[(p.x, p.y, p.z) for p in symmetry.points])
    assert np.flatnonzero(along).tolist() == [1]
    assert {m.action for m in (box, axes, label, symmetry)} == {Marker.ADD}


def test_no_objects_give_empty_messages():
    assert object_pose_array_msg(HEADER, [], "nocs", {}, 0.0).objects == []
    assert pose_array_msg(HEADER, []).poses == []


@pytest.mark.skipif(vision_msgs is None, reason="vision_msgs is not installed")
def test_a_detection_has_one_result_whose_pose_is_the_centre_of_a_metric_box():
    poses = [a_pose(0), a_pose(1, track_id="mug_4")]
    message = detections_3d_msg(HEADER, poses)
    assert message.header == HEADER
    for detection, pose in zip(message.detections, poses, strict=True):
        assert detection.header == HEADER
        assert len(detection.results) == 1
        assert detection.bbox.center == detection.results[0].pose.pose
        assert detection.results[0].hypothesis.class_id == "mug"
        assert detection.results[0].hypothesis.score == 0.75
        size = detection.bbox.size
        np.testing.assert_allclose([size.x, size.y, size.z], pose.size_m)
        assert detection.id == pose.track_id
