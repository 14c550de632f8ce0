"""Memory is lent again when nobody looks at it any more, and never before."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mkpose_ros.array_pool import ArrayPool, parts

SHAPE = (12, 16)


def _place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_that_nobody_holds_is_lent_again():
    pool = ArrayPool()
    places = {_place(pool.empty(SHAPE, np.float32)) for _ in range(100)}
    assert len(places) == 1


def test_arrays_held_at_once_share_no_memory():
    pool = ArrayPool()
    held = [pool.empty(SHAPE, np.uint8) for _ in range(5)]
    for value, array in enumerate(held):
        array[...] = value
    assert [set(array.ravel().tolist()) for array in held] == [{0}, {1}, {2}, {3}, {4}]


@pytest.mark.parametrize(
    "look",
    [
        lambda array: array[2:4, 3:],
        lambda array: array[1][2:],
        lambda array: array.T,
        lambda array: array.view(np.uint8)[::2],
        lambda array: array.reshape(-1)[5:].reshape(11, -1),
        lambda array: np.lib.stride_tricks.as_strided(array, (3,), (4,)),
        lambda array: memoryview(array)[1:],
        lambda array: np.frombuffer(array, np.uint8),
        lambda array: np.asarray(array)[...],
    ],
)
def test_any_view_keeps_the_memory_of_an_array_that_is_gone(look: Callable[[np.ndarray], object]):
    pool = ArrayPool()
    array = pool.empty(SHAPE, np.uint32)
    array[...] = 7
    place, view = _place(array), look(array)
    before = np.array(view)
    del array
    other = pool.empty(SHAPE, np.uint32)
    other[...] = 9
    assert _place(other) != place
    assert np.array_equal(np.array(view), before)
    del view
    assert _place(pool.empty(SHAPE, np.uint32)) == place


def test_another_size_has_memory_of_its_own():
    pool = ArrayPool()
    small, place = pool.empty((3,), np.uint8), _place(pool.empty(SHAPE, np.uint8))
    assert small.shape == (3,)
    assert _place(pool.empty(SHAPE[::-1], bool)) == place


def test_parts_of_any_size_lie_in_memory_of_one_size():
    pool = ArrayPool()
    part = parts(pool.empty, 200)
    places = {_place(part((height, width), np.float32)) for height in range(1, 12) for width in range(1, 18)}
    assert len(places) == 1
    one, other = part((12, 16), np.float32), part((3, 4), np.float32)
    assert (one.shape, one.dtype, other.shape) == ((12, 16), np.float32, (3, 4))
    assert not np.shares_memory(one, other)
    place = _place(one)
    del one
    assert _place(part((5,), np.float32)) == place


def test_arrays_outlive_their_pool():
    pool = ArrayPool()
    array = pool.empty(SHAPE, np.uint8)
    array[...] = 7
    del pool
    gc.collect()
    assert (array == 7).all()


def test_threads_never_write_into_each_others_arrays():
    pool = ArrayPool()

    def work(value: int) -> bool:
        whole = True
        for _ in range(500):
            array = pool.empty((64, 64), np.int32)
            array[...] = value
            whole &= bool((array[::3, ::5] == value).all())
        return whole

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(8)))
