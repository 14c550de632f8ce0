"""Endless RGB-D scenes with ground truth: ``SceneGenerator(library, config, seed).frame(index)``.

A frame is a function of the library, the config, the seed and its index alone, whatever was drawn before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mkpose_ros.categories import load_categories
from mkpose_ros.synthesis.background import random_background
from mkpose_ros.synthesis.layout import arrange
from mkpose_ros.synthesis.library import DISTRACTOR, ShapeLibrary
from mkpose_ros.synthesis.lighting import find_environments, random_lighting
from mkpose_ros.synthesis.render import Renderer, Rendering
from mkpose_ros.synthesis.scene import SENSORS, Placed, Scene, SceneConfig
from mkpose_ros.synthesis.sensor import Dice, expose, measure_depth
from mkpose_ros.synthesis.surfaces import find_pictures, random_room
from mkpose_ros.synthesis.viewpoints import random_camera
from mkpose_ros.types import FrameSample, ObjectTruth, RgbdFrame, Symmetry

if TYPE_CHECKING:
    from mkpose_ros.synthesis.cycles import CyclesRenderer

__all__ = ["GeneratedFrame", "SceneGenerator", "random_scene", "truths"]

_SENSOR_SHARES = (0.35, 0.4, 0.2, 0.05)  # of scene.SENSORS when the config says "random"
_HANDLE_PX, _HANDLE_SHARE = 8, 0.004  # a handle is seen by at least so many pixels, and this share of the object's


@dataclass(frozen=True)
class GeneratedFrame:
    """A frame and what only a generator knows of it."""

    sample: FrameSample
    sensor: str
    visible_fraction: dict[int, float]  # by instance id, of the object's outline inside the image
    clean_depth_m: np.ndarray  # (H, W) float32 without the sensor's errors


class SceneGenerator:
    """Draws frames; keeps one renderer, made when first needed (in the process that needs it)."""

    def __init__(self, library: ShapeLibrary, config: SceneConfig | None = None, seed: int = 0) -> None:
        """Raises InputError for a folder of environments or pictures without any."""
        self.library, self.config, self.seed = library, config or SceneConfig(), int(seed)
        self._environments = find_environments(self.config.environments) if self.config.environments else ()
        self._pictures = find_pictures(self.config.pictures) if self.config.pictures else ()
        self._renderer: Renderer | CyclesRenderer | None = None

    @property
    def renderer(self) -> Renderer | CyclesRenderer:
        """The renderer. Raises DependencyError or EngineError when there can't be one."""
        if self._renderer is None:
            self._renderer = _open_renderer(self.config.renderer)
        return self._renderer

    def frame(self, index: int) -> FrameSample:
        """Frame number ``index`` >= 0."""
        return self.generate(index).sample

    def generate(self, index: int) -> GeneratedFrame:
        """Frame number ``index`` with the sensor's name, visibilities and clean depth."""
        dice = Dice(*(np.random.default_rng([self.seed, index, stream]) for stream in (101, 102)))
        return self.shoot(self.scene(index), dice, f"{self.library.split}/{index // 1000:05d}/{index % 1000:04d}")

    def scene(self, index: int) -> Scene:
        """The scene of frame ``index``."""
        rng = np.random.default_rng([self.seed, index])
        name = f"scene_{self.library.split}_{self.seed}_{index}"
        return random_scene(rng, self.library, self.config, name, self._environments, self._pictures)

    def shoot(self, scene: Scene, dice: Dice, name: str, sensor: str | None = None) -> GeneratedFrame:
        """Render a scene and measure it with a sensor (default: as the config says)."""
        rendering = self.renderer.render(scene)
        kind = sensor or self.config.sensor
        if kind == "random":
            kind = str(dice.look.choice(SENSORS, p=_SENSOR_SHARES))
        frame = RgbdFrame(
            rgb=expose(rendering, dice, perfect=kind == "perfect"),
            depth_m=measure_depth(rendering, kind, dice),
            intrinsics=scene.camera.intrinsics,
            frame_id="camera_color_optical_frame",
        )
        objects, fractions = truths(scene, rendering, self.config)
        known = np.zeros(256, dtype=np.int32)
        known[[o.instance_id for o in objects]] = [o.instance_id for o in objects]
        ids = known[rendering.ids]
        nocs = np.where(ids[..., None] > 0, np.clip(rendering.nocs, 0.0, 1.0), np.float32(0.0))
        sample = FrameSample(frame, ids, objects, name, nocs)
        return GeneratedFrame(sample, kind, fractions, rendering.depth_m)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _open_renderer(kind: str) -> Renderer | CyclesRenderer:
    if kind == "opengl":
        return Renderer()
    from mkpose_ros.synthesis.cycles import CyclesRenderer

    return CyclesRenderer()


