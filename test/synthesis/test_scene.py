"""Scenes: objects rest, do not touch each other, and what is said of them is true."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.layout import arrange, resting_rotation, stable_rotations
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import SceneConfig
from mkpose_ros.synthesis.shapes.base import Material
from mkpose_ros.synthesis.surfaces import box_shape, random_surface
from mkpose_ros.types import Symmetry

LIBRARY = ShapeLibrary("val", 0)


def world_vertices(placed):
    return placed.shape.vertices_m @ placed.T_world_obj[:3, :3].T + placed.T_world_obj[:3, 3]


def test_a_box_rests_on_six_sides_and_the_weights_are_their_solid_angles():
    box = box_shape("brick", (0.1, 0.2, 0.3), Material((1, 1, 1), 0.5), 1.0)
    rotations, weights = stable_rotations(box)
    assert len(rotations) == 6
    assert weights.sum() == pytest.approx(4 * np.pi)
    heights = sorted(2 * -np.min(box.vertices_m @ R.T[:, 2]) for R in rotations)
    np.testing.assert_allclose(heights, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3], atol=1e-5)
    for R in rotations:
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(R) == pytest.approx(1.0)


@pytest.mark.parametrize("vertices", [np.zeros((0, 3)), np.zeros((8, 3)), np.full((8, 3), np.nan)])
def test_a_degenerate_shape_has_no_stable_pose_and_stands_upright(vertices):
    from dataclasses import replace

    box = box_shape("x", (1, 1, 1), Material((1, 1, 1), 0.5), 1.0)
    broken = replace(box, name=f"broken{len(vertices)}{vertices.sum()}", vertices_m=vertices.astype(np.float32))
    assert len(stable_rotations(broken)[0]) == 0
    for seed in range(8):
        R, upright = resting_rotation(np.random.default_rng(seed), broken)
        assert upright
        np.testing.assert_allclose(R @ [0, 1, 0], [0, 0, 1], atol=1e-9)


def test_objects_stand_on_the_surface_or_on_one_another():
    rng = np.random.default_rng(0)
    raised = 0
    for _ in range(12):
        shapes = [LIBRARY.sample(rng) for _ in range(7)]
        placed = arrange(rng, shapes, range(1, 8), 0.25)
        assert len(placed) >= 6
        bottoms = [world_vertices(p)[:, 2].min() for p in placed]
        assert min(bottoms) == pytest.approx(0.0, abs=1e-6)
        assert all(b > -1e-6 for b in bottoms)
        raised += sum(b > 1e-3 for b in bottoms)
    assert raised >= 4


def test_of_two_objects_one_is_nowhere_below_the_top_of_the_other():
    o3d = pytest.importorskip("open3d", exc_type=ImportError)

    def heights(placed, grid, direction):
        caster = o3d.t.geometry.RaycastingScene()
        caster.add_triangles(world_vertices(placed).astype(np.float32), placed.shape.faces.astype(np.uint32))
        start = np.full(len(grid), -2.0 * direction)
        rays = np.column_stack([grid, start, np.zeros((len(grid), 2)), np.full(len(grid), direction)])
        return start + direction * caster.cast_rays(o3d.core.Tensor(rays.astype(np.float32)))["t_hit"].numpy()

    rng = np.random.default_rng(3)
    above_one_another = 0
    for _ in range(5):
        placed = arrange(rng, [LIBRARY.sample(rng) for _ in range(6)], range(1, 7), 0.15)
        for i, a in enumerate(placed):
            for b in placed[i + 1 :]:
                bounds = [(v[:, :2].min(axis=0), v[:, :2].max(axis=0)) for v in (world_vertices(a), world_vertices(b))]
                low, high = np.maximum(bounds[0][0], bounds[1][0]), np.minimum(bounds[0][1], bounds[1][1])
                if (low >= high).any():
                    continue
                x, y = np.meshgrid(*np.linspace(low, high, 60).T)
                grid = np.stack([x.ravel(), y.ravel()], axis=1)
                bottoms, tops = ([heights(p, grid, d) for p in (a, b)] for d in (1.0, -1.0))
                shared = np.isfinite(tops[0]) & np.isfinite(tops[1])
                if shared.any():
                    above_one_another += 1
                    clear = [(bottoms[u] - tops[v])[shared].min() for u, v in ((0, 1), (1, 0))]
                    assert max(clear) > -0.001, (a.shape.name, b.shape.name)
    assert above_one_another > 0


def test_a_frame_depends_on_its_index_alone(generator):
    again = SceneGenerator(ShapeLibrary("val", 0), None, seed=5)
    again._renderer = generator.renderer
    again.frame(2)
    first, second = generator.frame(1), again.frame(1)
    np.testing.assert_array_equal(first.frame.rgb, second.frame.rgb)
    np.testing.assert_array_equal(first.frame.depth_m, second.frame.depth_m)
    np.testing.assert_array_equal(first.instance_ids, second.instance_ids)
    assert [o.model for o in first.objects] == [o.model for o in second.objects]
    assert not np.array_equal(first.frame.rgb, generator.frame(3).frame.rgb)


def test_a_frame_is_consistent(generator):
    for index in range(4):
        made = generator.generate(index)
        sample = made.sample
        frame = sample.frame
        assert frame.rgb.shape == (480, 640, 3)
        assert frame.rgb.dtype == np.uint8
        assert frame.depth_m.dtype == np.float32
        assert np.isfinite(frame.depth_m).all()
        assert sample.nocs.min() >= 0.0
        assert sample.nocs.max() <= 1.0
        assert set(np.unique(sample.instance_ids)) - {0} == {o.instance_id for o in sample.objects}
        for o in sample.objects:
            assert (sample.instance_ids == o.instance_id).sum() >= 60
            assert 0.05 <= made.visible_fraction[o.instance_id] <= 1.0
            assert np.linalg.det(o.T_cam_obj[:3, :3]) == pytest.approx(1.0)
            assert o.T_cam_obj[2, 3] > 0
            assert (o.size_m > 0).all()


def test_a_mug_whose_handle_is_hidden_is_round(renderer):
    config = SceneConfig(categories=("mug",), objects=(5, 5), distractors=(0, 0), width=320, height=240)
    generator = SceneGenerator(LIBRARY, config, 1)
    generator._renderer = renderer
    samples = [generator.frame(i) for i in range(7)]
    hidden = seen = 0
    for sample in samples:
        for o in sample.objects:
            hidden += not o.handle_visible
            seen += o.handle_visible
            assert (o.symmetry == Symmetry(infinite_axes=("y",))) == (not o.handle_visible)
    assert seen > hidden > 0


def test_what_stands_behind_the_table_is_on_request_and_changes_nothing_else():
    plain, full = (SceneGenerator(LIBRARY, SceneConfig(background=b), 4).scene(2) for b in ((0, 0), (6, 6)))
    added = [t for t in full.things if "_background" in t.shape.name]
    kept = [t for t in full.things if "_background" not in t.shape.name]
    assert len(added) == 6
    assert all(t.instance_id == 0 for t in added)
    assert [t.shape.name for t in kept] == [t.shape.name for t in plain.things]
    assert all((a.T_world_obj == b.T_world_obj).all() for a, b in zip(kept, plain.things, strict=True))
    assert (full.camera.T_world_cam == plain.camera.T_world_cam).all()
    objects = [t for t in full.things if t.instance_id]
    reach_m = max(np.linalg.norm(t.T_world_obj[:2, 3]) for t in objects)
    for thing in added:
        assert np.linalg.norm(thing.T_world_obj[:2, 3]) > reach_m
        assert full.camera.T_world_cam[:2, 3] @ thing.T_world_obj[:2, 3] < 0.2 * reach_m  # not on the camera's side


def test_a_scene_may_be_empty(renderer):
    generator = SceneGenerator(LIBRARY, SceneConfig(objects=(0, 0), distractors=(0, 0), width=64, height=48), 0)
    generator._renderer = renderer
    sample = generator.frame(0)
    assert sample.objects == ()
    assert not sample.instance_ids.any()


def test_splits_share_no_shape(renderer):
    names = {}
    for split in ("train", "val"):
        generator = SceneGenerator(ShapeLibrary(split, 0), SceneConfig(width=64, height=48), 0)
        names[split] = {t.shape.name for i in range(6) for t in generator.scene(i).things}
    assert not names["train"] & names["val"]


@pytest.mark.parametrize(
    "settings",
    [{"sensor": "lidar"}, {"width": 0}, {"objects": (5, 2)}, {"objects": (1, 100)}, {"distance_m": (-1.0, 2.0)}],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="expected"):
        SceneConfig(**settings)


def test_folders_without_pictures_or_environments_are_refused(tmp_path):
    for name in ("pictures", "environments"):
        with pytest.raises(InputError, match=str(tmp_path)):
            SceneGenerator(LIBRARY, SceneConfig(**{name: tmp_path}))


def test_folders_of_pictures_and_environments_are_used(tmp_path, renderer):
    import cv2

    cv2.imwrite(str(tmp_path / "red.png"), np.full((32, 48, 3), (0, 0, 255), np.uint8))
    cv2.imwrite(str(tmp_path / "sky.hdr"), np.full((32, 64, 3), 2.0, np.float32))
    config = SceneConfig(width=64, height=48, pictures=tmp_path, environments=tmp_path)
    generator = SceneGenerator(LIBRARY, config, 0)
    generator._renderer = renderer
    scenes = [generator.scene(i) for i in range(12)]
    assert any(np.ptp(s.lighting.environment) < 1e-3 for s in scenes)
    reds = [m for s in scenes for t in s.things for m in t.shape.materials if m.albedo == (1.0, 0.0, 0.0)]
    assert reds
    generator.frame(0)


def test_surfaces_vary():
    rng = np.random.default_rng(0)
    means = np.array([random_surface(rng).albedo for _ in range(40)])
    assert means.std(axis=0).min() > 0.1
