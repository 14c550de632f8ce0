"""Farthest-point order of many clouds at once; test/network/test_model.py holds it against the textbook's loop."""

import numpy as np
import pytest

from mkpose_ros.geometry.sampling import farthest_point_order


@pytest.mark.parametrize(("clouds", "points", "count"), [(5, 1024, 40), (7, 20, 20), (3, 9, 0), (2, 1, 5), (0, 8, 4)])
def test_many_clouds_are_ordered_as_each_alone(clouds, points, count):
    P = np.random.default_rng(0).normal(size=(clouds, points, 3)).astype(np.float32)
    P[:, points // 2 :] = P[:, : points - points // 2]  # every point twice
    order = farthest_point_order(P, count)
    assert order.shape == (clouds, points)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(points), (clouds, 1)))
    for cloud, row in zip(P, order, strict=True):
        np.testing.assert_array_equal(farthest_point_order(cloud, count), row)
