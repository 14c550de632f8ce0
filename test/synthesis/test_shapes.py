"""Every generated shape is closed, canonical and metric; what is called symmetric is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from mkpose_ros.categories import load_categories
from mkpose_ros.geometry.symmetry import AXES, finite_rotations
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.shapes import GENERATORS, Shape, furniture
from mkpose_ros.synthesis.shapes.base import assemble
from mkpose_ros.synthesis.shapes.everyday_clutter import EVERYDAY
from mkpose_ros.types import Symmetry

trimesh = pytest.importorskip("trimesh")

CATEGORIES = [c for c in GENERATORS if c != "distractor"]
COUNT = 8
FIRST_VARIANT = 20_000  # in the training split


@pytest.fixture(scope="module")
def library() -> ShapeLibrary:
    return ShapeLibrary("val", seed=3, cache_size=1000)


def shapes_of(library: ShapeLibrary, category: str, count: int = COUNT) -> list[Shape]:
    return [library.get(category, i) for i in range(count)]


def common_and_variants(library: ShapeLibrary, category: str) -> list[Shape]:
    train = ShapeLibrary("train", seed=3)
    return shapes_of(library, category) + [train.get(category, FIRST_VARIANT + i) for i in range(2 * COUNT)]


def welded(shape: Shape) -> trimesh.Trimesh:
    return trimesh.Trimesh(shape.vertices_m, shape.faces, process=True)


def surface(shape: Shape, count: int, seed: int) -> np.ndarray:
    return trimesh.sample.sample_surface(welded(shape), count, seed=seed)[0]


def turned_away_m(shape: Shape, R: np.ndarray) -> float:
    """How far the turned shape's surface is from the shape's own, on average, beyond the sampling's own gap."""
    tree = cKDTree(surface(shape, 20000, seed=1))
    points = surface(shape, 4000, seed=2)
    return float(tree.query(points @ R.T)[0].mean() - tree.query(points)[0].mean())


@pytest.mark.parametrize("category", list(GENERATORS))
def test_each_shape_is_watertight_with_normals_outward(library: ShapeLibrary, category: str) -> None:
    for shape in common_and_variants(library, category):
        mesh = welded(shape)
        assert mesh.is_watertight, shape.name
        assert mesh.is_winding_consistent, shape.name
        assert all(part.volume > 0 for part in mesh.split(only_watertight=False)), shape.name
        corners = shape.vertices_m[shape.faces].astype(np.float64)
        facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(facing, axis=1)
        agreement = np.einsum("ij,ij->i", facing, shape.normals[shape.faces].mean(axis=1)) / np.maximum(area, 1e-15)
        assert np.average(agreement > 0.3, weights=area) > 0.995, shape.name


@pytest.mark.parametrize("make", [furniture.arm, furniture.chair, furniture.screen])
def test_furniture_is_closed_and_as_large_as_furniture(make) -> None:
    for seed in range(12):
        shape = make(np.random.default_rng(seed), "one")
        mesh = welded(shape)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert all(part.volume > 0 for part in mesh.split(only_watertight=False))
        assert 0.2 < shape.size_m.max() < 1.8


@pytest.mark.parametrize("make", EVERYDAY, ids=lambda make: make.__name__.strip("_"))
def test_everyday_clutter_is_closed_and_fits_a_hand_or_a_desk(make) -> None:
    for seed in range(8):
        shape = assemble("one", "distractor", make(np.random.default_rng(seed)), Symmetry())
        mesh = welded(shape)
        assert mesh.is_watertight, seed
        assert mesh.is_winding_consistent, seed
        assert all(part.volume > 0 for part in mesh.split(only_watertight=False)), seed
        assert 0.03 < shape.size_m.max() < 0.5, seed


@pytest.mark.parametrize("category", list(GENERATORS))
def test_each_shape_lies_centred_in_a_box_of_its_size(library: ShapeLibrary, category: str) -> None:
    for shape in common_and_variants(library, category):
        low, high = shape.vertices_m.min(axis=0), shape.vertices_m.max(axis=0)
        np.testing.assert_allclose(high - low, shape.size_m, atol=1e-6)
        np.testing.assert_allclose(high + low, 0.0, atol=1e-6)


