"""Carried masks: a picture moved by a known amount, and what may go wrong on the way."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.segmentation.masks import mask_iou
from mkpose_ros.tracking.carry import MaskCarrier
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

K = CameraIntrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)
WALL_M, OBJECT_M = 1.5, 0.8


def _canvas() -> np.ndarray:
    """A smooth random texture (480, 640, 3), larger than the picture."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)


def _view(shift=(0, 0), *, stamp_ns: int = 0, plain: bool = False, T_world_cam=None) -> tuple[RgbdFrame, Instance]:
    """A textured disc before a textured wall, both moved by a shift in pixels; `plain`: without texture on the disc."""
    x, y = shift
    rgb = np.ascontiguousarray(_canvas()[120 - y : 360 - y, 160 - x : 480 - x])
    mask = np.zeros((240, 320), np.uint8)
    cv2.circle(mask, (150 + x, 110 + y), 40, 1, -1)
    if plain:
        rgb[mask > 0] = 128
    depth_m = np.where(mask > 0, np.float32(OBJECT_M), np.float32(WALL_M))
    box = np.float32([110 + x, 70 + y, 191 + x, 151 + y])
    frame = RgbdFrame(rgb, depth_m, K, stamp_ns, "camera", T_world_cam)
    return frame, Instance(mask > 0, box, "mug", 0.9)


@pytest.mark.parametrize("shift", [(0, 0), (7, -4), (-20, 12)])
@pytest.mark.parametrize("plain", [False, True], ids=["textured", "plain"])
def test_a_mask_goes_where_its_object_goes(shift, plain):
    frame, instance = _view(plain=plain)
    later, expected = _view(shift, stamp_ns=200_000_000, plain=plain)
    carried = MaskCarrier(frame, [instance]).carry(later)
    (found,) = carried.instances
    assert mask_iou(found.mask, expected.mask) > 0.93
    np.testing.assert_allclose(found.box2d, expected.box2d, atol=3)
    assert (found.category, found.score) == ("mug", 0.9)
    assert carried.coverage > 0.95
    assert carried.age_s == pytest.approx(0.2)


def test_a_mask_follows_over_many_frames_without_drift():
    frame, instance = _view()
    carrier = MaskCarrier(frame, [instance])
    for step in range(1, 16):
        later, expected = _view((4 * step, 2 * step), stamp_ns=step * 30_000_000)
        (found,) = carrier.carry(later).instances
    assert mask_iou(found.mask, expected.mask) > 0.93


def test_what_comes_before_an_object_is_cut_out_of_its_mask():
    frame, instance = _view()
    later, expected = _view((3, 0), stamp_ns=100_000_000)
    later.depth_m[:, 170:] = 0.4  # a board over a quarter of the disc
    carried = MaskCarrier(frame, [instance]).carry(later)
    (found,) = carried.instances
    assert not found.mask[:, 171:].any()
    assert mask_iou(found.mask[:, :170], expected.mask[:, :170]) > 0.9
    assert carried.coverage < 0.9


def test_a_hidden_object_is_lost_and_not_guessed():
    frame, instance = _view()
    later, _ = _view(stamp_ns=100_000_000)
    later.depth_m[:] = 0.4
    carried = MaskCarrier(frame, [instance]).carry(later)
    assert (carried.instances, carried.lost, carried.coverage) == ([], 1, 0.0)


def test_an_object_that_left_the_picture_is_lost():
    frame, instance = _view()
    later, _ = _view(stamp_ns=100_000_000)
    blank = replace(later, rgb=np.full_like(later.rgb, 90))
    assert MaskCarrier(frame, [instance]).carry(blank).lost == 1


def test_a_known_camera_motion_reaches_farther_than_flow():
    shift = 60  # of the disc; the wall would move less, and no flow is asked to find out
    T_cam = compose_pose(np.eye(3), [-shift * OBJECT_M / K.fx, 0.0, 0.0])
    frame, instance = _view(T_world_cam=np.eye(4))
    later, expected = _view((shift, 0), stamp_ns=100_000_000, T_world_cam=T_cam)
    (found,) = MaskCarrier(frame, [instance]).carry(later).instances
    assert mask_iou(found.mask, expected.mask) > 0.9


def test_nothing_carried_is_a_normal_answer():
    frame, _ = _view()
    carried = MaskCarrier(frame, []).carry(_view(stamp_ns=50_000_000)[0])
    assert (carried.instances, carried.lost, carried.coverage) == ([], 0, 1.0)


def test_the_given_masks_stay_as_they_are():
    frame, instance = _view()
    before = instance.mask.copy()
    MaskCarrier(frame, [instance]).carry(_view((5, 5))[0])
    np.testing.assert_array_equal(instance.mask, before)
