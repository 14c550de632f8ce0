from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.datasets.samples import MASK_NOISE, SampleConfig, concatenate, spoil_mask, training_samples
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.types import CameraIntrinsics, FrameSample, ObjectTruth, RgbdFrame, Symmetry


def wall_with_box(depth_m: float = 0.8) -> FrameSample:
    """A fronto-parallel patch of 120 x 80 px before a wall; its truth sits 5 cm behind the patch."""
    height, width = 240, 320
    rng = np.random.default_rng(0)
    depth = np.full((height, width), 2.0, np.float32)
    ids = np.zeros((height, width), np.int32)
    depth[80:160, 100:220], ids[80:160, 100:220] = depth_m, 3
    intrinsics = CameraIntrinsics(300.0, 300.0, 160.0, 120.0, width, height)
    pose = compose_pose(np.eye(3), [0.0, 0.0, depth_m + 0.05])
    truth = ObjectTruth(3, "mug", "mug_1", pose, np.array([0.32, 0.21, 0.1]), Symmetry(("y",)), handle_visible=False)
    frame = RgbdFrame(rng.integers(0, 255, (height, width, 3), dtype=np.uint8), depth, intrinsics)
    return FrameSample(frame, ids, (truth,), "made/0")


def test_translation_target_is_relative_to_the_crops_centroid():
    samples = training_samples(wall_with_box(), SampleConfig(clean_share=1.0), np.random.default_rng(0))
    assert len(samples) == 1
    np.testing.assert_allclose(samples.centroid_m[0] + samples.translation_m[0], [0, 0, 0.85], atol=1e-6)
    assert samples.translation_m[0, 2] == pytest.approx(0.05, abs=1e-4)


def test_the_views_symmetry_becomes_the_target():
    samples = training_samples(wall_with_box(), SampleConfig(), np.random.default_rng(0))
    assert samples.infinite.tolist() == [[False, True, False]]


def test_views_are_spoiled_differently():
    samples = training_samples(wall_with_box(), SampleConfig(views=4, clean_share=0.0), np.random.default_rng(0))
    assert len(samples) == 4
    assert len({float(c[0]) for c in samples.centroid_m}) > 1


def test_a_frame_without_usable_instances_gives_none():
    sample = wall_with_box()
    none_visible = SampleConfig(min_visible_px=10**6)
    assert training_samples(sample, none_visible, np.random.default_rng(0)) is None
    assert training_samples(sample, SampleConfig(categories=("bowl",)), np.random.default_rng(0)) is None


def test_equal_seeds_give_equal_samples():
    a, b = (training_samples(wall_with_box(), SampleConfig(views=3), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a.points_m, b.points_m)
    np.testing.assert_array_equal(a.image, b.image)


@pytest.mark.parametrize("name", MASK_NOISE)
def test_each_mask_noise_changes_the_mask_in_its_direction(name):
    mask = np.zeros((120, 160), bool)
    mask[30:90, 40:110] = True
    mask[30:60, 40:60] = False
    others = np.zeros_like(mask)
    others[30:90, 110:150] = True
    results = [MASK_NOISE[name](mask, others, np.random.default_rng(seed)) for seed in range(20)]
    assert all(result.shape == mask.shape and result.dtype == bool for result in results)
    assert any((result != mask).any() for result in results)
    if name in ("eroded", "partial", "holes"):
        assert not any((result & ~mask).any() for result in results)
    if name in ("dilated", "merged"):
        assert not any((mask & ~result).any() for result in results)
    if name == "merged":
        assert not any((result & ~mask & ~others).any() for result in results)


def test_a_spoiled_mask_is_never_empty_and_keeps_to_the_object():
    rng = np.random.default_rng(0)
    for side in (5, 9, 30):
        mask = np.zeros((100, 100), bool)
        mask[50 : 50 + side, 95 - side : 95] = True
        for _ in range(50):
            spoiled = spoil_mask(mask, np.zeros_like(mask), rng)
            assert np.count_nonzero(spoiled & mask) >= min(17, mask.sum()) * 0.5
            assert np.count_nonzero(spoiled) <= 2.5 * mask.sum() + 60


def test_concatenate_and_take_are_inverse():
    samples = training_samples(wall_with_box(), SampleConfig(views=3), np.random.default_rng(0))
    again = concatenate([samples.take(slice(i, i + 1)) for i in range(3)])
    np.testing.assert_array_equal(again.points_m, samples.points_m)
    assert again.source.tolist() == samples.source.tolist()
