"""Holes are closed inside surfaces and left alone between them."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.geometry.depth import fill_holes


def plane(depth_m=1.0, shape=(40, 60)):
    return np.full(shape, depth_m, np.float32)


def test_a_narrow_hole_in_a_plane_is_closed_with_its_depth():
    depth = plane()
    depth[10:14, 20:25] = 0.0
    assert fill_holes(depth) == pytest.approx(plane())


def test_a_slanted_surface_is_followed():
    truth = (np.linspace(1.0, 1.1, 60, dtype=np.float32)[None] + np.zeros((40, 1), np.float32)).copy()
    depth = truth.copy()
    depth[5:35:6, 5:55:7] = 0.0
    assert fill_holes(depth) == pytest.approx(truth, abs=2e-3)


@pytest.mark.parametrize("depth_m", [0.3, 2.9, 3.1, 6.0, 12.0])
def test_far_depth_is_kept_and_filled_alike(depth_m):
    depth = plane(depth_m)
    depth[8:11, 8:11] = 0.0
    assert fill_holes(depth) == pytest.approx(plane(depth_m))


def test_a_gap_between_an_object_and_its_background_stays_open():
    depth = plane(1.5)
    depth[:, :30] = 0.8
    depth[:, 28:32] = 0.0
    filled = fill_holes(depth)
    assert (filled[:, 28:32] == 0.0).all()


def test_wide_holes_and_the_space_beside_a_surface_stay_open():
    depth = plane()
    depth[10:30, 10:30] = 0.0
    depth[:, 50:] = 0.0
    filled = fill_holes(depth)
    assert (filled[18:22, 18:22] == 0.0).all()
    assert (filled[:, 50:] == 0.0).all()


def test_measured_pixels_never_change():
    rng = np.random.default_rng(0)
    depth = (rng.uniform(0.3, 5.0, (50, 70)) * (rng.random((50, 70)) > 0.3)).astype(np.float32)
    filled = fill_holes(depth)
    assert (filled[depth > 0] == depth[depth > 0]).all()


def test_empty_and_full_images_come_back_as_copies():
    for depth in (plane(0.0), plane(1.0)):
        filled = fill_holes(depth)
        assert (filled == depth).all()
        assert filled is not depth
