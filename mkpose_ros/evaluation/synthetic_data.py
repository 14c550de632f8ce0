"""The default data of `mkpose eval`: scenes of a split that training never sees, rendered by seed when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.datasets import Dataset, Faults
from mkpose_ros.errors import InputError
from mkpose_ros.types import FrameSample

if TYPE_CHECKING:
    from mkpose_ros.synthesis.generate import SceneGenerator

__all__ = ["DEFAULT_FRAMES", "SyntheticFrame", "synthetic_dataset"]

DEFAULT_FRAMES = 300
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SyntheticFrame:
    """A frame that is rendered each time it is read; the same seed and index give the same frame."""

    generator: SceneGenerator
    index: int

    @property
    def name(self) -> str:
        """Such as "test/00000/0007"."""
        return f"{self.split}/{self.index // 1000:05d}/{self.index % 1000:04d}"

    @property
    def split(self) -> str:
        """The split of the shapes."""
        return self.generator.library.split

    def companions(self) -> dict[str, bool]:
        """No files belong to it."""
        return {}

    def load(self, faults: Faults) -> FrameSample:
        """Render the frame."""
        return self.generator.frame(self.index)


def synthetic_dataset(
    split: str, seed: int, frames: int = DEFAULT_FRAMES, categories: tuple[str, ...] = NOCS_CATEGORIES
) -> Dataset:
    """Rendered scenes with the shapes of a split. Raises InputError for an unknown split, DependencyError without
    the packages that render."""
    from mkpose_ros.synthesis.generate import SceneGenerator
    from mkpose_ros.synthesis.library import ShapeLibrary
    from mkpose_ros.synthesis.scene import SceneConfig

    if split not in SPLITS:
        raise InputError(f"synthetic split {split!r}; expected one of {', '.join(SPLITS)}, or --data with a folder")
    generator = SceneGenerator(ShapeLibrary(split, seed=seed), SceneConfig(categories=categories), seed)
    return Dataset("synthetic", categories, [SyntheticFrame(generator, index) for index in range(frames)])
