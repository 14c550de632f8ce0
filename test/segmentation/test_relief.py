"""Depth as the network sees it: slopes, steps and the size of a pixel, against the geometry they are drawn from."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.segmentation.canvas import fitted, frame_without_depth, relief_at
from mkpose_ros.segmentation.relief import no_relief, relief_image
from mkpose_ros.types import CameraIntrinsics, RgbdFrame

CAMERA = CameraIntrinsics(300.0, 300.0, 80.0, 60.0, 160, 120)
INSIDE = np.s_[8:-8, 8:-8]


def plane(normal, distance_m=1.0, camera=CAMERA):
    """The depth of the plane n . p = n_z distance."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    return (normal[2] * distance_m / (rays @ normal)).astype(np.float32)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.3, -0.2, 0.93), (-0.6, 0.5, 0.62)])
def test_a_plane_has_its_normal_everywhere(normal):
    normal = np.array(normal) / np.linalg.norm(normal)
    relief = relief_image(plane(normal), CAMERA)[INSIDE].astype(float)
    np.testing.assert_allclose(relief[..., 1], 127 + 127 * normal[0], atol=1.5)
    np.testing.assert_allclose(relief[..., 2], 127 + 127 * normal[1], atol=1.5)


def test_the_slope_stays_where_the_camera_has_another_lens():
    normal = np.array([0.36, 0.48, 0.8])
    long = replace(CAMERA, fx=600.0, fy=600.0)
    one, other = (relief_image(plane(normal, camera=k), k)[INSIDE].astype(int) for k in (CAMERA, long))
    assert np.abs(one[..., 1:3] - other[..., 1:3]).max() <= 2


def test_the_first_channel_says_how_large_a_pixel_is():
    near, far = (relief_image(plane((0, 0, 1), d), CAMERA)[60, 80, 0] for d in (0.5, 1.5))
    assert far - near == pytest.approx(254 * np.log(3.0) / np.log(0.03 / 1e-4), abs=1)
    long = replace(CAMERA, fx=900.0, fy=900.0)
    assert relief_image(plane((0, 0, 1), 1.5), long)[60, 80, 0] == near


def test_what_stands_off_a_wall_is_nearer_than_its_surroundings():
    depth_m = np.full((120, 160), 1.0, np.float32)
    depth_m[50:70, 70:90] = 0.97
    step = relief_image(depth_m, CAMERA)[..., 3].astype(int)
    assert (step[50:70, 70:90] < 120).all()
    assert (step[55:65, 40:60] >= 127).all()
    assert (step[:10, :10] == 127).all()


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf, -1.0])
def test_what_was_not_measured_says_so_and_harms_nothing_beside_it(nothing):
    depth_m = plane((0, 0, 1))
    depth_m[40:60, 30:50] = nothing
    relief = relief_image(depth_m, CAMERA)
    assert (relief[40:60, 30:50] == no_relief(20, 20)).all()
    assert (relief[40:60, 52:] == relief_image(plane((0, 0, 1)), CAMERA)[40:60, 52:]).all()


def test_a_mirrored_camera_sees_mirrored_slopes():
    depth_m = plane(np.array([0.36, 0.48, 0.8]))
    mirrored = relief_image(depth_m[:, ::-1].copy(), replace(CAMERA, cx=159 - CAMERA.cx))[:, ::-1][INSIDE].astype(int)
    straight = relief_image(depth_m, CAMERA)[INSIDE].astype(int)
    assert np.abs(mirrored[..., 1] + straight[..., 1] - 254).max() <= 2
    assert np.abs(mirrored[..., [0, 2, 3]] - straight[..., [0, 2, 3]]).max() <= 1


def test_a_frame_of_half_the_size_has_the_same_slopes():
    normal = np.array([0.36, 0.48, 0.8])
    frame = RgbdFrame(np.zeros((120, 160, 3), np.uint8), plane(normal), CAMERA)
    half = relief_at(frame, 60, 80)[5:-5, 5:-5].astype(int)
    assert np.abs(half[..., 1] - (127 + 127 * 0.36)).max() <= 3
    assert np.abs(half[..., 2] - (127 + 127 * 0.48)).max() <= 3


@pytest.mark.parametrize("size", [(2160, 3840), (75, 100), (480, 640), (640, 480)])
def test_a_canvas_holds_colours_and_relief_of_any_picture(size):
    frame = replace(frame_without_depth(np.full((*size, 3), 200, np.uint8)), depth_m=np.full(size, 1.0, np.float32))
    canvas, scale = fitted(frame, 96, 128, 127, relief=True)
    height, width = round(size[0] * scale), round(size[1] * scale)
    assert canvas.shape == (96, 128, 7)
    assert (canvas[:height, :width, :3] == 200).all()
    assert (canvas[:height, :width, 3] > 0).all()
    assert (canvas[height:, :, 3:] == no_relief(96 - height, 128)).all()
    assert (canvas[:, width:, :3] == 127).all()


def test_a_frame_without_depth_has_no_relief():
    canvas, _ = fitted(frame_without_depth(np.full((96, 128, 3), 9, np.uint8)), 96, 128, 127, relief=True)
    assert (canvas[..., 3:] == no_relief(96, 128)).all()


def test_depth_that_lies_beside_a_picture_is_read_with_it(tmp_path):
    from mkpose_ros.segmentation.annotations import depth_beside, read_picture

    picture = tmp_path / "0001_color.png"
    cv2.imwrite(str(picture), np.zeros((120, 160, 3), np.uint8))
    assert depth_beside(picture) is None
    assert not read_picture(picture).depth_m.any()
    cv2.imwrite(str(tmp_path / "0001_depth.png"), np.full((120, 160), 1234, np.uint16))
    camera = {"fx": 300.0, "fy": 300.0, "cx": 80.0, "cy": 60.0, "width": 160, "height": 120}
    (tmp_path / "0001_intrinsics.json").write_text(json.dumps(camera))
    frame = read_picture(picture)
    assert frame.intrinsics == CAMERA
    assert frame.depth_m == pytest.approx(1.234)
    (tmp_path / "0001_intrinsics.json").write_text(json.dumps({**camera, "width": 200}))
    with pytest.raises(InputError, match="expected 16-bit millimetres, 200x120"):
        read_picture(picture)
    (tmp_path / "0001_intrinsics.json").write_text("{}")
    with pytest.raises(InputError, match="0001_intrinsics"):
        read_picture(picture)
