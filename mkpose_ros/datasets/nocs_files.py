"""The files that belong to a NOCS-layout frame: where they lie, and the plain ones read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mkpose_ros.datasets.base import Faults
from mkpose_ros.errors import InputError

__all__ = [
    "DETECTION_FOLDERS",
    "MetaLine",
    "composed_depth_files",
    "find_above",
    "model_extents_m",
    "read_meta",
    "result_pickle",
]

# Where published Mask R-CNN results lie, in the habits of several repositories.
DETECTION_FOLDERS = ("segmentation_results", "mrcnn_results", "deformnet_eval/mrcnn_results", "results")
COMPOSED_FOLDERS = ("camera_full_depths", "camera_composed_depth")  # beside camera/, under two names in use


@dataclass(frozen=True)
class MetaLine:
    """One line of `_meta.txt`: instance id, class id (0 is a distractor), then a model, or a synset and a model."""

    instance_id: int
    class_id: int
    model: str
    synset: str = ""


def read_meta(path: Path, faults: Faults) -> list[MetaLine]:
    """The lines of a meta file; malformed ones are noted. Raises InputError when the file can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; the frame needs this file") from error
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            synset, model = (words[2], words[3]) if len(words) == 4 else ("", words[2])
            lines.append(MetaLine(int(words[0]), int(words[1]), model, synset))
        except (IndexError, ValueError):
            faults.note(
                path, f"line {number} is {line!r}; expected `instance class model` or `instance class set model`"
            )
    return lines


def model_extents_m(stem: Path, line: MetaLine) -> np.ndarray | None:
    """The model's extents (3,): metric for scanned objects, NOCS units for ShapeNet's; None where no file has them."""
    models = find_above(stem, "obj_models")
    if models is None:
        return None
    if line.synset:
        candidates = [models / split / line.synset / line.model / "bbox.txt" for split in ("train", "val")]
    else:
        candidates = [models / f"real_{split}" / f"{line.model}.txt" for split in ("train", "test", "val")]
    for path in candidates:
        if path.is_file():
            return _read_extents(path)
    return None


@lru_cache(maxsize=4096)
def _read_extents(path: Path) -> np.ndarray:
    try:
        values = np.loadtxt(path, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: {error}; expected three extents, or two corners of a box") from error
    extents = np.abs(values[0] - values[1]) if values.shape == (2, 3) else values
    if extents.shape != (3,) or not np.isfinite(extents).all() or extents.min() <= 0.0:
        raise InputError(f"{path}: {values.tolist()}; expected three positive extents, or two corners of a box")
    return extents


@lru_cache(maxsize=4096)
def _find_above(folder: Path, name: str) -> Path | None:
    for parent in (folder, *folder.parents)[:6]:
        if (parent / name).is_dir():
            return parent / name
    return None


def find_above(stem: Path, name: str) -> Path | None:
    """The nearest folder of that name beside the frame or up to five levels above it."""
    return _find_above(stem.absolute().parent, name)


def result_pickle(stem: Path, kind: str, folders: tuple[str, ...]) -> Path | None:
    """The benchmark's `results_<split>_<scene>_<frame>.pkl` of a frame below one of the folders, or None."""
    split, scene, frame = stem.absolute().parts[-3:]
    subfolders = {
        "camera": (split, "CAMERA25", "."),
        "real": (f"real_{split}", "REAL275", "test_trainedwithMask", "."),
    }.get(kind, ())
    names = [f"results_{prefix}{split}_{scene}_{frame}.pkl" for prefix in ("", "real_")]
    for folder in folders:
        base = find_above(stem, folder)
        for path in (base / sub / name for sub in subfolders for name in names) if base else ():
            if path.is_file():
                return path
    return None


def composed_depth_files(stem: Path) -> Iterator[Path]:
    """Where the composed depth of a CAMERA25 frame may lie."""
    yield stem.with_name(stem.name + "_composed.png")
    parts = stem.absolute().parts
    if "camera" in parts:
        at = len(parts) - 1 - parts[::-1].index("camera")
        for folder in COMPOSED_FOLDERS:
            yield Path(*parts[:at], folder, *parts[at + 1 : -1], parts[-1] + "_composed.png")
