"""Scenes and data sets as sample streams: picklable callables from a scene number to CropSamples."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.datasets.samples import CropSamples, SampleConfig, concatenate, training_samples
from mkpose_ros.training.shards import write_shard

__all__ = ["DatasetRenderer", "SceneRenderer", "render_shards"]


@dataclass
class SceneRenderer:
    """Renders scene i of a split and cuts its instances; a function of (split, seed, i) alone."""

    split: str
    seed: int
    samples: SampleConfig
    _generator: Any = field(default=None, repr=False)

    def __call__(self, scene: int) -> CropSamples | None:
        if self._generator is None:  # made in the worker: a GL context can't be sent there
            self._generator = _scene_generator(self.split, self.seed, self.samples.categories)
        frame = self._generator.frame(scene)
        return training_samples(frame, self.samples, np.random.default_rng([self.seed, scene, 7]))


def _scene_generator(split: str, seed: int, categories: tuple[str, ...] | None) -> Any:
    from mkpose_ros.synthesis.generate import SceneGenerator
    from mkpose_ros.synthesis.library import ShapeLibrary

    return SceneGenerator(ShapeLibrary(split, categories=categories), seed=seed)


@dataclass
class DatasetRenderer:
    """Reads frames of a data set in a new random order each time round."""

    path: str
    split: str | None
    seed: int
    samples: SampleConfig
    _dataset: Any = field(default=None, repr=False)

    def __call__(self, scene: int) -> CropSamples | None:
        if self._dataset is None:
            from mkpose_ros.datasets import open_dataset

            self._dataset = open_dataset(Path(self.path), split=self.split)
        turn, position = divmod(scene, len(self._dataset))
        order = np.random.default_rng([self.seed, turn]).permutation(len(self._dataset))
        frame = self._dataset[int(order[position])]
        return training_samples(frame, self.samples, np.random.default_rng([self.seed, scene, 7]))


def render_shards(renderer: Any, folder: Path, *, scenes: int, per_shard: int, name: str, progress: Any = None) -> int:
    """Write scenes 0 .. scenes-1 as shards of `per_shard` scenes; shards that exist are left. Returns the crop count.

    A killed rendering goes on at its first missing shard when it is called again.
    """
    count = 0
    for first in range(0, scenes, per_shard):
        path = folder / f"{name}-{first:07d}.safetensors"
        if path.exists():
            continue
        parts = [s for i in range(first, min(first + per_shard, scenes)) if (s := renderer(i)) is not None]
        if parts:
            samples = concatenate(parts)
            write_shard(path, samples)
            count += len(samples)
        if progress is not None:
            progress(min(first + per_shard, scenes), count)
    return count
