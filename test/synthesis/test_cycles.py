"""Cycles without Blender: what is handed over, the camera's words, and every way in which Blender can be missing."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mkpose_ros.commands.synth import synth
from mkpose_ros.errors import DependencyError, EngineError, InputError
from mkpose_ros.geometry.camera import project
from mkpose_ros.synthesis import cycles
from mkpose_ros.synthesis.cycles_export import CyclesSettings, blender_camera, export_scene
from mkpose_ros.synthesis.cycles_worker import read_export
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.lighting import linear_from_srgb
from mkpose_ros.synthesis.render import Renderer
from mkpose_ros.synthesis.scene import Camera, Lighting, Placed, Scene, SceneConfig
from mkpose_ros.synthesis.shapes.base import Material
from mkpose_ros.synthesis.surfaces import box_shape
from mkpose_ros.synthesis.viewpoints import look_at
from mkpose_ros.types import CameraIntrinsics

import cv2  # after the rooms that let OpenCV write .exr  # isort: skip

INTRINSICS = CameraIntrinsics(fx=150.0, fy=130.0, cx=41.3, cy=20.2, width=64, height=48)


def small_scene() -> Scene:
    rng = np.random.default_rng(3)
    texture = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    table = box_shape("table", (1.0, 1.0, 0.1), Material((0.5, 0.4, 0.3), 0.6, 0.0, texture), 0.3)
    glass = box_shape("glass", (0.1, 0.1, 0.2), Material((0.2, 0.8, 0.4), 0.0, transmissive=True), 0.3)
    T = np.eye(4)
    T[2, 3] = 0.15
    light = Lighting(rng.random((8, 16, 3)).astype(np.float32), np.array([0.6, 0.0, 0.8]), np.array([2.0, 1.0, 0.5]))
    camera = Camera(INTRINSICS, look_at(np.array([0.9, 0.2, 0.6]), np.array([0.0, 0.0, 0.1])))
    return Scene((Placed(table, np.eye(4), casts_shadow=False), Placed(glass, T, instance_id=5)), light, camera)


def test_an_exported_scene_reads_back_as_it_was(tmp_path: Path) -> None:
    scene, settings = small_scene(), CyclesSettings(samples=3, passes=True)
    export_scene(scene, tmp_path, settings)
    description, arrays = read_export(tmp_path)
    assert description["settings"] == asdict(settings)
    np.testing.assert_array_equal(arrays["environment"], scene.lighting.environment)
    for i, thing in enumerate(scene.things):
        told = description["things"][i]
        assert told["instance_id"] == thing.instance_id
        assert told["casts_shadow"] == thing.casts_shadow
        np.testing.assert_array_equal(told["T_world_obj"], thing.T_world_obj)
        np.testing.assert_array_equal(arrays[f"thing{i}_vertices"], thing.shape.vertices_m)
        for name in ("normals", "faces", "face_materials", "uv"):
            np.testing.assert_array_equal(arrays[f"thing{i}_{name}"], getattr(thing.shape, name))
        assert len(told["materials"]) == len(thing.shape.materials)
    np.testing.assert_array_equal(arrays["thing0_texture0"], scene.things[0].shape.materials[0].texture)
    assert "thing1_texture0" not in arrays
    glass = description["things"][1]["materials"][0]
    assert glass["transmissive"]
    np.testing.assert_allclose(glass["albedo_linear"], linear_from_srgb(np.array([0.2, 0.8, 0.4])))


def test_grey_glass_is_clear_and_coloured_glass_keeps_its_hue(tmp_path: Path) -> None:
    scene = small_scene()
    tints = {}
    for albedo in ((0.5, 0.5, 0.5), (0.2, 0.45, 0.2), (0.0, 0.0, 0.0)):
        shape = replace(scene.things[1].shape, materials=(Material(albedo, 0.1, transmissive=True),))
        export_scene(replace(scene, things=(Placed(shape, np.eye(4)),)), tmp_path)
        tints[albedo] = read_export(tmp_path)[0]["things"][0]["materials"][0]["albedo_linear"]
    assert tints[0.5, 0.5, 0.5] == tints[0.0, 0.0, 0.0] == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(tints[0.2, 0.45, 0.2], linear_from_srgb(np.array([0.2, 0.45, 0.2])))


def test_an_empty_scene_is_exported_too(tmp_path: Path) -> None:
    scene = small_scene()
    export_scene(Scene((), scene.lighting, scene.camera), tmp_path)
    description, arrays = read_export(tmp_path)
    assert description["things"] == []
    assert set(arrays) == {"environment"}


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    export_scene(small_scene(), tmp_path)
    (tmp_path / "scene.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99, expected 1"):
        read_export(tmp_path)


def blender_pixel(point_cam_m: np.ndarray, camera: dict, width: int, height: int) -> np.ndarray:
    """Where Blender draws a point, by its manual: millimetres on the sensor, shift in widths of it, pixel aspect."""
    x_mm, y_mm = camera["lens_mm"] * point_cam_m[:2] / point_cam_m[2] * [1.0, -1.0]  # y up
    x_mm -= camera["shift_x"] * camera["sensor_mm"]
    y_mm -= camera["shift_y"] * camera["sensor_mm"]
    pixel_width_mm = camera["sensor_mm"] / width
    pixel_height_mm = pixel_width_mm * camera["pixel_aspect_y"] / camera["pixel_aspect_x"]
    return np.array([0.5 * width + x_mm / pixel_width_mm, 0.5 * height - y_mm / pixel_height_mm])


@pytest.mark.parametrize(
    "intrinsics",
    [
        INTRINSICS,
        CameraIntrinsics(500.0, 500.0, 319.5, 239.5, 640, 480),
        CameraIntrinsics(480.0, 610.0, 250.0, 300.0, 640, 480),
        CameraIntrinsics(700.0, 690.0, 200.0, 420.0, 480, 640),
    ],
)
def test_blender_projects_where_our_camera_does_half_a_pixel_on(intrinsics: CameraIntrinsics) -> None:
    camera = blender_camera(intrinsics)
    assert min(camera["pixel_aspect_x"], camera["pixel_aspect_y"]) == 1.0  # Blender allows none below
    for point in np.random.default_rng(0).uniform([-0.5, -0.5, 0.4], [0.5, 0.5, 2.0], (20, 3)):
        expected = project(point, intrinsics) + 0.5  # Blender counts pixels' edges, we their centres
        found = blender_pixel(point, camera, intrinsics.width, intrinsics.height)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_blender_looks_and_shines_the_right_way(tmp_path: Path) -> None:
    scene = small_scene()
    export_scene(scene, tmp_path)
    description, _ = read_export(tmp_path)
    T_camera = np.array(description["camera"]["T_world_cam"])
    np.testing.assert_allclose(-T_camera[:3, 2], scene.camera.T_world_cam[:3, 2])  # Blender looks along -z
    np.testing.assert_allclose(-T_camera[:3, 1], scene.camera.T_world_cam[:3, 1])
    T_sun = np.array(description["sun"]["T_world_sun"])
    np.testing.assert_allclose(T_sun[:3, 2], scene.lighting.light_dir_world)  # and shines along -z
    for T in (T_camera, T_sun):
        assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)


def test_without_blender_the_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cycles.PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DependencyError, match=r"mkpose synth --prepare-cycles.*MKPOSE_BLENDER_PYTHON"):
        cycles.CyclesProcess()
    monkeypatch.setenv(cycles.PYTHON_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(DependencyError, match=r"MKPOSE_BLENDER_PYTHON=.*none is no file"):
        cycles.CyclesProcess()


def test_a_python_without_bpy_is_named_with_its_last_words() -> None:
    with pytest.raises(DependencyError, match=r"can't run Blender .*No module named 'bpy'"):
        cycles.CyclesProcess(Path(sys.executable))


def stand_in(tmp_path: Path, on_draw: str) -> Path:
    """A program that speaks like the worker; ``on_draw`` are shell commands, run in its folder."""
    folder = tmp_path / "work"
    program = tmp_path / "python"
    program.write_text(
        f"#!/bin/sh\nmkdir -p {folder}; cd {folder}; read line\n"
        f"""echo '{{"version": "stand-in", "folder": "{folder}"}}'\n"""
        f"while read line; do\n{on_draw}\ndone\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_blender_that_dies_of_a_scene_gets_one_more_try(tmp_path: Path) -> None:
    radiance = np.random.default_rng(0).random((48, 64, 3)).astype(np.float32)
    image = tmp_path / "radiance.exr"
    cv2.imwrite(str(image), radiance[..., ::-1], [cv2.IMWRITE_EXR_TYPE, cv2.IMWRITE_EXR_TYPE_FLOAT])
    once = tmp_path / "once"
    draw = f"""[ -e {once} ] || {{ touch {once}; exit 1; }}; cp {image} .; echo '{{"seconds": 1.5}}'"""
    process = cycles.CyclesProcess(stand_in(tmp_path, draw))
    drawn = process.draw(small_scene())
    process.close()
    assert once.exists()
    assert drawn.seconds == 1.5
    np.testing.assert_array_equal(drawn.radiance, radiance)
    assert not (tmp_path / "work").exists()


def test_a_blender_that_dies_twice_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    process = cycles.CyclesProcess(stand_in(tmp_path, "echo out of memory >&2; exit 1"))
    with pytest.raises(EngineError, match=r"died twice.*out of memory"):
        process.draw(small_scene())
    process.close()


def test_what_blender_says_against_a_scene_is_passed_on(tmp_path: Path) -> None:
    process = cycles.CyclesProcess(stand_in(tmp_path, """echo '{"failed": "ValueError: too dark"}'"""))
    with pytest.raises(EngineError, match="ValueError: too dark"):
        process.draw(small_scene())
    process.close()
    process.close()  # twice is no fault


def test_preparing_without_the_right_python_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles.sys, "version", "3.12.1 (main)")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DependencyError, match=r"Python 3\.11 only"):
        cycles.prepare_blender()


def test_preparing_that_fails_names_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "python3.11"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr(cycles.sys, "version", "3.12.1 (main)")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DependencyError, match=r"python3\.11 -m venv --clear .* failed with 3"):
        cycles.prepare_blender()


class Painted:
    """A stand-in for Blender that paints everything in one light."""

    version = "stand-in"

    def draw(self, scene: Scene, settings: CyclesSettings) -> cycles.CyclesImage:
        k = scene.camera.intrinsics
        return cycles.CyclesImage(np.full((k.height, k.width, 3), 1e6, np.float32), 0.0)


def test_only_colour_comes_from_cycles(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "CyclesProcess", Painted)
    monkeypatch.setattr(cycles, "Renderer", lambda: renderer)
    config = SceneConfig(width=96, height=72, sensor="active-stereo")
    drawn = SceneGenerator(ShapeLibrary("train"), config, seed=1)
    drawn._renderer = renderer
    traced = SceneGenerator(ShapeLibrary("train"), replace(config, renderer="cycles"), seed=1)
    assert traced.renderer.device == "Cycles (Blender stand-in)"
    assert np.isfinite(traced.renderer.render(traced.scene(0)).radiance).all()  # 1e6 is beyond half floats
    a, b = drawn.generate(0), traced.generate(0)
    assert a.sensor == b.sensor
    assert a.visible_fraction == b.visible_fraction
    for name in ("instance_ids", "nocs"):
        np.testing.assert_array_equal(getattr(a.sample, name), getattr(b.sample, name))
    np.testing.assert_array_equal(a.sample.frame.depth_m, b.sample.frame.depth_m)
    assert a.sample.frame.intrinsics == b.sample.frame.intrinsics
    for x, y in zip(a.sample.objects, b.sample.objects, strict=True):
        np.testing.assert_array_equal(x.T_cam_obj, y.T_cam_obj)
    assert (a.sample.frame.rgb != b.sample.frame.rgb).any()


def test_an_unknown_renderer_is_refused() -> None:
    with pytest.raises(InputError, match=r"renderer: 'eevee', expected one of opengl, cycles"):
        SceneConfig(renderer="eevee")


def test_the_command_says_how_to_get_blender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cycles.PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = ["--out", str(tmp_path / "set"), "--frames", "1", "--renderer", "cycles"]
    result = CliRunner().invoke(synth, options)
    assert isinstance(result.exception, DependencyError)
    assert "mkpose synth --prepare-cycles" in str(result.exception)


def test_preparing_needs_no_other_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "prepare_blender", lambda: Path("/somewhere/python"))
    result = CliRunner().invoke(synth, ["--prepare-cycles"])
    assert result.exit_code == 0
    assert "/somewhere/python" in result.output
