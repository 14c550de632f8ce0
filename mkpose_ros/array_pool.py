"""Arrays whose memory one frame hands on to a later one."""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["ArrayPool", "Empty", "parts"]

Empty = Callable[[tuple[int, ...], DTypeLike], np.ndarray]  # makes arrays to be filled: np.empty, or a pool's


class _Lent(weakref.ref):
    """Watches a lent array and keeps the memory that comes back with its end."""

    __slots__ = ("memory",)


class ArrayPool:
    """Lends arrays, and lends their memory again once nobody holds the array or a view of it any more.

    So a frame that is still worked on, a track that remembers a mask or a message that waits can never be overwritten,
    however long they last, and a steady stream asks the system for no new images. Any thread may call it. What was lent
    once stays with the pool, also in sizes that nobody asks for again.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, list[bytearray]] = defaultdict(list)  # by size in bytes
        self._lent: dict[int, _Lent] = {}  # by their id

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array of the shape and type with arbitrary contents, as of np.empty; it must have elements.

        >>> pool = ArrayPool()
        >>> place = pool.empty((2, 3), np.uint8).ctypes.data
        >>> pool.empty((6,), bool).ctypes.data == place
        True
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        free = self._free[size]
        try:
            memory = free.pop()
        except IndexError:
            memory = bytearray(size)
        # Views of views hold the last array of their chain, by numpy's rule: `flat`, as what it looks at is no array.
        flat = np.frombuffer(memory, dtype)
        lent = _Lent(flat, self._take_back)
        lent.memory = memory
        self._lent[id(lent)] = lent
        return flat.reshape(shape)

    def _take_back(self, lent: _Lent) -> None:
        del self._lent[id(lent)]
        self._free[len(lent.memory)].append(lent.memory)


def parts(empty: Empty, most: int) -> Empty:
    """Makes arrays of any shape with up to `most` elements, each the first part of one with as many.

    So a pool keeps memory of one size where what is asked for has another size each time, as the box of an object.

    >>> pool = ArrayPool()
    >>> place = parts(pool.empty, 100)((2, 3), bool).ctypes.data
    >>> parts(pool.empty, 100)((10, 10), bool).ctypes.data == place
    True
    """
    return lambda shape, dtype: empty((most,), dtype)[: math.prod(shape)].reshape(shape)