def random_scene(
    rng: np.random.Generator,
    library: ShapeLibrary,
    config: SceneConfig,
    name: str,
    environments: tuple = (),
    pictures: tuple = (),
) -> Scene:
    """A scene drawn at random; ``name`` must be its own, because meshes are cached by name."""
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    clutter = int(rng.integers(config.distractors[0], config.distractors[1] + 1))
    categories = config.categories or library.categories
    drawn = [str(categories[int(rng.integers(len(categories)))]) for _ in range(count)]
    shapes = [library.sample(rng, c) for c in drawn] + [library.sample(rng, DISTRACTOR) for _ in range(clutter)]
    order = rng.permutation(len(shapes))
    ids = np.where(order < count, order + 1, 0)
    spread_m = rng.uniform(0.07, 0.12) * np.sqrt(max(len(shapes), 1))
    things = arrange(rng, [shapes[i] for i in order], ids.tolist(), spread_m)
    camera = random_camera(rng, config, things, spread_m)
    azimuth = float(np.arctan2(camera.T_world_cam[1, 3], camera.T_world_cam[0, 3]))
    reach_m = max((float(np.linalg.norm(t.T_world_obj[:2, 3])) + 0.2 for t in things), default=spread_m)
    room = random_room(rng, name, azimuth, reach_m, pictures)
    lighting = random_lighting(rng, environments)
    behind = int(rng.integers(config.background[0], config.background[1] + 1)) if config.background[1] else 0
    room += random_background(rng, name, azimuth, reach_m, behind, pictures)
    return Scene(tuple(room + things), lighting, camera)


def truths(scene: Scene, rendering: Rendering, config: SceneConfig) -> tuple[tuple[ObjectTruth, ...], dict[int, float]]:
    """The ground truth of the objects that are seen well enough, and how much of each is seen."""
    pixels = np.bincount(rendering.ids.ravel(), minlength=128)
    handle_pixels = np.bincount(rendering.ids[rendering.handle], minlength=128)
    T_cam_world = np.linalg.inv(scene.camera.T_world_cam)
    objects, fractions = [], {}
    for thing in scene.things:
        i = thing.instance_id
        if not i or pixels[i] < config.min_visible_px:
            continue
        # Outlines are counted on a coarser grid; small ones may come out a little smaller than what is seen.
        fraction = min(1.0, float(pixels[i] / max(rendering.whole_px.get(i, 0.0), pixels[i])))
        if fraction < config.min_visible_fraction:
            continue
        seen = bool(handle_pixels[i] >= max(_HANDLE_PX, _HANDLE_SHARE * pixels[i]))
        objects.append(_truth(thing, T_cam_world, seen))
        fractions[i] = fraction
    return tuple(objects), fractions


def _truth(thing: Placed, T_cam_world: np.ndarray, handle_seen: bool) -> ObjectTruth:
    shape = thing.shape
    category = load_categories().get(shape.category)
    symmetry, handle_visible = shape.symmetry, True
    if category is not None and category.hidden_handle and shape.handle_vertices is not None:
        handle_visible = handle_seen
        if not handle_seen:
            symmetry = Symmetry(infinite_axes=("y",))
    return ObjectTruth(
        instance_id=thing.instance_id,
        category=shape.category,
        model=shape.name,
        T_cam_obj=T_cam_world @ thing.T_world_obj,
        size_m=np.array(shape.size_m, dtype=np.float64),
        symmetry=symmetry,
        handle_visible=handle_visible,
    )
