"""What is checked before a frame is worked on, and depth registration."""

from __future__ import annotations

import numpy as np
import pytest
from rig import HEIGHT, WIDTH, color_msg, depth_image, depth_msg, info_msg
from sensor_msgs.msg import RegionOfInterest

from mkpose_ros.errors import InputError
from mkpose_ros.geometry.camera import deproject, project
from mkpose_ros.geometry.registration import register_depth
from mkpose_ros.ros.camera import pairing_advice
from mkpose_ros.ros.frames import FrameMessages, build_frame, intrinsics_from_info
from mkpose_ros.ros.images import image_to_msg
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.types import CameraIntrinsics


def frame(settings=Settings(), **messages):  # noqa: B008 - frozen
    parts = {"color": color_msg(), "depth": depth_msg(), "info": info_msg()}
    return build_frame(FrameMessages(**{**parts, **messages}), settings)


def test_a_good_frame_keeps_stamp_frame_and_camera():
    color = color_msg()
    color.header.stamp.sec, color.header.stamp.nanosec = 5, 7
    got = frame(color=color)
    assert (got.stamp_ns, got.frame_id) == (5_000_000_007, "camera_color_optical_frame")
    assert got.intrinsics == CameraIntrinsics(150.0, 150.0, 79.5, 59.5, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("index", "value"), [(0, 0.0), (0, -150.0), (4, 0.0), (8, 0.0), (8, 2.0), (2, np.nan), (0, np.inf)]
)
def test_a_camera_matrix_that_is_none_is_refused(index, value):
    info = info_msg()
    info.k[index] = value
    with pytest.raises(InputError, match="calibrate"):
        frame(info=info)


def test_a_camera_info_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(InputError, match=r"320x240.*160x120"):
        frame(info=info_msg(320, 240))


def test_binning_scales_the_camera_so_that_rays_stay_where_they_are():
    full = info_msg(2 * WIDTH, 2 * HEIGHT, binning_x=2, binning_y=2)
    k = intrinsics_from_info(full, WIDTH, HEIGHT, "info")
    # The centre of binned pixel (10, 20) is the middle of full pixels 20..21, 40..41.
    ray_binned = deproject(np.array(10.0), np.array(20.0), np.array(1.0), k)
    whole = CameraIntrinsics(150.0, 150.0, WIDTH - 0.5, HEIGHT - 0.5, 2 * WIDTH, 2 * HEIGHT)
    np.testing.assert_allclose(ray_binned, deproject(np.array(20.5), np.array(40.5), np.array(1.0), whole), atol=1e-6)


def test_a_region_of_interest_moves_the_principal_point():
    info = info_msg(640, 480, roi=RegionOfInterest(x_offset=100, y_offset=50, width=WIDTH, height=HEIGHT))
    k = intrinsics_from_info(info, WIDTH, HEIGHT, "info")
    assert (k.cx, k.cy) == (319.5 - 100, 239.5 - 50)


def test_depth_of_another_size_is_refused_with_both_sizes_and_advice():
    depth = image_to_msg(depth_image()[::2, ::2], "16UC1", color_msg().header)
    with pytest.raises(InputError, match=r"80x60.*160x120.*align_depth"):
        frame(depth=depth)
    with pytest.raises(InputError, match=r"80x60.*160x120"):
        frame(Settings(unregistered_depth="accept"), depth=depth)


def test_depth_of_another_frame_is_refused_unless_accepted():
    depth = depth_msg()
    depth.header.frame_id = "camera_depth_optical_frame"
    with pytest.raises(InputError, match=r"camera_depth_optical_frame.*camera_color_optical_frame"):
        frame(depth=depth)
    assert frame(Settings(unregistered_depth="accept"), depth=depth).depth_m[0, 0] == np.float32(0.8)


def test_depth_of_another_camera_matrix_is_refused_unless_accepted():
    with pytest.raises(InputError, match=r"fx 170\.0"):
        frame(depth_info=info_msg(f=170.0))
    frame(Settings(unregistered_depth="accept"), depth_info=info_msg(f=170.0))
    frame(depth_info=info_msg(f=150.4))  # calibrations differ by less than a pixel


def test_registering_needs_the_depth_camera_info():
    depth = depth_msg()
    depth.header.frame_id = "other"
    with pytest.raises(InputError, match="depth/camera_info"):
        frame(Settings(unregistered_depth="register"), depth=depth)


def test_a_registered_plane_lies_where_the_colour_camera_sees_it():
    depth = image_to_msg(np.full((60, 80), 1000, np.uint16), "16UC1", color_msg().header)
    settings = Settings(unregistered_depth="register", depth_to_color=(0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0))
    got = frame(settings, depth=depth, depth_info=info_msg(80, 60, f=50.0))
    centre = got.depth_m[40:80, 50:110]
    assert (centre > 0).all()  # a coarser depth camera leaves no holes
    np.testing.assert_allclose(centre, 1.1, atol=1e-6)


def test_registration_agrees_with_moving_each_point_by_hand():
    rng = np.random.default_rng(3)
    depth_camera = CameraIntrinsics(100.0, 100.0, 39.5, 29.5, 80, 60)
    color_camera = CameraIntrinsics(120.0, 120.0, 60.0, 45.0, 120, 90)
    depth_m = np.zeros((60, 80), np.float32)
    v, u = rng.integers(5, 55, 20), rng.integers(5, 75, 20)
    depth_m[v, u] = rng.uniform(0.5, 2.0, 20)
    T = np.eye(4)
    T[:3, 3] = 0.05, -0.02, 0.01
    registered = register_depth(depth_m, depth_camera, color_camera, T)
    for row, column in zip(*np.nonzero(depth_m), strict=True):
        point = deproject(np.array(column), np.array(row), depth_m[row, column], depth_camera) + T[:3, 3]
        x, y = np.rint(project(point, color_camera)).astype(int)
        if 0 <= x < 120 and 0 <= y < 90:
            assert registered[y, x] <= point[2] + 1e-6
            assert registered[y, x] > 0


def test_the_nearer_surface_wins_where_two_land_on_one_pixel():
    camera = CameraIntrinsics(100.0, 100.0, 39.5, 29.5, 80, 60)
    half = CameraIntrinsics(10.0, 10.0, 4.0, 3.0, 8, 6)  # ten depth pixels on one
    depth_m = np.full((60, 80), 2.0, np.float32)
    depth_m[::3] = 1.0
    assert (register_depth(depth_m, camera, half, np.eye(4))[1:5, 1:7] == 1.0).all()


def test_registering_no_depth_gives_no_depth():
    camera = CameraIntrinsics(100.0, 100.0, 39.5, 29.5, 80, 60)
    assert not register_depth(np.zeros((60, 80), np.float32), camera, camera, np.eye(4)).any()


def test_streams_whose_stamps_fit_are_not_told_to_raise_slop():
    assert "raise slop" in pairing_advice(0.08, 0.02)
    assert "lost or late" in pairing_advice(0.0, 0.02)
