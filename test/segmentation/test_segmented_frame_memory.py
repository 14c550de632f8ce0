"""What steady segmented frames ask of memory, and that masks which outlive their frame stay as they were."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mkpose_ros.array_pool import ArrayPool
from mkpose_ros.mask_stream import MaskStream
from mkpose_ros.segmentation import CleanConfig, open_segmenter
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

HEIGHT, WIDTH, OBJECT_PX = 480, 640, 70
CORNERS = np.array([(40, 40), (300, 60), (500, 50), (100, 300), (400, 330)])  # x, y
CAMERA = CameraIntrinsics(600.0, 600.0, 319.5, 239.5, WIDTH, HEIGHT)
TEXTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _frame(number: int) -> RgbdFrame:
    """Five boxes before a wall, each a pixel further right than in the frame before, but every tenth at the left."""
    depth_m = np.full((HEIGHT, WIDTH), 1.2, np.float32)
    for x, y in CORNERS + (number % 10, 0):
        depth_m[y : y + OBJECT_PX, x : x + OBJECT_PX] = 0.8
    return RgbdFrame(TEXTURE, depth_m, CAMERA, stamp_ns=number * 33_000_000)


@pytest.fixture(params=["colour", "colour and relief"])
def stream(constant_model, request):
    """A segmenter on 384x512 whose pasted masks hold the five boxes and some wall, wherever those are."""
    boxes = np.hstack([CORNERS - 5, CORNERS + OBJECT_PX + 15]) * 0.8
    relief = request.param == "colour and relief"
    path = constant_model(boxes, [0.9] * 5, [0] * 5, input_height=384, input_width=512, relief=relief)
    stream = MaskStream(open_segmenter("auto", path), every=1)
    yield stream
    stream.close()


def _masks(stream: MaskStream, frame: RgbdFrame) -> list[Instance]:
    instances = stream.masks(frame, CleanConfig()).instances
    assert len(instances) == len(CORNERS)
    return instances


def _without_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArrayPool, "empty", lambda _, shape, dtype: np.empty(shape, dtype))


@pytest.mark.parametrize("whose", ["a pool's", "numpy's"])
def test_a_steady_segmented_frame_makes_no_array_with_as_many_bytes_as_the_image_has_pixels(stream, whose, monkeypatch):
    if whose == "numpy's":
        _without_pools(monkeypatch)
    frames, kept, most = [_frame(number) for number in range(30)], [], 0
    tracemalloc.start()
    try:
        for number, frame in enumerate(frames):
            kept = kept[-3:]  # as tracks do
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            kept.append(_masks(stream, frame))
            if number >= 10:
                most = max(most, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert (most < HEIGHT * WIDTH) == (whose == "a pool's")  # numpy's: so that the test shows it can fail


def test_masks_that_outlive_their_frame_are_those_of_a_stream_without_a_pool(stream, monkeypatch):
    from_pool = [[i.mask for i in _masks(stream, _frame(number))] for number in range(12)]
    stream.reset()
    _without_pools(monkeypatch)
    fresh = [[i.mask for i in _masks(stream, _frame(number))] for number in range(12)]
    assert np.array_equal(from_pool, fresh)
    assert not np.array_equal(from_pool[0], from_pool[1])  # so that one overwritten by the next would be seen
