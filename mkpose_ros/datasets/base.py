"""What all readers share: a data set is a sequence of frames, and it remembers what was wrong with its files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, overload

import numpy as np

from mkpose_ros.categories import load_categories
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.depth import fill_holes
from mkpose_ros.geometry.rotations import project_to_rotation
from mkpose_ros.types import FrameSample, ObjectTruth, Symmetry

__all__ = ["Dataset", "Fault", "Faults", "FrameSource", "checked_truth", "view_symmetry"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """One thing that was skipped: which file, what is wrong with it."""

    file: str
    problem: str


class Faults(list):
    """The faults seen so far, each once."""

    def note(self, file: Path | str, problem: str) -> None:
        """Remember and log a fault that made the reader skip something."""
        fault = Fault(str(file), problem)
        if fault not in self:
            self.append(fault)
            logger.warning("%s: %s", fault.file, fault.problem)


class FrameSource(Protocol):
    """A frame that is still on disk."""

    @property
    def name(self) -> str:
        """Unique in the data set, such as "real/train/scene_1/0000"."""

    @property
    def split(self) -> str:
        """Such as "real/train"."""

    def companions(self) -> dict[str, bool]:
        """The kinds of files that belong to such a frame, and whether each is there."""

    def load(self, faults: Faults) -> FrameSample:
        """Read the frame. Objects that can't be used are left out and noted; a useless frame raises InputError."""


class Dataset(Sequence[FrameSample]):
    """Frames of one data set, read when they are asked for.

    `dataset[i]` raises InputError, naming the file, for a frame that can't be read; `readable()` skips and notes it.
    `faults` grows as frames are read.
    """

    def __init__(self, name: str, categories: Sequence[str], frames: Sequence[FrameSource]) -> None:
        self.name = name
        self.categories = tuple(categories)
        self.frames = tuple(frames)
        self.faults = Faults()

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> FrameSample: ...

    @overload
    def __getitem__(self, index: slice) -> Dataset: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Dataset(self.name, self.categories, self.frames[index])
        return self.frames[index].load(self.faults)

    def filled(self) -> Dataset:
        """The same frames with narrow holes in their depth closed."""
        return Dataset(self.name, self.categories, [_Filled(frame) for frame in self.frames])

    def readable(self) -> Iterator[FrameSample]:
        """Every frame that can be read, in order; the others are noted in `faults`."""
        for frame in self.frames:
            try:
                yield frame.load(self.faults)
            except InputError as error:
                self.faults.note(frame.name, str(error))


@dataclass(frozen=True)
class _Filled:
    """A frame whose depth has its narrow holes closed when it is read."""

    source: FrameSource

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def split(self) -> str:
        return self.source.split

    def companions(self) -> dict[str, bool]:
        return self.source.companions()

    def load(self, faults: Faults) -> FrameSample:
        sample = self.source.load(faults)
        return replace(sample, frame=replace(sample.frame, depth_m=fill_holes(sample.frame.depth_m)))


def view_symmetry(category: str, handle_visible: bool) -> Symmetry:
    """The symmetry of an object of a category as seen: a mug without its handle is continuous about y."""
    known = load_categories().get(category)
    if known is None:
        return Symmetry()
    if known.hidden_handle and not handle_visible:
        return replace(known.symmetry, infinite_axes=("y",))
    return known.symmetry


def checked_truth(
    *,
    instance_id: int,
    category: str,
    model: str,
    rotation: np.ndarray,
    translation_m: np.ndarray,
    size_m: np.ndarray,
    handle_visible: bool = True,
    symmetry: Symmetry | None = None,
) -> ObjectTruth:
    """The truth of one object; raises InputError when its pose or size can't be one.

    The rotation (3, 3) may carry rounding of the file it came from, but neither scale nor reflection.
    """
    rotation, translation_m, size_m = (np.asarray(a, dtype=np.float64) for a in (rotation, translation_m, size_m))
    where = f"object {instance_id} ({category} {model})"
    if not all(np.isfinite(a).all() for a in (rotation, translation_m, size_m)):
        raise InputError(f"{where}: pose or size is not finite; object skipped")
    if size_m.shape != (3,) or size_m.min() <= 0.0:
        raise InputError(f"{where}: size {size_m.tolist()} m; expected three positive extents; object skipped")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or np.linalg.det(rotation) < 0.0:
        raise InputError(f"{where}: not a rotation (determinant {np.linalg.det(rotation):.3f}); object skipped")
    T = np.eye(4)
    T[:3, :3] = project_to_rotation(rotation)
    T[:3, 3] = translation_m
    symmetry = symmetry or view_symmetry(category, handle_visible)
    return ObjectTruth(int(instance_id), category, model, T, size_m, symmetry, bool(handle_visible))
