"""Holes are closed inside surfaces and left alone between them."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.geometry import depth as depth_module
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


def fill_slowly(depth_m, width_px=6, max_step=0.03):
    """The same by its definition, one hole at a time."""

    def in_gap(line, i):
        before, after = np.flatnonzero(line[:i] > 0), i + 1 + np.flatnonzero(line[i + 1 :] > 0)
        if len(before) and len(after):
            return after[0] - before[-1] - 1 <= width_px
        at_border = len(line) - 1 - before[-1] if len(before) else after[0] if len(after) else np.inf
        return at_border <= width_px // 2

    filled = depth_m.copy()
    for v, u in np.argwhere(depth_m == 0.0):
        row, column = depth_m[v], depth_m[:, u]
        if in_gap(row, u) or in_gap(column, v):
            rows, columns = slice(max(0, v - width_px), v + width_px + 1), slice(max(0, u - width_px), u + width_px + 1)
            around = np.concatenate([row[columns], column[rows]])
            around = around[around > 0.0]
            if around.max() - around.min() < max_step * around.min():
                filled[v, u] = around.mean()
    return filled


@pytest.mark.parametrize("chunk", [100, 4096])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.8])
def test_every_pixel_is_what_the_definition_says_of_it(monkeypatch, share, chunk):
    monkeypatch.setattr(depth_module, "_CHUNK", chunk)
    rng = np.random.default_rng(round(100 * share))
    v, u = np.mgrid[:60, :80]
    depth = (np.where(u + v < 70, 0.8, 1.5) + 0.004 * rng.standard_normal((60, 80))).astype(np.float32)
    depth[rng.random(depth.shape) < share] = 0.0
    filled = fill_holes(depth)
    assert filled == pytest.approx(fill_slowly(depth), rel=1e-6)
    assert (filled != depth).sum() > 100


def test_empty_and_full_images_come_back_as_copies():
    for depth in (plane(0.0), plane(1.0)):
        filled = fill_holes(depth)
        assert (filled == depth).all()
        assert filled is not depth
