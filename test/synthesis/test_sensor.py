"""Sensor models: statistics of their errors, and inputs at the edge."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.synthesis.render import Rendering
from mkpose_ros.synthesis.scene import SENSORS
from mkpose_ros.synthesis.sensor import Dice, expose, measure_depth

REAL_SENSORS = SENSORS[:3]
H, W = 120, 160


def dice(seed):
    return Dice(np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]))


def wall(depth_m=1.0, **changes):
    depth = np.broadcast_to(np.float32(depth_m), (H, W)).astype(np.float32)
    fields = {
        "radiance": np.full((H, W, 3), 0.3, np.float16),
        "depth_m": depth,
        "behind_m": depth,
        "ids": np.zeros((H, W), np.uint8),
        "handle": np.zeros((H, W), bool),
        "nocs": np.zeros((H, W, 3), np.float32),
        "cosine": np.full((H, W), 240, np.uint8),
        "infrared": np.full((H, W), 130, np.uint8),
        "gloss": np.full((H, W), 40, np.uint8),
        "whole_px": {},
    }
    return Rendering(**{**fields, **changes})


def step():
    """A near box, 0.3 m before a wall."""
    depth = np.full((H, W), 1.0, np.float32)
    depth[30:90, 50:110] = 0.7
    return wall(depth)


@pytest.mark.parametrize("kind", REAL_SENSORS)
def test_a_bright_wall_is_measured_almost_everywhere_and_without_bias(kind):
    errors, holes = [], []
    for seed in range(12):
        measured = measure_depth(wall(), kind, dice(seed))
        holes.append((measured == 0).mean())
        errors.append(measured[measured > 0] - 1.0)
    assert np.median(holes) < 0.02
    assert abs(np.mean(np.concatenate(errors))) < 0.003
    assert 0.0005 < np.std(np.concatenate(errors)) < 0.015


@pytest.mark.parametrize("kind", REAL_SENSORS)
def test_noise_grows_with_the_square_of_the_distance(kind):
    def spread(z):
        stds = [np.std(m[m > 0]) for s in range(10) if (m := measure_depth(wall(z), kind, dice(s))).any()]
        return np.mean(stds)

    assert 2.0 < spread(2.0) / spread(1.0) < 6.5


@pytest.mark.parametrize("kind", REAL_SENSORS)
def test_depth_comes_in_millimetres(kind):
    measured = measure_depth(wall(np.linspace(0.5, 2.0, W)[None]), kind, dice(0))
    np.testing.assert_allclose(measured * 1000.0, np.round(measured * 1000.0), atol=1e-3)
    assert measured.dtype == np.float32


def test_structured_light_measures_in_coarse_steps():
    measured = measure_depth(wall(np.linspace(1.8, 2.0, W)[None]), "structured-light", dice(3))
    levels = np.unique(measured[measured > 0])
    assert np.median(np.diff(levels)) > 0.004  # an eighth of a pixel of disparity at 2 m


@pytest.mark.parametrize("kind", ["structured-light", "active-stereo"])
def test_a_near_thing_throws_a_shadow_to_one_side_of_it(kind):
    sides = []
    for seed in range(10):
        lost = measure_depth(step(), kind, dice(seed)) == 0
        left, right = lost[40:80, 40:50].mean(), lost[40:80, 110:120].mean()
        sides.append((min(left, right), max(left, right)))
    low, high = np.mean(sides, axis=0)
    assert high > low + 0.1


def test_time_of_flight_has_flying_pixels_between_near_and_far():
    between = 0
    for seed in range(10):
        measured = measure_depth(step(), "time-of-flight", dice(seed))
        between += ((measured > 0.75) & (measured < 0.95)).sum()
    assert between > 100
    for seed in range(3):
        clean = measure_depth(wall(), "time-of-flight", dice(seed))
        assert not ((clean > 0.75) & (clean < 0.95)).any()


@pytest.mark.parametrize("kind", REAL_SENSORS)
def test_black_glass_and_grazed_surfaces_lose_depth(kind):
    bright = [(measure_depth(wall(1.5), kind, dice(s)) == 0).mean() for s in range(20)]
    black = wall(1.5, infrared=np.full((H, W), 1, np.uint8))
    grazed = wall(1.5, cosine=np.full((H, W), 6, np.uint8))
    glass = wall(1.5, gloss=np.full((H, W), 255, np.uint8), behind_m=np.full((H, W), 1.8, np.float32))
    for lossy in (black, grazed):
        assert np.mean([(measure_depth(lossy, kind, dice(s)) == 0).mean() for s in range(20)]) > np.mean(bright) + 0.1
    measured = np.concatenate([measure_depth(glass, kind, dice(s)).ravel() for s in range(20)])
    assert (measured == 0).mean() > 0.1
    assert (np.abs(measured - 1.5) < 0.1).mean() > 0.1
    assert (np.abs(measured - 1.8) < 0.1).mean() > 0.1


@pytest.mark.parametrize("kind", SENSORS)
@pytest.mark.parametrize("depth_m", [0.0, 0.05, 29.0])
def test_nothing_in_range_gives_a_finite_image_without_depth(kind, depth_m):
    measured = measure_depth(wall(depth_m), kind, dice(0))
    assert measured.shape == (H, W)
    assert np.isfinite(measured).all()
    assert kind == "perfect" or not measured.any()


def test_a_perfect_sensor_returns_the_rendered_depth():
    rendering = step()
    np.testing.assert_array_equal(measure_depth(rendering, "perfect", dice(0)), rendering.depth_m)


def test_an_unknown_sensor_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="active-stereo"):
        measure_depth(wall(), "lidar", dice(0))


def test_noise_differs_between_frames_of_one_camera_and_its_look_does_not():
    def shot(frame):
        return measure_depth(wall(), "active-stereo", Dice(np.random.default_rng(1), np.random.default_rng(frame)))

    assert not np.array_equal(shot(0), shot(1))
    np.testing.assert_array_equal(shot(0), shot(0))
    assert np.std(shot(0)[shot(0) > 0]) == pytest.approx(np.std(shot(1)[shot(1) > 0]), rel=0.15)


@pytest.mark.parametrize("value", [0.0, 1e-7, 60000.0, np.nan, np.inf])
def test_any_radiance_becomes_an_image(value):
    image = expose(wall(radiance=np.full((H, W, 3), value, np.float16)), dice(0))
    assert image.shape == (H, W, 3)
    assert image.dtype == np.uint8


def test_exposure_follows_the_light():
    dim, bright = (
        expose(wall(radiance=np.full((H, W, 3), r, np.float16)), dice(0), perfect=True).mean() for r in (0.01, 10)
    )
    assert dim == pytest.approx(bright, abs=3)
    assert 80 < dim < 180
