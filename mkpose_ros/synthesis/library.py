"""Where scenes take their shapes from: generators split by instance, and folders of real meshes.

The same split, seed and index give the same shape; two splits never share one, because each draws from its own stream
of random numbers. The test split prefers real meshes (models/test_meshes), which training never sees.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.shapes import GENERATORS, Shape

__all__ = ["DISTRACTOR", "SPLITS", "ShapeLibrary"]

SPLITS = ("train", "val", "test")
DISTRACTOR = "distractor"  # clutter: never an object to estimate
_INSTANCES = {"train": 20_000, "val": 1_000, "test": 500}  # distinct generated shapes per category


class ShapeLibrary:
    """Shapes of one split.

    >>> library = ShapeLibrary("train", seed=0)
    >>> shape = library.sample(np.random.default_rng(1), "mug")
    """

    def __init__(
        self, split: str, seed: int = 0, *, categories: Sequence[str] | None = None, cache_size: int = 256
    ) -> None:
        """``categories`` limits what ``sample`` draws without a category (default: all but distractors).

        Raises InputError for an unknown split or category.
        """
        if split not in SPLITS:
            raise InputError(f"ShapeLibrary: split {split!r}, expected one of {', '.join(SPLITS)}")
        self.split = split
        self.seed = int(seed)
        self.categories = tuple(categories or (c for c in GENERATORS if c != DISTRACTOR))
        unknown = [c for c in self.categories if c not in GENERATORS]
        if unknown:
            raise InputError(f"ShapeLibrary: no shapes for {unknown}, expected some of {', '.join(GENERATORS)}")
        self._cache: OrderedDict[tuple[str, int], Shape] = OrderedDict()
        self._cache_size = cache_size

    def sample(self, rng: np.random.Generator, category: str | None = None) -> Shape:
        """A shape drawn evenly from ``category``, or from an evenly drawn category."""
        category = category or self.categories[int(rng.integers(len(self.categories)))]
        return self.get(category, int(rng.integers(_INSTANCES[self.split])))

    def get(self, category: str, index: int) -> Shape:
        """The shape with this index; the same for ever. Raises InputError for an unknown category."""
        key = (category, index)
        if key not in self._cache:
            self._cache[key] = self._generate(category, index)
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _generate(self, category: str, index: int) -> Shape:
        if category not in GENERATORS:
            raise InputError(f"ShapeLibrary: category {category!r}, expected one of {', '.join(GENERATORS)}")
        stream = [zlib.crc32(category.encode()), SPLITS.index(self.split), self.seed, index]
        name = f"{category}_{self.split}_{self.seed}_{index:05d}"
        return GENERATORS[category](np.random.default_rng(stream), name)
