"""What a scene is before it is drawn: placed shapes, light and a camera.

The world frame has z up; the surface that the objects stand on is the plane z = 0. Metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.shapes.base import Shape
from mkpose_ros.types import CameraIntrinsics

__all__ = ["RENDERERS", "SENSORS", "Camera", "Lighting", "Placed", "Scene", "SceneConfig"]

RENDERERS = ("opengl", "cycles")
SENSORS = ("structured-light", "active-stereo", "time-of-flight", "perfect")


@dataclass(frozen=True)
class Placed:
    """A shape in the world. ``instance_id`` is 0 for furniture and clutter, else 1..120 and unique in the scene."""

    shape: Shape
    T_world_obj: np.ndarray  # (4, 4) float64
    instance_id: int = 0
    casts_shadow: bool = True


@dataclass(frozen=True)
class Lighting:
    """An environment and one key light with a shadow."""

    environment: np.ndarray  # (h, 2h, 3) float32 linear radiance, equirectangular; row 0 looks up, column w/2 along +x
    light_dir_world: np.ndarray  # (3,) unit, towards the light
    light_radiance: np.ndarray  # (3,) irradiance of the key light on a surface that faces it
    shadow_blur_m: float = 0.01


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the world."""

    intrinsics: CameraIntrinsics
    T_world_cam: np.ndarray  # (4, 4) float64; x right, y down, z forward


@dataclass(frozen=True)
class Scene:
    """Everything the renderer needs."""

    things: tuple[Placed, ...]
    lighting: Lighting
    camera: Camera

    def seen_from(self, camera: Camera) -> Scene:
        """The same scene with another camera."""
        return replace(self, camera=camera)


@dataclass(frozen=True)
class SceneConfig:
    """What scenes look like; the defaults are what the shipped models are trained on."""

    width: int = 640
    height: int = 480
    categories: tuple[str, ...] | None = None  # None: those of the library
    objects: tuple[int, int] = (3, 8)  # how many objects to estimate, both ends included
    distractors: tuple[int, int] = (0, 4)
    background: tuple[int, int] = (0, 0)  # large things behind the table beside its furniture; to train segmenters
    distance_m: tuple[float, float] = (0.4, 2.0)  # from the camera to the objects' middle
    elevation_deg: tuple[float, float] = (10.0, 80.0)
    focal_px: tuple[float, float] = (400.0, 1100.0)  # at a width of 640 pixels
    sensor: str = "random"  # or one of SENSORS
    renderer: str = "opengl"  # or "cycles": photoreal colour, hundreds of times slower
    environments: Path | None = None  # a folder of .hdr / .exr, used for half of the scenes
    pictures: Path | None = None  # a folder of images, used for half of the table and wall textures
    min_visible_px: int = 60  # an object seen by fewer pixels, or by a smaller part, has no ground truth
    min_visible_fraction: float = 0.05

    def __post_init__(self) -> None:
        if self.sensor not in ("random", *SENSORS):
            raise InputError(f"SceneConfig.sensor: {self.sensor!r}, expected random or one of {', '.join(SENSORS)}")
        if self.renderer not in RENDERERS:
            raise InputError(f"SceneConfig.renderer: {self.renderer!r}, expected one of {', '.join(RENDERERS)}")
        if not (16 <= self.width <= 4096 and 16 <= self.height <= 4096):
            raise InputError(f"SceneConfig: {self.width}x{self.height} pixels, expected 16 to 4096 on each side")
        for name in ("objects", "distractors", "background", "distance_m", "elevation_deg", "focal_px"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise InputError(f"SceneConfig.{name}: ({low}, {high}), expected 0 <= low <= high")
        if self.objects[1] > 60:
            raise InputError(f"SceneConfig.objects: up to {self.objects[1]}, expected at most 60 in one scene")
