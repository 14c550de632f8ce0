"""The default data of `mkpose eval`: scenes of a split that training never sees, written once into the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mkpose_ros
from mkpose_ros.categories import load_categories
from mkpose_ros.datasets import Dataset, open_dataset
from mkpose_ros.errors import InputError
from mkpose_ros.resources import cache_path

__all__ = ["DEFAULT_FRAMES", "synthetic_dataset", "synthetic_folder"]

DEFAULT_FRAMES = 100
_KEPT_S = 14 * 24 * 3600.0
SPLITS = ("train", "val", "test")


def synthetic_dataset(split: str, seed: int, frames: int = DEFAULT_FRAMES, **options: Any) -> Dataset:
    """The first `frames` scenes of a split and seed; `options` are those of `synthetic_folder`, which makes them."""
    return open_dataset(synthetic_folder(split, seed, frames, **options), split)[:frames]


def synthetic_folder(
    split: str,
    seed: int,
    frames: int = DEFAULT_FRAMES,
    categories: tuple[str, ...] | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """A folder with at least `frames` scenes of a split and seed; those it lacks are rendered (workers: all cores).

    `categories`: None for every shipped one, those that no model was trained on included.
    A run that is cut off goes on where it was. The cache's folder names the code that renders, so that frames of
    another version are never taken for these; versions that nobody used for two weeks are deleted.
    Raises InputError for an unknown split, DependencyError without the packages that render.
    """
    from mkpose_ros.synthesis.dataset import DatasetConfig, write_dataset
    from mkpose_ros.synthesis.scene import SceneConfig

    if split not in SPLITS:
        raise InputError(f"synthetic split {split!r}; expected one of {', '.join(SPLITS)}, or --data with a folder")
    categories = categories or tuple(load_categories())
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, frames)

    version = cache_path("scenes", _renderer_hash())
    _delete_stale(version)
    folder = version / f"{seed}-{_short_hash(' '.join(categories).encode())}"
    config = DatasetConfig(folder, frames, seed, split, SceneConfig(categories=categories))
    write_dataset(config, workers or len(os.sched_getaffinity(0)), count)
    return folder


def _delete_stale(version: Path) -> None:
    """Mark this version of the scenes as used and delete those that were not used for long."""
    version.mkdir(parents=True, exist_ok=True)
    os.utime(version)
    for other in version.parent.iterdir():
        if other.is_dir() and time.time() - other.stat().st_mtime > _KEPT_S:
            shutil.rmtree(other, ignore_errors=True)  # another process may be deleting it too


def _renderer_hash() -> str:
    """Eight digits that change with any code that decides the pixels."""
    paths = sorted((Path(mkpose_ros.__file__).parent / "synthesis").rglob("*.py"))
    return _short_hash(*(path.read_bytes() for path in paths))


def _short_hash(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()[:8]
