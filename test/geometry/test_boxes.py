"""Corners of oriented boxes, and their exact overlap against sampling and half-space intersection."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, HalfspaceIntersection
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry import boxes
from mkpose_ros.geometry.boxes import BOX_EDGES, BOX_FACES, box_corners, oriented_intersection_m3, oriented_iou
from mkpose_ros.geometry.rotations import compose_pose


def random_boxes(rng, count, spread_m=0.08):
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = Rotation.random(count, random_state=rng).as_matrix()
    T[:, :3, 3] = rng.normal(0.0, spread_m, (count, 3))
    return T, rng.uniform(0.05, 0.3, (count, 3))


def sampled_intersection_m3(T_1, size_1, T_2, size_2, rng, count=200_000):
    points = rng.uniform(-0.5, 0.5, (count, 3)) * size_1 @ T_1[:3, :3].T + T_1[:3, 3]
    local = (points - T_2[:3, 3]) @ T_2[:3, :3]
    return np.prod(size_1) * np.mean((np.abs(local) < size_2 / 2).all(axis=1))


def halfspaces(T, size_m):
    normals = np.concatenate([T[:3, :3].T, -T[:3, :3].T])
    return np.hstack([normals, (-normals @ T[:3, 3] - np.tile(size_m, 2) / 2)[:, None]])


def test_corners_of_a_turned_box_are_the_turned_corners():
    T = compose_pose(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.array([1.0, 2.0, 3.0]))
    corners = box_corners(T, np.array([2.0, 4.0, 6.0]))
    assert corners.min(axis=0) == pytest.approx([-1.0, 1.0, 0.0])
    assert corners[7] == pytest.approx([1.0 - 2.0, 2.0 + 1.0, 3.0 + 3.0])


def test_edges_join_corners_that_differ_in_one_axis_and_faces_share_one():
    corners = box_corners(np.eye(4), np.ones(3))
    assert len(BOX_EDGES) == 12
    assert all(np.count_nonzero(corners[a] != corners[b]) == 1 for a, b in BOX_EDGES)
    for face in BOX_FACES:
        assert (np.ptp(corners[list(face)], axis=0) == 0).sum() == 1
        assert all(np.count_nonzero(corners[a] != corners[b]) == 1 for a, b in itertools.pairwise(face))


def test_axis_aligned_boxes_overlap_by_the_product_of_their_overlaps():
    T_2 = compose_pose(np.eye(3), np.array([0.5, 0.25, 0.0]))
    assert oriented_intersection_m3(np.eye(4), np.ones(3), T_2, np.ones(3)) == pytest.approx(0.5 * 0.75)


def test_a_cube_turned_by_45_degrees_leaves_an_octagon():
    T = compose_pose(Rotation.from_euler("y", 45, degrees=True).as_matrix(), np.zeros(3))
    assert oriented_intersection_m3(np.eye(4), np.ones(3), T, np.ones(3)) == pytest.approx(2.0 * (np.sqrt(2.0) - 1.0))


def test_random_boxes_agree_with_half_space_intersection():
    rng = np.random.default_rng(0)
    (T_1, size_1), (T_2, size_2) = random_boxes(rng, 300, 0.03), random_boxes(rng, 300, 0.03)
    found = oriented_intersection_m3(T_1, size_1, T_2, size_2)
    compared = 0
    for i in range(300):
        inside = 0.5 * (T_1[i, :3, 3] + T_2[i, :3, 3])
        rows = np.vstack([halfspaces(T_1[i], size_1[i]), halfspaces(T_2[i], size_2[i])])
        if (rows[:, :3] @ inside + rows[:, 3] < -1e-4).all():
            expected = ConvexHull(HalfspaceIntersection(rows, inside).intersections).volume
            assert found[i] == pytest.approx(expected, rel=1e-6)
            compared += 1
    assert compared > 150


def test_random_boxes_agree_with_sampling():
    rng = np.random.default_rng(1)
    (T_1, size_1), (T_2, size_2) = random_boxes(rng, 12), random_boxes(rng, 12)
    found = oriented_intersection_m3(T_1, size_1, T_2, size_2)
    for i in range(12):
        expected = sampled_intersection_m3(T_1[i], size_1[i], T_2[i], size_2[i], rng)
        assert found[i] == pytest.approx(expected, abs=6.0 * np.prod(size_1[i]) / np.sqrt(4 * 200_000))


def test_identical_boxes_overlap_fully_in_any_pose():
    T, size = random_boxes(np.random.default_rng(2), 500)
    assert oriented_iou(T, size, T, size) == pytest.approx(np.ones(500), abs=1e-12)


def test_the_overlap_is_symmetric_and_moves_with_the_world():
    rng = np.random.default_rng(3)
    (T_1, size_1), (T_2, size_2) = random_boxes(rng, 500), random_boxes(rng, 500)
    iou = oriented_iou(T_1, size_1, T_2, size_2)
    world = compose_pose(Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix(), np.array([1.0, -2.0, 3.0]))
    assert oriented_iou(T_2, size_2, T_1, size_1) == pytest.approx(iou, abs=1e-12)
    assert oriented_iou(world @ T_1, size_1, world @ T_2, size_2) == pytest.approx(iou, abs=1e-11)
    assert ((iou >= 0.0) & (iou <= 1.0)).all()


@pytest.mark.parametrize("degrees", [0.0, 0.06, 0.3, 3.0, 90.0])
def test_sums_over_edges_and_cuts_agree_for_boxes_that_nearly_share_faces_and_for_others(monkeypatch, degrees):
    rng = np.random.default_rng(5)
    T_1, size_1 = random_boxes(rng, 400)
    steps = rng.integers(-1, 2, (400, 3)) * size_1 / 2  # half on and half off, or in line
    turn = Rotation.from_rotvec(np.radians(degrees) * rng.standard_normal((400, 3)))
    quarter = Rotation.from_euler("xyz", 90.0 * rng.integers(0, 4, (400, 3)), degrees=True)
    T_2 = np.tile(np.eye(4), (400, 1, 1))
    T_2[:, :3, :3], T_2[:, :3, 3] = (turn * quarter).as_matrix(), steps
    T_2 = T_1 @ T_2
    size_2 = size_1 * rng.choice([0.5, 1.0, 1.01], (400, 3))
    T_2[::4, :3, 0] *= -1.0  # reflected: the same box
    found = oriented_intersection_m3(T_1, size_1, T_2, size_2)
    monkeypatch.setattr(boxes, "_OBLIQUE", np.inf)
    cut = oriented_intersection_m3(T_1, size_1, T_2, size_2)
    assert found == pytest.approx(cut, abs=1e-12 * size_1.prod(axis=1).max())
    assert (cut > 1e-5).sum() > 200
    if degrees > 1.0:
        assert (found != cut).sum() > 200  # both ways were gone


@settings(max_examples=150, deadline=None)
@given(
    quarters=st.tuples(*[st.integers(0, 3)] * 3),
    jitter=st.sampled_from([0.0, 1e-17, 1e-15, 1e-13, 1e-11, 1e-9, 1e-7]),
    offset=st.tuples(*[st.sampled_from([-0.1, -0.05, 0.0, 0.05, 0.1])] * 3),
)
def test_shared_faces_and_nearly_parallel_planes_need_no_luck(quarters, jitter, offset):
    """Boxes of side 0.1 whose faces coincide up to rounding: the answer is that of the aligned boxes."""
    R = Rotation.from_euler("xyz", np.array(quarters) * 90.0, degrees=True) * Rotation.from_rotvec(
        [jitter, jitter, -jitter]
    )
    T_2 = compose_pose(R.as_matrix(), np.array(offset) + jitter)
    size = np.full(3, 0.1)
    expected = np.prod(np.maximum(0.1 - np.abs(offset), 0.0))
    assert oriented_intersection_m3(np.eye(4), size, T_2, size) == pytest.approx(expected, abs=1e-9 + 0.1 * jitter)


def test_shapes_broadcast():
    T, size = random_boxes(np.random.default_rng(4), 5)
    assert oriented_iou(T[:, None], size[:, None], T[None], size[None]).shape == (5, 5)
    assert oriented_iou(T[0], size[0], T[0], size[0]).shape == ()
    assert oriented_iou(T[:0], size[:0], T[:0], size[:0]).shape == (0,)


def test_empty_boxes_share_nothing_and_nan_stays_nan():
    flat = np.array([0.1, 0.0, 0.1])
    assert oriented_iou(np.eye(4), flat, np.eye(4), flat) == 0.0
    assert oriented_iou(np.eye(4), flat, np.eye(4), np.ones(3)) == 0.0
    assert np.isnan(oriented_iou(np.full((4, 4), np.nan), np.ones(3), np.eye(4), np.ones(3)))
    assert np.isnan(oriented_iou(np.eye(4), np.array([1.0, np.nan, 1.0]), np.eye(4), np.ones(3)))


def test_touching_boxes_share_nothing():
    T_2 = compose_pose(np.eye(3), np.array([1.0, 0.0, 0.0]))
    assert oriented_iou(np.eye(4), np.ones(3), T_2, np.ones(3)) == pytest.approx(0.0, abs=1e-12)
