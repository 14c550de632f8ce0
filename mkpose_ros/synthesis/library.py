"""Where scenes take their shapes from: generators split by instance, and folders of real meshes.

The same split, seed and index give the same shape; two splits never share one, because each draws from its own stream
of random numbers. A third of the training split's shapes are variants, of kinds that the other splits' generated shapes
never have. The test split prefers real meshes (models/test_meshes), which training never sees; a shape's
``source`` tells them apart.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mkpose_ros.errors import InputError, MkposeError
from mkpose_ros.resources import share_path
from mkpose_ros.synthesis.mesh_store import MeshRecord, read_index, read_shape
from mkpose_ros.synthesis.shapes import GENERATORS, VARIANTS, Shape

__all__ = ["DISTRACTOR", "SPLITS", "ShapeLibrary"]

SPLITS = ("train", "val", "test")
DISTRACTOR = "distractor"  # clutter: never an object to estimate
_INSTANCES = {"train": 20_000, "val": 1_000, "test": 500}  # distinct generated shapes per category
_VARIANTS = {"train": 10_000, "val": 0, "test": 0}  # unusual shapes, numbered after those
_PLAIN_SHARE = 0.35  # of the variants: one colour a material, nothing printed
_UNIFORM_SHARE = 0.3  # of those: one material all over, so that nothing but the form tells what it is
_FEW = 3  # with fewer real meshes than this, every other shape of the category is generated


class ShapeLibrary:
    """Shapes of one split.

    >>> library = ShapeLibrary("train", seed=0)
    >>> shape = library.sample(np.random.default_rng(1), "mug")
    """

    def __init__(
        self,
        split: str,
        seed: int = 0,
        *,
        categories: Sequence[str] | None = None,
        folders: Sequence[Path] | None = None,
        cache_size: int = 256,
    ) -> None:
        """``categories`` limits what ``sample`` draws without a category (default: all but distractors).

        ``folders`` hold converted meshes (`mkpose meshes`) that join this split; default: the shipped test meshes
        for "test", none otherwise. Raises InputError for an unknown split or category, or a bad folder.
        """
        if split not in SPLITS:
            raise InputError(f"ShapeLibrary: split {split!r}, expected one of {', '.join(SPLITS)}")
        self.split = split
        self.seed = int(seed)
        self._real: dict[str, list[tuple[Path, MeshRecord]]] = {}
        for folder in _shipped_folders(split) if folders is None else map(Path, folders):
            for record in read_index(folder):
                self._real.setdefault(record.category, []).append((folder, record))
        self.categories = tuple(categories or (c for c in self._known() if c != DISTRACTOR))
        for category in self.categories:
            self._check(category)
        self._cache: OrderedDict[tuple, Shape] = OrderedDict()
        self._cache_size = cache_size

    def sample(self, rng: np.random.Generator, category: str | None = None) -> Shape:
        """A shape drawn evenly from ``category``, or from an evenly drawn category.

        Raises InputError for a category that has neither a generator nor a real mesh.
        """
        category = category or self.categories[int(rng.integers(len(self.categories)))]
        self._check(category)
        real = self._real.get(category, [])
        share = 0.0 if not real else 1.0 if len(real) >= _FEW or category not in GENERATORS else 0.5
        if rng.random() < share:
            return self.real(category, int(rng.integers(len(real))))
        return self.get(category, int(rng.integers(_INSTANCES[self.split] + _VARIANTS[self.split])))

    def get(self, category: str, index: int) -> Shape:
        """The generated shape with this index; the same for ever. Raises InputError for an unknown category.

        In the split "train" the indices from 20 000 on are variants: kinds that the common generator does not draw.
        """
        if category not in GENERATORS:
            raise InputError(f"ShapeLibrary: no generator for {category!r}, expected one of {', '.join(GENERATORS)}")
        return self._cached(("generated", category, index), lambda: self._generate(category, index))

    def real(self, category: str, index: int) -> Shape:
        """The real mesh with this index, below ``count_real(category)``."""
        folder, record = self._real[category][index]
        return self._cached(("real", category, index), lambda: read_shape(folder, record))

    def count_real(self, category: str) -> int:
        """How many real meshes of a category this split has."""
        return len(self._real.get(category, []))

    def generates(self, category: str) -> bool:
        """Whether shapes of a category can be generated; else it has real meshes only."""
        return category in GENERATORS

    def variants(self, category: str) -> range:
        """The indices of a category's unusual shapes; of none where it has no variants or the split draws none."""
        first = _INSTANCES[self.split]
        return range(first, first + (_VARIANTS[self.split] if category in VARIANTS else 0))

    def _known(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*GENERATORS, *self._real]))

    def _check(self, category: str) -> None:
        if category not in GENERATORS and category not in self._real:
            raise InputError(f"ShapeLibrary: no shapes for {category!r}, expected one of {', '.join(self._known())}")

    def _cached(self, key: tuple, make: Callable[[], Shape]) -> Shape:
        if key not in self._cache:
            self._cache[key] = make()
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _generate(self, category: str, index: int) -> Shape:
        stream = [zlib.crc32(category.encode()), SPLITS.index(self.split), self.seed, index]
        name = f"{category}_{self.split}_{self.seed}_{index:05d}"
        rng = np.random.default_rng(stream)
        if not _VARIANTS[self.split] or index < _INSTANCES[self.split]:
            return GENERATORS[category](rng, name)
        shape = VARIANTS.get(category, GENERATORS[category])(rng, name)
        return _plain(shape, rng) if rng.random() < _PLAIN_SHARE else shape


def _plain(shape: Shape, rng: np.random.Generator) -> Shape:
    """The shape with each material in one colour, its texture's mean, or all of it in one of these."""
    materials = tuple(replace(material, texture=None) for material in shape.materials)
    if rng.random() < _UNIFORM_SHARE:
        materials = (materials[int(rng.integers(len(materials)))],) * len(materials)
    return replace(shape, materials=materials)


def _shipped_folders(split: str) -> list[Path]:
    if split != "test":
        return []
    try:
        return [share_path("models", "test_meshes")]
    except MkposeError:
        return []  # an install without the meshes: the test split falls back to shapes of its own streams
