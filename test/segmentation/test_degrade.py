"""What training does to a picture's colours: other cameras, the same things at the same places."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from mkpose_ros.segmentation.maskrcnn.augment import degrade

EDGE = 40  # column from which on the picture is bright


@pytest.fixture(scope="module")
def pictures():
    """A grey step, and what sixty cameras would make of it."""
    step = np.full((64, 80, 3), 90, np.uint8)
    step[:, EDGE:] = 160
    return step, [degrade(step, np.random.default_rng(seed)) for seed in range(60)]


def profile(image):
    """The mean brightness of each column, away from the border."""
    return image[8:-8].astype(float).mean(axis=(0, 2))


def test_degrading_leaves_size_and_kind_and_does_not_touch_what_it_is_given(pictures):
    step, made = pictures
    assert {(image.shape, image.dtype.name) for image in made} == {((64, 80, 3), "uint8")}
    assert set(np.unique(step)) == {90, 160}


def test_the_same_seed_makes_the_same_picture(pictures):
    step, made = pictures
    np.testing.assert_array_equal(degrade(step, np.random.default_rng(7)), made[7])


def test_edges_stay_where_they_are(pictures):
    for image in pictures[1]:
        steepest = int(np.abs(np.diff(profile(image)[4:-4])).argmax()) + 5
        assert abs(steepest - EDGE) <= 3


def test_some_cameras_blur_and_some_sharpen(pictures):
    spans = []  # brightness range near the edge, by the range far from it: over 1 where the edge overshoots
    for image in pictures[1]:
        p = profile(image)
        spans.append((p[EDGE + 1] - p[EDGE - 2]) / max(p[EDGE + 20 : -4].mean() - p[8 : EDGE - 20].mean(), 1.0))
    assert min(spans) < 0.9
    assert max(spans) > 1.1
    assert np.median(spans) == pytest.approx(1.0, abs=0.1)
