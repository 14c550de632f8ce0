"""A scene as Blender takes it: a folder with scene.json and arrays.npz, which ``cycles_worker`` reads.

The worker runs in another Python, so nothing but plain numbers crosses over; there are no pickles in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mkpose_ros.synthesis.cycles_worker import FORMAT
from mkpose_ros.synthesis.lighting import linear_from_srgb
from mkpose_ros.synthesis.scene import Camera, Lighting, Placed, Scene
from mkpose_ros.synthesis.shapes.base import Material
from mkpose_ros.types import CameraIntrinsics

__all__ = ["CyclesSettings", "blender_camera", "export_scene"]

_SENSOR_MM = 36.0  # any: only its ratio to the focal length counts
_SHADOW_HEIGHT_M = 0.15  # above its shadow, a thing's edge blurs it by Lighting.shadow_blur_m to either side
_CV_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])  # a Blender camera looks along -z, y up


@dataclass(frozen=True)
class CyclesSettings:
    """How long Cycles may take, and what it shall write."""

    samples: int = 8  # paths per pixel
    denoise: bool = True
    threads: int = 0  # 0: as many as there are cores
    filter_px: float = 1.5  # width of the pixel filter
    passes: bool = False  # depth and ids as Cycles sees them, too: to check the geometry


def export_scene(scene: Scene, folder: Path, settings: CyclesSettings | None = None) -> None:
    """Write all that the worker needs of a scene into a folder: scene.json and arrays.npz."""
    arrays = {"environment": scene.lighting.environment.astype(np.float32)}
    for i, thing in enumerate(scene.things):
        shape = thing.shape
        named = {
            "vertices": shape.vertices_m.astype(np.float32),
            "normals": shape.normals.astype(np.float32),
            "faces": shape.faces.astype(np.int32),
            "face_materials": shape.face_materials.astype(np.int32),
            "uv": shape.uv,
            **{f"texture{k}": m.texture for k, m in enumerate(shape.materials)},
        }
        arrays |= {f"thing{i}_{name}": array for name, array in named.items() if array is not None}
    description = {
        "format": FORMAT,
        "settings": asdict(settings or CyclesSettings()),
        "camera": _describe_camera(scene.camera),
        "sun": _describe_sun(scene.lighting),
        "things": [_describe_thing(thing) for thing in scene.things],
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "scene.json").write_text(json.dumps(description), encoding="utf-8")


def blender_camera(intrinsics: CameraIntrinsics) -> dict[str, float]:
    """Blender's words for a pinhole: lens, shift of the sensor, pixel aspect; sensor fit "HORIZONTAL".

    Blender shifts in widths of the sensor, right and up, and its pixel u reaches from u to u + 1; ours is centred on u.
    """
    k = intrinsics
    height_per_width = k.fx / k.fy  # of a pixel
    return {
        "sensor_mm": _SENSOR_MM,
        "lens_mm": k.fx * _SENSOR_MM / k.width,
        "shift_x": (0.5 * k.width - (k.cx + 0.5)) / k.width,
        "shift_y": ((k.cy + 0.5) - 0.5 * k.height) * height_per_width / k.width,
        "pixel_aspect_x": max(1.0, 1.0 / height_per_width),  # Blender allows none below 1
        "pixel_aspect_y": max(1.0, height_per_width),
    }


def _describe_camera(camera: Camera) -> dict:
    k = camera.intrinsics
    T_world_cam = camera.T_world_cam @ _CV_FROM_BLENDER
    size = {"width": k.width, "height": k.height, "near_m": 0.01, "far_m": 100.0}
    return {**blender_camera(k), **size, "T_world_cam": T_world_cam.tolist()}


def _describe_sun(lighting: Lighting) -> dict:
    """The key light; a Blender sun shines along its -z."""
    z = np.asarray(lighting.light_dir_world, dtype=np.float64)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return {
        "T_world_sun": T.tolist(),
        "irradiance": [float(v) for v in lighting.light_radiance],
        "angle_rad": float(2.0 * np.arctan2(lighting.shadow_blur_m, _SHADOW_HEIGHT_M)),
    }


def _describe_thing(thing: Placed) -> dict:
    materials = [_describe_material(m) for m in thing.shape.materials]
    return {
        "instance_id": thing.instance_id,
        "T_world_obj": thing.T_world_obj.tolist(),
        "casts_shadow": thing.casts_shadow,
        "materials": materials,
    }


def _describe_material(material: Material) -> dict:
    albedo = linear_from_srgb(np.array(material.albedo))
    return {
        "albedo_linear": (_glass_tint(albedo) if material.transmissive else albedo).tolist(),
        "roughness": float(np.clip(material.roughness, 0.03, 1.0)),
        "metallic": float(material.metallic),
        "transmissive": bool(material.transmissive),
    }


def _glass_tint(albedo: np.ndarray) -> np.ndarray:
    """The share of light, linear RGB, that a wall of glass lets through.

    Grey says how bright somebody wanted clear glass to look, not that it swallows light; only a hue is a tint.
    """
    saturation = min(1.0, 1.5 * float(np.ptp(albedo) / max(np.max(albedo), 1e-6)))
    return 1.0 - saturation * (1.0 - albedo)
