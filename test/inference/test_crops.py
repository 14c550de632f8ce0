"""Crops and points of instances: geometry against an independent projection, robustness, edge cases."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkpose_ros.datasets import open_dataset
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.camera import project
from mkpose_ros.inference.crops import MIN_VALID_PIXELS, crop_window, make_crops
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

SHARED = Path(os.environ.get("MKPOSE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
HEIGHT, WIDTH = 120, 160
K = CameraIntrinsics(150.0, 152.0, 79.3, 60.8, WIDTH, HEIGHT)


def _frame(depth_m: np.ndarray | float = 1.0, seed: int = 0) -> RgbdFrame:
    rgb = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    depth = np.broadcast_to(np.asarray(depth_m, np.float32), (HEIGHT, WIDTH)).copy()
    return RgbdFrame(rgb, depth, K)


def _instance(x0: int, y0: int, x1: int, y1: int) -> Instance:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return Instance(mask, np.array([x0, y0, x1, y1], np.float32), "mug", 1.0)


def _crops(frame, instances, n_points=64, crop_px=48, seed=0):
    return make_crops(frame, instances, crop_px=crop_px, n_points=n_points, rng=np.random.default_rng(seed))


def test_points_and_pixels_name_the_same_place_in_the_image():
    instance = _instance(40, 30, 90, 70)
    depth = np.random.default_rng(1).uniform(0.9, 0.95, (HEIGHT, WIDTH))
    batch = _crops(_frame(depth), [instance])
    uv = project(batch.points_m[0] + batch.centroid_m[0], K)
    x0, y0, side = crop_window((40, 30, 90, 70), (HEIGHT, WIDTH))
    expected = 2.0 * (uv - [x0, y0] + 0.5) / side - 1.0
    np.testing.assert_allclose(batch.pixels[0], expected, atol=1e-4)
    np.testing.assert_allclose(batch.points_m.mean(axis=1), 0.0, atol=1e-6)


def test_the_colour_under_a_pixel_is_the_colour_at_its_place_in_the_image():
    frame = _frame()
    smooth = cv2.GaussianBlur(frame.rgb, (0, 0), 4.0)
    frame = RgbdFrame(smooth, frame.depth_m, K)
    batch = _crops(frame, [_instance(40, 30, 90, 70)], crop_px=224, n_points=200)
    uv = np.rint(project(batch.points_m[0] + batch.centroid_m[0], K)).astype(int)
    # grid_sample, align_corners=False, bilinear: sample position ((x + 1) * S - 1) / 2
    position = ((batch.pixels[0] + 1.0) * 224 - 1.0) / 2.0
    sampled = cv2.remap(batch.image[0], position[None, :, 0], position[None, :, 1], cv2.INTER_LINEAR)[0]
    difference = np.abs(sampled.astype(int) - smooth[uv[:, 1], uv[:, 0]])
    assert difference.max() <= 4


def test_the_window_is_the_reference_codes_at_its_own_image_size():
    # AG-Pose at 480x640: side = min((max(h, w) // 40 + 1) * 40, 440), centred, moved inside.
    assert crop_window((300, 200, 377, 250), (480, 640)) == (298, 185, 80)
    assert crop_window((300, 200, 380, 250), (480, 640)) == (280, 165, 120)
    assert crop_window((0, 0, 30, 30), (480, 640)) == (0, 0, 40)
    assert crop_window((620, 470, 640, 480), (480, 640)) == (600, 440, 40)


@given(
    st.tuples(st.integers(0, 600), st.integers(0, 440), st.integers(1, 640), st.integers(1, 480)),
    st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_the_window_follows_the_image_size_and_holds_the_box(box, factor):
    box = (box[0], box[1], min(box[0] + box[2], 640), min(box[1] + box[3], 480))
    x0, y0, side = crop_window(box, (480, 640))
    assert x0 <= box[0]
    assert y0 <= box[1]
    assert box[2] <= x0 + side
    assert box[3] <= y0 + side
    large = crop_window(tuple(factor * v for v in box), (480 * factor, 640 * factor))
    assert large[2] == factor * side
    np.testing.assert_allclose(large[:2], (factor * x0, factor * y0), atol=factor - 1)  # whole pixels are coarser


def test_an_object_larger_than_the_image_is_high_keeps_its_ends():
    batch = _crops(_frame(), [_instance(2, 40, 158, 60)], crop_px=160)
    assert crop_window((2, 40, 158, 60), (HEIGHT, WIDTH)) == (0, -20, 160)
    assert np.abs(batch.pixels).max() <= 1.0
    assert not batch.image[0, :20].any()
    np.testing.assert_array_equal(batch.image[0, 20:140], _frame().rgb)


def test_points_are_drawn_without_replacement_when_there_are_enough():
    batch = _crops(_frame(), [_instance(40, 30, 50, 40)], n_points=100)
    assert len(np.unique(batch.pixels[0], axis=0)) == 100


def test_a_small_instance_gives_each_of_its_points_at_least_once():
    batch = _crops(_frame(), [_instance(40, 30, 45, 35)], n_points=64)
    assert len(np.unique(batch.pixels[0], axis=0)) == 25


def test_instances_with_too_little_depth_are_dropped_and_the_others_keep_their_index():
    frame = _frame()
    frame.depth_m[:, 100:] = 0.0
    frame.depth_m[30, 100:116] = 1.0
    instances = [_instance(100, 20, 150, 60), _instance(10, 10, 40, 40), _instance(60, 60, 61, 61)]
    assert _crops(frame, instances).kept.tolist() == [1]
    frame.depth_m[31, 100] = 1.0
    assert _crops(frame, instances).kept.tolist() == [0, 1]
    assert MIN_VALID_PIXELS == 16


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_invalid_depth_is_never_drawn(value):
    depth = np.full((HEIGHT, WIDTH), 0.8, np.float32)
    depth[::2] = value
    batch = _crops(_frame(depth), [_instance(40, 30, 90, 70)], n_points=500)
    np.testing.assert_allclose((batch.points_m + batch.centroid_m[:, None])[..., 2], 0.8, atol=1e-6)


def test_no_instance_gives_an_empty_batch_of_the_right_shapes():
    batch = _crops(_frame(), [])
    assert batch.image.shape == (0, 48, 48, 3)
    assert batch.points_m.shape == (0, 64, 3)
    assert batch.pixels.shape == (0, 64, 2)
    assert batch.kept.shape == batch.centroid_m.shape[:1] == (0,)


def test_masks_at_every_border_and_of_the_whole_image_are_served():
    boxes = [(0, 0, 20, 20), (140, 0, 160, 20), (0, 100, 20, 120), (140, 100, 160, 120), (0, 0, 160, 120)]
    batch = _crops(_frame(), [_instance(*box) for box in boxes])
    assert batch.kept.tolist() == [0, 1, 2, 3, 4]
    assert np.abs(batch.pixels).max() <= 1.0


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("wall_m", [0.3, 2.5])
def test_background_that_bleeds_into_the_mask_is_left_out(share, wall_m):
    rng = np.random.default_rng(2)
    depth = rng.uniform(0.95, 1.05, (HEIGHT, WIDTH))
    background = rng.random((HEIGHT, WIDTH)) < share
    depth[background] = wall_m
    smear = rng.random((HEIGHT, WIDTH)) < 0.004  # flying pixels between the two
    depth[smear] = rng.uniform(min(wall_m, 1.0), max(wall_m, 1.0), smear.sum())
    batch = _crops(_frame(depth), [_instance(50, 40, 80, 70)], n_points=600)
    z = (batch.points_m + batch.centroid_m[:, None])[0, :, 2]
    assert np.abs(z - 1.0).max() < 0.16  # the object's own depths and at most one gap beyond


def test_a_laptop_keeps_its_base_behind_a_screen_that_faces_the_camera():
    depth = np.full((HEIGHT, WIDTH), 1.0, np.float32)
    depth[64:70] = np.linspace(1.0, 1.3, 6)[:, None]  # 13 % of the pixels, seen at a grazing angle
    batch = _crops(_frame(depth), [_instance(50, 25, 105, 70)], n_points=2475)
    z = (batch.points_m + batch.centroid_m[:, None])[0, :, 2]
    assert z.max() == pytest.approx(1.3, abs=1e-5)


@pytest.mark.skipif(not (SHARED / "nocs").is_dir(), reason="the reference frames are not here")
def test_a_real_frames_loose_masks_lose_their_background_and_nothing_else():
    sample = open_dataset(SHARED / "nocs", "real/train")[0]
    for truth in sample.objects:
        mask = sample.instance_ids == truth.instance_id
        instance = Instance(mask, np.zeros(4, np.float32), truth.category, 1.0)
        every = int((mask & (sample.frame.depth_m > 0)).sum())
        batch = _crops(sample.frame, [instance], n_points=every)  # each of the kept pixels, some of them twice
        points = batch.points_m[0]
        in_object = (points + batch.centroid_m[0] - truth.T_cam_obj[:3, 3]) @ truth.T_cam_obj[:3, :3]
        outside = (np.abs(in_object) > truth.size_m / 2 + 0.02).any(axis=1)
        assert outside.mean() < 0.006  # of the masks' own pixels it is up to 8 %
        assert len(np.unique(points, axis=0)) > 0.9 * every


def test_the_same_seed_gives_the_same_crops_and_another_seed_others():
    frame, instances = _frame(), [_instance(40, 30, 90, 70), _instance(5, 5, 50, 80)]
    one, same, other = (_crops(frame, instances, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.points_m, same.points_m)
    np.testing.assert_array_equal(one.pixels, same.pixels)
    assert not np.array_equal(one.pixels, other.pixels)


def test_a_mask_of_another_size_is_refused_with_both_sizes():
    instance = Instance(np.ones((4, 5), bool), np.zeros(4, np.float32), "can", 1.0)
    with pytest.raises(InputError, match=r"\(4, 5\).*\(120, 160\)"):
        _crops(_frame(), [instance])
