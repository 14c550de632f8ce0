"""Cycles with Blender: it sees the geometry that OpenGL sees, under the same light. Needs bpy; minutes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from mkpose_ros.errors import DependencyError
from mkpose_ros.synthesis.cycles import CyclesProcess, CyclesSettings
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import Camera, Lighting, Placed, Scene, SceneConfig
from mkpose_ros.synthesis.shapes.base import Material
from mkpose_ros.synthesis.surfaces import box_shape
from mkpose_ros.synthesis.viewpoints import look_at
from mkpose_ros.types import CameraIntrinsics

pytestmark = pytest.mark.slow

# One path through the middle of each pixel, as OpenGL samples.
GEOMETRY = CyclesSettings(samples=1, denoise=False, threads=1, filter_px=0.01, passes=True)
LIGHT = CyclesSettings(samples=32, denoise=False, threads=1)
SKEWED = CameraIntrinsics(fx=150.0, fy=120.0, cx=95.3, cy=41.8, width=160, height=120)


@pytest.fixture(scope="module")
def blender() -> Iterator[CyclesProcess]:
    try:
        process = CyclesProcess()
    except DependencyError as error:
        pytest.skip(str(error))
    yield process
    process.close()


@pytest.fixture(scope="module")
def generator() -> Iterator[SceneGenerator]:
    generator = SceneGenerator(ShapeLibrary("train", seed=0), SceneConfig(width=160, height=120), seed=0)
    yield generator
    generator.close()


@pytest.mark.parametrize("intrinsics", [None, SKEWED])
def test_cycles_sees_the_outlines_and_depths_that_opengl_sees(
    blender: CyclesProcess, generator: SceneGenerator, intrinsics: CameraIntrinsics | None
) -> None:
    scene = generator.scene(0)
    if intrinsics is not None:
        scene = scene.seen_from(Camera(intrinsics, scene.camera.T_world_cam))
    traced, drawn = blender.draw(scene, GEOMETRY), generator.renderer.render(scene)
    seen = [i for i in np.unique(drawn.ids) if i and (drawn.ids == i).sum() >= 50]
    assert len(seen) >= 2
    for i in seen:
        a, b = traced.ids == i, drawn.ids == i
        assert (a & b).sum() / (a | b).sum() > 0.97
    same = (traced.ids == drawn.ids) & (drawn.depth_m > 0)
    error_m = np.abs(traced.depth_m - drawn.depth_m)[same]
    assert np.quantile(error_m, 0.999) < 1e-3  # a pixel on an edge within the background may fall to either side


def lone_box(environment: np.ndarray, irradiance: float) -> Scene:
    """A grey, rough box in the air: nothing but environment and key light reaches it."""
    box = box_shape("lone box", (0.2, 0.3, 0.25), Material((0.7, 0.7, 0.7), 1.0), 1.0)
    light_dir = np.array([0.6, 0.48, 0.64])
    lighting = Lighting(environment.astype(np.float32), light_dir, np.full(3, irradiance), 1e-4)
    camera = Camera(CameraIntrinsics(70.0, 70.0, 31.5, 31.5, 64, 64), look_at(np.array([0.5, 0.4, 0.4]), np.zeros(3)))
    return Scene((Placed(box, np.eye(4), 1, casts_shadow=False),), lighting, camera)


def smooth_environment() -> np.ndarray:
    """Red towards +x, green towards +y, blue upwards: (64, 128, 3)."""
    elevation = (0.5 - (np.arange(64)[:, None] + 0.5) / 64) * np.pi
    azimuth = ((np.arange(128)[None] + 0.5) / 128 - 0.5) * 2.0 * np.pi
    x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    return 1.0 + 0.9 * np.stack([x, y, np.broadcast_to(np.sin(elevation), x.shape)], axis=-1)


@pytest.mark.parametrize(
    ("environment", "irradiance"), [(smooth_environment(), 0.0), (np.full((64, 128, 3), 1e-3), 3.0)]
)
def test_both_renderers_mean_the_same_by_light(
    blender: CyclesProcess, generator: SceneGenerator, environment: np.ndarray, irradiance: float
) -> None:
    scene = lone_box(environment, irradiance)
    drawn = generator.renderer.render(scene)
    expected = drawn.radiance.astype(np.float32)
    traced = blender.draw(scene, replace(LIGHT, filter_px=0.01)).radiance
    if irradiance == 0.0:
        sky = drawn.ids == 0
        np.testing.assert_allclose(traced[sky], expected[sky], atol=0.05)
    for axis in range(3):
        face = _face(scene, drawn.nocs, axis)
        assert face.sum() > 50
        np.testing.assert_allclose(traced[face].mean(axis=0), expected[face].mean(axis=0), rtol=0.1)


def _face(scene: Scene, nocs: np.ndarray, axis: int) -> np.ndarray:
    """The pixels well inside a face towards the camera, from the NOCS map."""
    size = scene.things[0].shape.size_m
    place = (nocs - 0.5) * np.linalg.norm(size) / size + 0.5  # 0..1 along each side
    others = [k for k in range(3) if k != axis]
    inside = ((place[..., others] > 0.05) & (place[..., others] < 0.95)).all(axis=-1)
    return inside & (np.abs(place[..., axis] - 1.0) < 0.01)


def test_only_things_that_cast_shadows_stand_in_the_key_light(blender: CyclesProcess) -> None:
    scene = lone_box(np.full((64, 128, 3), 1e-3), 3.0)
    box = scene.things[0]
    T = np.eye(4)
    T[:3, 3] = 2.0 * scene.lighting.light_dir_world  # between the box and the light, behind the camera
    wall = box_shape("wall", (1.2, 1.2, 1.2), Material((0.1, 0.1, 0.1), 1.0), 1.0)
    both = replace(box, casts_shadow=True)
    lit, passed, passed_too, shaded = (
        blender.draw(replace(scene, things=things), GEOMETRY)
        for things in (
            (box,),
            (box, Placed(wall, T, casts_shadow=False)),
            (both, Placed(wall, T, casts_shadow=False)),
            (both, Placed(wall, T, casts_shadow=True)),
        )
    )
    seen = lit.ids == 1
    assert seen.sum() > 200
    assert (shaded.ids == lit.ids).all()
    bright = lit.radiance[seen].mean()
    assert passed.radiance[seen].mean() == pytest.approx(bright, rel=0.1)
    assert passed_too.radiance[seen].mean() == pytest.approx(bright, rel=0.1)
    assert shaded.radiance[seen].mean() < 0.2 * bright


def test_a_killed_blender_is_replaced(blender: CyclesProcess) -> None:
    scene = lone_box(np.ones((64, 128, 3)), 0.0)
    before = blender.draw(scene, GEOMETRY)
    blender._child.kill()
    after = blender.draw(scene, GEOMETRY)
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.radiance, after.radiance)
