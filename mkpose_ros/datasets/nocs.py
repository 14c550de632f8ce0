"""The NOCS layout: CAMERA25, REAL275 and the scenes that `mkpose synth` writes, one frame per `*_color.png`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.datasets.base import Dataset, Faults
from mkpose_ros.datasets.detections import read_detections
from mkpose_ros.datasets.images import read_color, read_depth_m, read_mask, read_nocs_map
from mkpose_ros.datasets.nocs_files import DETECTION_FOLDERS, composed_depth_files, find_above, read_meta, result_pickle
from mkpose_ros.datasets.nocs_truth import TruthSources, read_truths
from mkpose_ros.errors import InputError
from mkpose_ros.types import CameraIntrinsics, FrameSample, ObjectTruth, RgbdFrame

__all__ = ["CAMERA25_INTRINSICS", "REAL275_INTRINSICS", "NocsFrame", "find_stems", "open_nocs"]

REAL275_INTRINSICS = CameraIntrinsics(591.0125, 590.16775, 322.525, 244.11084, 640, 480)
CAMERA25_INTRINSICS = CameraIntrinsics(577.5, 577.5, 319.5, 239.5, 640, 480)


def open_nocs(path: Path, split: str | None = None) -> Dataset | None:
    """The frames below path, or those in a folder that ends with split; None when there is not one."""
    stems = list(find_stems(path, split))
    if not stems:
        return None
    frames = tuple(NocsFrame(path, stem) for stem in stems)
    own = frames[0].kind == "own"
    categories = _own_categories(stems[0]) if own else NOCS_CATEGORIES
    return Dataset("synthetic" if own else "nocs", categories, frames)


def find_stems(path: Path, split: str | None = None) -> Iterator[Path]:
    """Paths without `_color.png`, sorted; a list file such as `train_list.txt` beside the folder saves the search."""
    wanted = Path(split).parts if split else ()
    listed = path / f"{split}_list.txt" if split else None
    if listed is not None and listed.is_file():
        yield from (path / line for line in listed.read_text(encoding="utf-8").split())
        return
    for folder, subfolders, files in os.walk(path):
        subfolders.sort()
        parts = (path.name, *Path(folder).relative_to(path).parts)
        if not _contains(parts, wanted):
            continue
        for file in sorted(files):
            if file.endswith("_color.png"):
                yield Path(folder, file.removesuffix("_color.png"))


def _contains(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return any(parts[i : i + len(wanted)] == wanted for i in range(len(parts) - len(wanted) + 1))


@dataclass(frozen=True)
class NocsFrame:
    """One frame: the files `<stem>_color.png`, `<stem>_depth.png`, `<stem>_mask.png`, `<stem>_meta.txt` and friends."""

    root: Path
    stem: Path

    @property
    def name(self) -> str:
        """Such as "real/train/scene_1/0000", relative to the folder that was opened."""
        return self.stem.relative_to(self.root).as_posix()

    @property
    def kind(self) -> str:
        """ "own" (synthetic scenes of this package), "camera" or "real"."""
        if self.file("_intrinsics.json").is_file():
            return "own"
        for part in reversed(self.stem.absolute().parts):
            if part in ("camera", "real"):
                return part
        return "camera" if any(line.synset for line in read_meta(self.file("_meta.txt"), Faults())) else "real"

    @property
    def split(self) -> str:
        """Such as "real/train": the name without scene and number."""
        return "/".join(self.name.split("/")[:-2]) or self.root.name

    def file(self, suffix: str) -> Path:
        """The path of one of the frame's files."""
        return self.stem.with_name(self.stem.name + suffix)

    def companions(self) -> dict[str, bool]:
        """Which kinds of files this frame has."""
        kind = self.kind
        found = {
            suffix: self.file(suffix).is_file() for suffix in ("_depth.png", "_mask.png", "_coord.png", "_meta.txt")
        }
        if kind == "own":
            return found | {"_truth.json": self.file("_truth.json").is_file()}
        if kind == "camera":
            found["_composed.png"] = any(path.is_file() for path in composed_depth_files(self.stem))
        return found | {
            "_label.pkl": self.file("_label.pkl").is_file(),
            "gts": result_pickle(self.stem, kind, ("gts",)) is not None,
            "obj_models": find_above(self.stem, "obj_models") is not None,
            "segmentation_results": result_pickle(self.stem, kind, DETECTION_FOLDERS) is not None,
        }

    def load(self, faults: Faults) -> FrameSample:
        """Read the frame; see FrameSource."""
        rgb = read_color(self.file("_color.png"))
        shape = rgb.shape[:2]
        depth_m = read_depth_m(self._depth_file(faults), shape)
        intrinsics = self._intrinsics(shape)
        frame = RgbdFrame(rgb, depth_m, intrinsics)
        ids, nocs = self._annotations(shape)
        objects = ()
        if ids.any():
            sources = TruthSources(self.stem, self.kind, frame, ids, nocs)
            objects = _truths(sources, faults)
        else:
            faults.note(self.file("_mask.png"), "the mask holds no instance")
        return FrameSample(frame, ids, objects, self.name, nocs, read_detections(self.stem, self.kind, shape, faults))

    def _depth_file(self, faults: Faults) -> Path:
        plain = self.file("_depth.png")
        if self.kind != "camera":
            return plain
        for candidate in composed_depth_files(self.stem):
            if candidate.is_file():
                return candidate
        faults.note(
            plain, "no composed depth (camera_full_depths); this depth shows the rendered objects without their scene"
        )
        return plain

    def _intrinsics(self, shape: tuple[int, int]) -> CameraIntrinsics:
        kind = self.kind
        if kind == "own":
            return _read_intrinsics(self.file("_intrinsics.json"), shape)
        known = REAL275_INTRINSICS if kind == "real" else CAMERA25_INTRINSICS
        if shape != (known.height, known.width):
            raise InputError(
                f"{self.file('_color.png')}: {shape[1]}x{shape[0]} pixels, but the intrinsics of {kind} frames are for "
                f"{known.width}x{known.height}; put a {self.stem.name}_intrinsics.json beside it"
            )
        return known

    def _annotations(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        ids = read_mask(self.file("_mask.png"), shape)
        coord = self.file("_coord.png")
        nocs = read_nocs_map(coord, shape) if coord.is_file() else None
        if nocs is not None:
            nocs[ids == 0] = 0.0
        return ids, nocs


def _truths(sources: TruthSources, faults: Faults) -> tuple[ObjectTruth, ...]:
    try:
        return tuple(read_truths(sources, faults))
    except InputError:
        raise
    except (IndexError, KeyError, TypeError, ValueError) as error:  # a field of an unexpected shape or type
        raise InputError(f"{sources.file('_label.pkl')} or its kin (gts): {error!r}; expected NOCS labels") from error


def _read_intrinsics(path: Path, shape: tuple[int, int]) -> CameraIntrinsics:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        k = CameraIntrinsics(*(float(entry[n]) for n in ("fx", "fy", "cx", "cy")), shape[1], shape[0])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error!r}; expected a JSON object with fx, fy, cx, cy in pixels") from error
    if not (k.fx > 0 and k.fy > 0 and np.isfinite([k.cx, k.cy]).all()):
        raise InputError(f"{path}: fx {k.fx}, fy {k.fy}, cx {k.cx}, cy {k.cy}; focal lengths must be positive")
    return k


def _own_categories(stem: Path) -> tuple[str, ...]:
    """The categories that a synthetic split was drawn from (settings.json), else those of its set (dataset.json)."""
    for folder in stem.absolute().parents[:4]:
        for name, keys in (("settings.json", ("scene", "categories")), ("dataset.json", ("categories",))):
            path = folder / name
            if path.is_file() and (found := _json_value(path, keys)):
                return tuple(found)
    return NOCS_CATEGORIES


def _json_value(path: Path, keys: tuple[str, ...]) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        for key in keys:
            value = value[key]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error!r}; expected a JSON object with {' / '.join(keys)}") from error
    return value