@pytest.mark.parametrize("category", list(GENERATORS))
def test_each_shape_is_complete(library: ShapeLibrary, category: str) -> None:
    for shape in common_and_variants(library, category):
        assert shape.faces.min() >= 0
        assert shape.faces.max() < len(shape.vertices_m) == len(shape.normals) == len(shape.uv)
        assert len(shape.face_materials) == len(shape.faces) <= 8000
        assert shape.face_materials.max() < len(shape.materials)
        assert np.isfinite(shape.uv).all()
        np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=1), 1.0, atol=1e-3)
        for material in shape.materials:
            assert all(0.0 <= c <= 1.0 for c in material.albedo)
            assert 0.0 < material.roughness <= 1.0
            if material.texture is not None:
                assert material.texture.dtype == np.uint8
                assert material.texture.ndim == 3


@pytest.mark.parametrize("category", CATEGORIES)
def test_sizes_scatter_around_the_categorys_mean(library: ShapeLibrary, category: str) -> None:
    sizes = np.stack([s.size_m for s in shapes_of(library, category, 30)])
    ratio = sizes.mean(axis=0) / np.array(load_categories()[category].mean_size_m)
    assert (ratio > 0.6).all(), ratio
    assert (ratio < 1.6).all(), ratio
    assert (sizes.std(axis=0) / sizes.mean(axis=0) > 0.08).all()


@pytest.mark.parametrize("category", ["bottle", "bowl", "can", "cup", "glass"])
def test_a_shape_round_about_y_can_be_turned_by_any_angle(library: ShapeLibrary, category: str) -> None:
    for shape in common_and_variants(library, category):
        if shape.symmetry.infinite_axes:
            turn = Rotation.from_rotvec(AXES["y"] * 1.234).as_matrix()
            assert turned_away_m(shape, turn) < 0.0005, shape.name


@pytest.mark.parametrize("category", ["bottle", "box", "tube"])
def test_finite_symmetries_hold_for_the_geometry(library: ShapeLibrary, category: str) -> None:
    seen = 0
    for shape in shapes_of(library, category, 60 if category == "bottle" else 6):
        for R in finite_rotations(shape.symmetry)[1:]:
            assert turned_away_m(shape, R) < 0.0005, shape.name
            seen += 1
    assert seen > 0


def test_a_shape_without_symmetry_has_none(library: ShapeLibrary) -> None:
    for shape in shapes_of(library, "mug") + shapes_of(library, "laptop") + shapes_of(library, "camera"):
        assert not shape.symmetry.infinite_axes
        assert shape.symmetry.orders == (1, 1, 1)
        assert turned_away_m(shape, Rotation.from_rotvec([0, np.pi, 0]).as_matrix()) > 0.001, shape.name


def test_a_mugs_handle_is_marked_and_lies_on_plus_x(library: ShapeLibrary) -> None:
    for shape in shapes_of(library, "mug"):
        handle = shape.vertices_m[shape.handle_vertices]
        assert handle[:, 0].max() == pytest.approx(shape.size_m[0] / 2, abs=1e-6)
        assert np.abs(handle[:, 2]).max() < 0.25 * shape.size_m[2]
        assert handle[:, 0].min() > 0.0
        assert (~shape.handle_vertices).sum() > 500


def test_a_laptop_opens_towards_plus_x_and_its_hinge_lies_along_z(library: ShapeLibrary) -> None:
    for shape in shapes_of(library, "laptop", 30):
        points = surface(shape, 4000, seed=0)
        height = (points[:, 1] - points[:, 1].min()) / shape.size_m[1]
        near_hinge = points[(height > 0.2) & (height < 0.35)]  # above the keyboard: only the screen
        assert near_hinge[:, 0].mean() < 0.0, shape.name
        assert np.ptp(near_hinge[:, 2]) > 0.85 * shape.size_m[2]


def test_a_cameras_lens_points_to_plus_x(library: ShapeLibrary) -> None:
    for shape in shapes_of(library, "camera", 20):
        v = shape.vertices_m
        spread = [np.ptp(v[side * v[:, 0] > 0.49 * shape.size_m[0]][:, 2]) for side in (1.0, -1.0)]
        assert spread[0] < 0.9 * spread[1], shape.name  # a round front, a flat back


def test_open_vessels_are_hollow(library: ShapeLibrary) -> None:
    for category in ("bowl", "mug", "glass"):
        for shape in shapes_of(library, category):
            body = welded(shape)
            filled = body.volume / body.convex_hull.volume
            assert filled < 0.55, shape.name


def test_a_boxs_sides_are_ordered_and_differ(library: ShapeLibrary) -> None:
    for shape in shapes_of(library, "box", 40):
        x, y, z = shape.size_m
        assert y > 1.07 * x > 1.07 * 1.07 * z
