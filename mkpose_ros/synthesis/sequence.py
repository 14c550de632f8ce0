"""Recordings: one still scene, a camera that moves around it as if held by hand, a truth for every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline

from mkpose_ros.errors import InputError
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.synthesis.generate import GeneratedFrame, SceneGenerator, random_scene
from mkpose_ros.synthesis.scene import Camera, Placed, Scene
from mkpose_ros.synthesis.sensor import Dice
from mkpose_ros.synthesis.surfaces import box_shape, random_surface
from mkpose_ros.synthesis.viewpoints import look_at
from mkpose_ros.types import CameraIntrinsics, FrameSample, ObjectTruth

__all__ = ["Sequence", "SequenceConfig", "Shot"]

_KNOT_S = 0.8  # between the points that the camera's path goes through


@dataclass(frozen=True)
class SequenceConfig:
    """How the camera moves and what it meets. Lengths of a turn and of a passage are in frames of the recording."""

    rate_hz: float = 30.0
    scene: int = 0  # which scene: another number, another arrangement
    min_objects: int = 5
    min_categories: int = 4
    speed_m_s: float = 0.15  # of the camera along its path, about
    shake_m: float = 0.004  # standard deviation of the hand's unrest
    sensor: str = "active-stereo"
    occluder: tuple[int, int] | None = None  # the frames between which something passes before the camera

    def __post_init__(self) -> None:
        if not self.rate_hz > 0:
            raise InputError(f"SequenceConfig.rate_hz: {self.rate_hz}, expected a positive number of frames per second")
        if self.occluder is not None and not 0 <= self.occluder[0] < self.occluder[1]:
            raise InputError(
                f"SequenceConfig.occluder: {self.occluder}, expected two frame numbers, the second greater"
            )


@dataclass(frozen=True)
class Shot:
    """One frame of a recording."""

    frame: GeneratedFrame
    T_world_cam: np.ndarray  # (4, 4) float64

    @property
    def sample(self) -> FrameSample:
        """The frame; its stamp is index / rate."""
        return self.frame.sample

    def named(self, name: str) -> GeneratedFrame:
        """The frame under another name."""
        return replace(self.frame, sample=replace(self.frame.sample, name=name))


class Sequence:
    """Frames of one recording by index; any frame can be had without those before it."""

    def __init__(self, generator: SceneGenerator, config: SequenceConfig | None = None) -> None:
        """Raises InputError when the generator's settings can't give enough objects of enough categories."""
        self.config = config or SequenceConfig()
        self._generator = generator

    def shot(self, index: int) -> Shot:
        """Frame ``index`` >= 0."""
        if index < 0:
            raise InputError(f"Sequence.shot: index {index}, expected 0 or more")
        time_s = index / self.config.rate_hz
        camera = Camera(self.scene.camera.intrinsics, self.camera_pose(time_s))
        scene = replace(self.scene.seen_from(camera), things=(*self.scene.things, *self._passer(index, camera)))
        seeds = [self._generator.seed, self.config.scene, 303]
        dice = Dice(np.random.default_rng(seeds), np.random.default_rng([*seeds, index]))  # one camera, fresh noise
        frame = self._generator.shoot(scene, dice, f"sequence_{self.config.scene}/{index:06d}", self.config.sensor)
        stamped = replace(frame.sample.frame, stamp_ns=round(1e9 * time_s))
        return Shot(replace(frame, sample=replace(frame.sample, frame=stamped)), camera.T_world_cam)

    @cached_property
    def scene(self) -> Scene:
        """The arrangement: the first of the seed's that has enough objects of enough categories."""
        generator, wanted = self._generator, self.config
        config = replace(
            generator.config,
            objects=(wanted.min_objects, max(wanted.min_objects, generator.config.objects[1])),
            distance_m=(0.6, 1.1),
            elevation_deg=(28.0, 48.0),
        )
        known = set(config.categories or generator.library.categories)
        if len(known) < wanted.min_categories:
            raise InputError(
                f"Sequence: {wanted.min_categories} categories wanted, but the scenes only have {len(known)}: "
                + ", ".join(sorted(known))
            )
        for attempt in range(100):
            rng = np.random.default_rng([generator.seed, wanted.scene, attempt, 202])
            name = f"sequence_{generator.library.split}_{generator.seed}_{wanted.scene}_{attempt}"
            scene = random_scene(rng, generator.library, config, name)
            objects = [t.shape.category for t in scene.things if t.instance_id]
            if len(objects) >= wanted.min_objects and len(set(objects)) >= wanted.min_categories:
                return replace(scene, camera=Camera(_plain_lens(scene.camera.intrinsics), scene.camera.T_world_cam))
        raise InputError(
            f"Sequence: no arrangement with {wanted.min_objects} objects of {wanted.min_categories} categories in 100 "
            "tries; ask for fewer, or allow more categories"
        )

    def camera_pose(self, time_s: float) -> np.ndarray:
        """T_world_cam (4, 4) at a time: a smooth path at about the config's speed, and the hand's unrest."""
        eye, target, roll = np.split(self._path_at(time_s), [3, 6])
        return look_at(eye, target, float(roll[0]))

    def truth_in_world(self, truth: ObjectTruth, shot: Shot) -> np.ndarray:
        """T_world_obj (4, 4) of an object of a shot: the same in every shot."""
        return shot.T_world_cam @ truth.T_cam_obj

    def _path_at(self, time_s: float) -> np.ndarray:
        """Eye, target and roll (7,): a cubic spline through knots that are functions of their number alone."""
        first = int(time_s // _KNOT_S) - 3
        numbers = np.arange(first, first + 8)
        return CubicSpline(numbers * _KNOT_S, np.stack([self._knot(int(n)) for n in numbers]))(time_s)

    def _knot(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self._generator.seed, self.config.scene, number + 1000, 404])
        eye, middle = self.scene.camera.T_world_cam[:3, 3], self._middle
        out = eye - middle
        radius, height = np.linalg.norm(out[:2]), out[2]
        # To and fro over a third of a circle, higher and lower, nearer and farther, at different paces.
        way = self.config.speed_m_s * _KNOT_S * number / max(radius, 0.1)
        azimuth = np.arctan2(out[1], out[0]) + 1.0 * np.sin(way)
        radius *= 1.0 + 0.12 * np.sin(0.7 * way + 1.0)
        height *= 1.0 + 0.18 * np.sin(1.3 * way)
        at = middle + [radius * np.cos(azimuth), radius * np.sin(azimuth), height]
        shake = self.config.shake_m * rng.standard_normal(7) * [1, 1, 1, 2, 2, 2, 4]
        return np.concatenate([at, middle, [0.0]]) + shake

    @cached_property
    def _middle(self) -> np.ndarray:
        return np.mean([t.T_world_obj[:3, 3] for t in self.scene.things if t.instance_id], axis=0)

    def _passer(self, index: int, camera: Camera) -> list[Placed]:
        """A board that crosses the view from left to right half-way to the objects, between the config's frames."""
        if self.config.occluder is None:
            return []
        start, end = self.config.occluder
        if not start <= index <= end:
            return []
        rng = np.random.default_rng([self._generator.seed, self.config.scene, 505])
        shape = box_shape(
            f"passer_{self._generator.seed}_{self.config.scene}", (0.12, 0.5, 0.02), random_surface(rng), 0.3
        )
        depth_m = 0.5 * float(np.linalg.norm(self._middle - camera.T_world_cam[:3, 3]))
        reach_m = depth_m * camera.intrinsics.width / (2.0 * camera.intrinsics.fx) + 0.06
        x = reach_m * (2.0 * (index - start) / (end - start) - 1.0)
        T_cam_board = compose_pose(np.eye(3), np.array([x, 0.0, depth_m]))
        return [Placed(shape, camera.T_world_cam @ T_cam_board, casts_shadow=False)]


def _plain_lens(k: CameraIntrinsics) -> CameraIntrinsics:
    """A usual colour camera's lens at this image size."""
    f = 0.945 * k.width
    return CameraIntrinsics(f, f, 0.5 * (k.width - 1), 0.5 * (k.height - 1), k.width, k.height)
