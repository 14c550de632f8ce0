"""The renderer against projection by hand, against ray casting and against itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mkpose_ros.errors import DependencyError
from mkpose_ros.geometry.camera import deproject, project
from mkpose_ros.geometry.rotations import compose_pose, invert_pose
from mkpose_ros.synthesis.lighting import irradiance_coefficients, octahedral_levels, random_lighting
from mkpose_ros.synthesis.render import projection
from mkpose_ros.synthesis.scene import Camera, Placed, Scene
from mkpose_ros.synthesis.shapes.base import Material
from mkpose_ros.synthesis.surfaces import box_shape
from mkpose_ros.types import CameraIntrinsics

GREY = Material((0.5, 0.5, 0.5), 0.6)


def one_thing(shape, T_cam_obj, k, instance_id=7):
    light = random_lighting(np.random.default_rng(0))
    return Scene((Placed(shape, T_cam_obj, instance_id),), light, Camera(k, np.eye(4)))


@pytest.mark.parametrize("size", [(640, 480), (101, 77)])
def test_a_known_box_covers_exactly_the_pixels_whose_centres_it_projects_over(renderer, size):
    w, h = size
    k = CameraIntrinsics(0.9 * w, 0.93 * w, 0.47 * w + 0.3, 0.55 * h - 0.2, w, h)
    box = box_shape("board", (0.4, 0.3, 0.001), GREY, 1.0)
    rendering = renderer.render(one_thing(box, compose_pose(np.eye(3), [0.05, -0.04, 1.0005]), k))
    corners = project(np.array([[-0.15, -0.19, 1.0], [0.25, 0.11, 1.0]]), k)
    u, v = np.meshgrid(np.arange(w), np.arange(h))
    expected = (u > corners[0, 0]) & (u < corners[1, 0]) & (v > corners[0, 1]) & (v < corners[1, 1])
    np.testing.assert_array_equal(rendering.ids == 7, expected)
    np.testing.assert_allclose(rendering.depth_m[expected], 1.0, atol=1e-5)
    assert rendering.whole_px[7] == pytest.approx(expected.sum(), rel=0.05)


def test_the_clip_matrix_puts_pixel_centres_half_a_pixel_into_the_framebuffer():
    k = CameraIntrinsics(500.0, 510.0, 300.0, 200.0, 640, 480)
    point = np.array([0.1, -0.2, 1.5, 1.0])
    clip = projection(k) @ point
    u, v = project(point[:3], k)
    np.testing.assert_allclose((clip[:2] / clip[3] + 1.0) / 2.0 * [640, 480], [u + 0.5, v + 0.5])


def test_depth_agrees_with_ray_casting_to_half_a_millimetre(generator):
    o3d = pytest.importorskip("open3d", exc_type=ImportError)
    scene = generator.scene(1)
    rendering = generator.renderer.render(scene)
    k = scene.camera.intrinsics
    caster = o3d.t.geometry.RaycastingScene()
    T_cam_world = invert_pose(scene.camera.T_world_cam)
    for thing in scene.things:
        T = T_cam_world @ thing.T_world_obj
        vertices = thing.shape.vertices_m.astype(np.float64) @ T[:3, :3].T + T[:3, 3]
        caster.add_triangles(vertices.astype(np.float32), thing.shape.faces.astype(np.uint32))
    u, v = np.meshgrid(np.arange(k.width), np.arange(k.height))
    rays = deproject(u, v, np.ones(u.shape), k)
    rays = np.concatenate([np.zeros_like(rays), rays], axis=-1).astype(np.float32)
    expected = caster.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()
    both = np.isfinite(expected) & (rendering.depth_m > 0)
    assert both.mean() > 0.5
    error = np.abs(rendering.depth_m - expected)[both]
    # Pixel centres within a rounding error of an edge may hit either surface.
    assert np.quantile(error, 0.999) < 0.0005
    assert (error > 0.0005).sum() < 100


def test_nocs_map_pose_and_size_give_back_the_depth_of_every_object(generator):
    for index in range(3):
        scene = generator.scene(index)
        rendering = generator.renderer.render(scene)
        T_cam_world = invert_pose(scene.camera.T_world_cam)
        seen = 0
        for thing in scene.things:
            vs, us = np.nonzero(rendering.ids == thing.instance_id)
            if not thing.instance_id or len(us) == 0:
                continue
            seen += 1
            T = T_cam_world @ thing.T_world_obj
            local = (rendering.nocs[vs, us] - 0.5) * np.linalg.norm(thing.shape.size_m)
            points = local @ T[:3, :3].T + T[:3, 3]
            measured = deproject(us, vs, rendering.depth_m[vs, us], scene.camera.intrinsics)
            np.testing.assert_allclose(points, measured, atol=2e-4)
            assert (np.abs(local) <= 0.5 * thing.shape.size_m + 1e-5).all()
        assert seen >= 2


def test_the_same_scene_renders_to_the_same_bits(generator):
    scene = generator.scene(4)
    first, second = (generator.renderer.render(scene) for _ in range(2))
    np.testing.assert_array_equal(first.radiance, second.radiance)
    np.testing.assert_array_equal(first.depth_m, second.depth_m)


def test_a_thing_between_casts_a_shadow(renderer):
    k = CameraIntrinsics(200.0, 200.0, 79.5, 59.5, 160, 120)
    from mkpose_ros.synthesis.viewpoints import look_at

    light = random_lighting(np.random.default_rng(0))
    light = type(light)(light.environment * 0.05, np.array([0.0, 0.0, 1.0]), np.full(3, 3.0), 0.002)
    floor = Placed(
        box_shape("floor", (4, 4, 0.1), GREY, 1.0), compose_pose(np.eye(3), [0, 0, -0.05]), casts_shadow=False
    )
    board = Placed(box_shape("lid", (0.2, 0.2, 0.01), GREY, 1.0), compose_pose(np.eye(3), [0, 0, 0.3]), 1)
    camera = Camera(k, look_at(np.array([0.0, -1.0, 0.25]), np.zeros(3)))
    rendering = renderer.render(Scene((floor, board), light, camera))
    u, v = np.round(project((invert_pose(camera.T_world_cam) @ [0.0, 0.0, 0.0, 1.0])[:3], k)).astype(int)
    u2, v2 = np.round(project((invert_pose(camera.T_world_cam) @ [0.3, 0.0, 0.0, 1.0])[:3], k)).astype(int)
    assert rendering.ids[v, u] == 0
    assert rendering.radiance[v, u, 1] < 0.3 * rendering.radiance[v2, u2, 1]


def test_a_scene_without_objects_renders_and_knows_no_ids(renderer):
    k = CameraIntrinsics(50.0, 50.0, 31.5, 23.5, 64, 48)
    rendering = renderer.render(Scene((), random_lighting(np.random.default_rng(1)), Camera(k, np.eye(4))))
    assert rendering.ids.max() == 0
    assert rendering.depth_m.max() == 0.0
    assert np.isfinite(rendering.radiance.astype(np.float32)).all()
    assert rendering.whole_px == {}


def test_more_meshes_than_the_cache_holds_still_render_right(renderer):
    from mkpose_ros.synthesis.render import Renderer

    small = Renderer(cached_meshes=2)
    try:
        k = CameraIntrinsics(50.0, 50.0, 31.5, 23.5, 64, 48)
        for i in list(range(5)) * 2:
            box = box_shape(f"cached{i}", (0.1 + 0.1 * i, 0.2, 0.002), GREY, 1.0)
            rendering = small.render(one_thing(box, compose_pose(np.eye(3), [0, 0, 1.0]), k))
            assert (rendering.ids[24] == 7).sum() == pytest.approx(50 * (0.1 + 0.1 * i), abs=1.1)
    finally:
        small.close()


def test_even_light_gives_the_same_irradiance_in_every_direction():
    coefficients = irradiance_coefficients(np.ones((64, 128, 3), np.float32))
    np.testing.assert_allclose(coefficients[0], np.pi, rtol=1e-3)
    np.testing.assert_allclose(coefficients[1:], 0.0, atol=1e-3)


def test_an_octahedral_map_shows_each_direction_the_colour_of_the_panorama():
    panorama = np.zeros((64, 128, 3), np.float32)
    panorama[:32, :, 0] = 1.0  # upper half red
    panorama[:, 64:, 1] = 1.0  # azimuth above zero, that is y > 0, green
    flat = octahedral_levels(panorama)[0]
    assert flat[32, 32, 0] == 1.0  # straight up is the middle
    assert flat[0, 0, 0] == 0.0  # straight down are the corners
    assert flat[40, 32, 1] == 1.0
    assert flat[24, 32, 1] == 0.0


def test_without_moderngl_the_error_names_the_extra(monkeypatch):
    from mkpose_ros.synthesis.gpu import open_context

    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(DependencyError, match=r"mkpose_ros\[synth\]"):
        open_context()


def test_without_egl_the_error_says_what_to_install(monkeypatch):
    moderngl = pytest.importorskip("moderngl")
    from mkpose_ros.errors import EngineError
    from mkpose_ros.synthesis.gpu import open_context

    def fail(**_):
        raise Exception("libEGL.so not found")

    monkeypatch.setattr(moderngl, "create_standalone_context", fail)
    with pytest.raises(EngineError, match="libegl1"):
        open_context()
