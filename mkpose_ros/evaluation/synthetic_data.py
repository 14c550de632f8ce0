"""The default data of `mkpose eval`: scenes of a split that training never sees, written once into the user's cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import mkpose_ros
from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.datasets import Dataset, open_dataset
from mkpose_ros.errors import InputError
from mkpose_ros.resources import cache_path

__all__ = ["DEFAULT_FRAMES", "synthetic_dataset"]

DEFAULT_FRAMES = 300
SPLITS = ("train", "val", "test")


def synthetic_dataset(
    split: str,
    seed: int,
    frames: int = DEFAULT_FRAMES,
    categories: tuple[str, ...] = NOCS_CATEGORIES,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """The first `frames` scenes of a split and seed; those that the cache lacks are rendered (workers: all cores).

    A run that is cut off goes on where it was. The cache's folder names the code that renders, so that frames of
    another version are never taken for these. Raises InputError for an unknown split, DependencyError without the
    packages that render.
    """
    from mkpose_ros.synthesis.dataset import DatasetConfig, write_dataset
    from mkpose_ros.synthesis.scene import SceneConfig

    if split not in SPLITS:
        raise InputError(f"synthetic split {split!r}; expected one of {', '.join(SPLITS)}, or --data with a folder")
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, frames)

    folder = cache_path("scenes", f"{seed}-{'-'.join(categories)}-{_renderer_hash()}")
    config = DatasetConfig(folder, frames, seed, split, SceneConfig(categories=categories))
    write_dataset(config, workers or len(os.sched_getaffinity(0)), count)
    return open_dataset(folder, split)[:frames]


def _renderer_hash() -> str:
    """Eight digits that change with any code that decides the pixels."""
    digest = hashlib.sha256()
    for path in sorted((Path(mkpose_ros.__file__).parent / "synthesis").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
