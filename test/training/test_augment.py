from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from mkpose_ros.categories import load_categories
from mkpose_ros.geometry.sampling import farthest_point_order
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.training.augment import augment, augment_images, augment_points, farthest_first, mirror, subset_points
from mkpose_ros.training.batches import to_batch
from mkpose_ros.training.config import AugmentConfig

STILL = AugmentConfig(
    point_noise_m=0.0, shift_m=0.0, euler_deg=0.0, scale=0.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0,
    image_noise=0.0, blur_share=0.0, grey_share=0.0, erase_share=0.0, drop_share=0.0,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch(made_up_samples):
    return to_batch(made_up_samples(16), torch.device("cpu"))


def nocs(batch) -> torch.Tensor:
    """Each point in its object's normalised coordinates: what no shift, turn or scale may change."""
    local = torch.einsum("bji,bnj->bni", batch.rotation, batch.points_m - batch.translation_m[:, None])
    return local / batch.size_m.norm(dim=1)[:, None, None]


def test_points_and_targets_move_together(batch):
    moved = augment_points(batch, replace(STILL, shift_m=0.02, euler_deg=20.0, scale=0.2), generator())
    assert (moved.points_m - batch.points_m).abs().max() > 0.01
    torch.testing.assert_close(nocs(moved), nocs(batch), atol=2e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(moved.rotation), torch.ones(16), atol=1e-5, rtol=0)


def test_without_any_augmentation_nothing_changes(batch):
    still = augment(batch, STILL, generator())
    torch.testing.assert_close(still.points_m, batch.points_m, atol=1e-7, rtol=0)
    assert torch.equal(still.image, batch.image)
    assert torch.equal(still.pixels, batch.pixels)


def test_point_noise_is_clipped_at_five_sigma(batch):
    big = batch._replace(points_m=torch.zeros(16, 5000, 3), pixels=torch.zeros(16, 5000, 2))
    noise = augment_points(big, replace(STILL, point_noise_m=0.001), generator()).points_m
    assert noise.std().item() == pytest.approx(0.001, rel=0.05)
    assert noise.abs().max() <= 0.005


def test_a_dropped_ball_leaves_only_points_of_the_cloud(batch):
    dropped = augment_points(batch, replace(STILL, drop_share=1.0), generator())
    for before, after in zip(batch.points_m, dropped.points_m, strict=True):
        kept = torch.unique(after, dim=0)
        assert 0.6 * len(before) <= len(kept) <= 0.97 * len(before)
        assert (torch.cdist(kept, before).amin(dim=1) < 1e-6).all()


def test_points_and_pixels_stay_pairs(batch):
    marked = batch._replace(pixels=batch.points_m[..., :2])
    changed = augment_points(marked, replace(STILL, drop_share=1.0), generator())
    torch.testing.assert_close(changed.pixels, changed.points_m[..., :2])
    subset = subset_points(marked, 40, generator())
    torch.testing.assert_close(subset.pixels, subset.points_m[..., :2])


def test_images_stay_in_range_and_a_grey_share_of_one_gives_greys(batch):
    assert augment_images(batch.image, AugmentConfig(), generator()).dtype == torch.uint8
    grey = augment_images(batch.image, replace(STILL, grey_share=1.0), generator()).int()
    assert (grey.amax(dim=-1) - grey.amin(dim=-1)).max() <= 1


def test_equal_generators_give_equal_batches(batch):
    first, second = (augment(batch, AugmentConfig(), generator(3)) for _ in range(2))
    assert torch.equal(first.points_m, second.points_m)
    assert torch.equal(first.image, second.image)
    assert not torch.equal(first.points_m, augment(batch, AugmentConfig(), generator(4)).points_m)


def test_subset_without_generator_takes_the_first(batch):
    subset = subset_points(batch, 10)
    assert torch.equal(subset.points_m, batch.points_m[:, :10])
    assert np.array_equal(subset_points(batch, 500).points_m, batch.points_m)


def test_farthest_first_equals_the_nodes_order(batch):
    ordered = farthest_first(batch, 24)
    for before, after in zip(batch.points_m, ordered.points_m, strict=True):
        expected = before[torch.from_numpy(farthest_point_order(before.numpy(), 24))]
        torch.testing.assert_close(after, expected)


def test_one_matrix_equals_the_colour_steps_one_by_one(batch):
    strong = replace(STILL, brightness=0.2, contrast=0.3)
    pale = (batch.image // 2 + 60).to(torch.uint8)  # far from 0 and 255: nothing is cut off
    changed = augment_images(pale, strong, generator(1)).float()
    draws = generator(1)
    brightness, contrast = (1 + (torch.rand((16, 1, 1, 1), generator=draws) * 2 - 1) * r for r in (0.2, 0.3))
    bright = pale.float() * brightness
    mean = bright.mean(dim=(1, 2, 3), keepdim=True)
    expected = ((bright - mean) * contrast + mean).clamp(0, 255)
    torch.testing.assert_close(changed, expected, atol=0.51, rtol=0)


def test_a_mirrored_sample_shows_the_mirrored_object_in_its_own_frame(batch):
    flipped = mirror(batch, 1.0, generator())
    torch.testing.assert_close(nocs(flipped), nocs(batch) * torch.tensor([1.0, 1.0, -1.0]), atol=2e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(flipped.rotation), torch.ones(16), atol=1e-5, rtol=0)
    assert torch.equal(flipped.size_m, batch.size_m)
    # What a point showed in the image it still shows: sampled left to right, the pictures are each other's mirror.
    assert torch.equal(flipped.image, batch.image.flip(2))
    torch.testing.assert_close(flipped.pixels, batch.pixels * torch.tensor([-1.0, 1.0]))
    again = mirror(flipped, 1.0, generator())
    for before, after in zip(batch, again, strict=True):
        torch.testing.assert_close(after, before)


def test_a_share_is_mirrored_and_the_rest_left(batch):
    mixed = mirror(batch, 0.5, generator())
    changed = (mixed.points_m != batch.points_m).any(dim=2).any(dim=1)
    assert 2 <= int(changed.sum()) <= 14
    assert torch.equal(mixed.rotation[~changed], batch.rotation[~changed])
    assert torch.equal(mixed.image[~changed], batch.image[~changed])


@pytest.mark.parametrize("category", list(load_categories()))
def test_every_category_is_nearly_its_own_mirror_image(category):
    library = ShapeLibrary("train", seed=0)
    for index in range(2):
        shape = library.get(category, index)
        corners = shape.vertices_m[shape.faces].astype(np.float64)
        areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        rng = np.random.default_rng(index)
        chosen = corners[rng.choice(len(corners), 2000, p=areas / areas.sum())]
        points = np.einsum("nk,nkc->nc", rng.dirichlet(np.ones(3), 2000), chosen)
        apart, _ = cKDTree(points).query(points * [1.0, 1.0, -1.0])
        assert np.quantile(apart, 0.95) < 0.07 * np.linalg.norm(shape.size_m)  # a laptop in x: 0.25
