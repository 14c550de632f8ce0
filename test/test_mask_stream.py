"""Which frames are segmented, which masks are carried, and how old they may get."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from mkpose_ros.mask_stream import AUTO, MaskStream
from mkpose_ros.segmentation.postprocess import CleanConfig
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

HEIGHT, WIDTH = 120, 160
CLEAN = CleanConfig(score_threshold=0.3)
TEXTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _frame(time_s: float) -> RgbdFrame:
    camera = CameraIntrinsics(150.0, 150.0, 79.5, 59.5, WIDTH, HEIGHT)
    return RgbdFrame(TEXTURE, np.ones((HEIGHT, WIDTH), np.float32), camera, round(time_s * 1e9))


class _Segmenter:
    """Finds one box, or none; `gate` may hold it up."""

    name = "given"

    def __init__(self) -> None:
        self.stamps_s: list[float] = []
        self.sees, self.closed, self.error = True, 0, None
        self.gate = threading.Event()
        self.gate.set()

    def segment(self, frame: RgbdFrame) -> list[Instance]:
        self.stamps_s.append(frame.stamp_ns * 1e-9)
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[40:80, 50:100] = True
        return [Instance(mask, np.float32([50, 40, 100, 80]), "mug", 0.9)] if self.sees else []

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def open_stream():
    streams = []

    def make(**settings) -> tuple[MaskStream, _Segmenter]:
        segmenter = _Segmenter()
        streams.append((MaskStream(segmenter, **settings), segmenter))
        return streams[-1]

    yield make
    for stream, segmenter in streams:
        segmenter.gate.set()
        segmenter.error = None
        stream.close()


def _play(stream: MaskStream, times_s, settle: Callable[[], None] = lambda: None) -> list[float]:
    """Ages in seconds of the masks of frames at these times."""
    ages = []
    for time_s in times_s:
        masks = stream.masks(_frame(time_s), CLEAN)
        assert len(masks.instances) == 1
        ages.append(round(masks.age_s, 6))
        settle()
    return ages


def test_every_frame_is_segmented_by_default(open_stream):
    stream, segmenter = open_stream()
    assert _play(stream, [0.0, 0.1, 0.2]) == [0.0, 0.0, 0.0]
    assert segmenter.stamps_s == [0.0, 0.1, 0.2]


def test_every_third_frame_is_segmented_and_two_are_carried(open_stream):
    stream, segmenter = open_stream(every=3)
    assert _play(stream, np.arange(7) / 10) == [0.0, 0.1, 0.2] * 2 + [0.0]
    assert segmenter.stamps_s == pytest.approx([0.0, 0.3, 0.6])


def test_carried_masks_never_get_older_than_allowed(open_stream):
    stream, _ = open_stream(every=100, max_age_s=0.25)
    assert max(_play(stream, np.arange(20) / 10)) <= 0.25


def test_auto_segments_anew_when_masks_are_half_as_old_as_they_may_get(open_stream):
    stream, segmenter = open_stream(every=AUTO, max_age_s=0.4)
    ages = _play(stream, np.arange(10) / 10, settle=lambda: stream._pending and stream._pending.result())
    assert segmenter.stamps_s == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert ages == [0.0, 0.1, 0.2] + [0.1, 0.2] * 3 + [0.1]


def test_auto_waits_for_no_segmentation_while_its_masks_are_young_enough(open_stream):
    stream, segmenter = open_stream(every=AUTO, max_age_s=0.4)
    _play(stream, [0.0])
    segmenter.gate.clear()  # from now on the segmenter does not answer
    assert _play(stream, [0.1, 0.2, 0.3, 0.4]) == [0.1, 0.2, 0.3, 0.4]
    threading.Timer(0.2, segmenter.gate.set).start()
    assert _play(stream, [0.5]) == [0.3]  # it waited for the answer to the frame of 0.2 s
    assert segmenter.stamps_s == pytest.approx([0.0, 0.2])


def test_auto_segments_the_frame_itself_when_the_answer_it_waited_for_is_too_old(open_stream):
    stream, _ = open_stream(every=AUTO, max_age_s=0.4)
    assert _play(stream, [0.0, 0.3]) == [0.0, 0.3]
    assert _play(stream, [5.0]) == [0.0]


def test_an_empty_scene_is_segmented_all_the_time_so_that_a_new_object_is_soon_seen(open_stream):
    stream, segmenter = open_stream(every=AUTO)
    segmenter.sees = False
    for k in range(4):
        assert stream.masks(_frame(k / 100), CLEAN).instances == []
        if stream._pending:
            stream._pending.result()
    assert len(segmenter.stamps_s) == 4
    segmenter.sees = True
    seen = []
    for k in range(4, 7):
        seen.append(len(stream.masks(_frame(k / 100), CLEAN).instances))
        if stream._pending:
            stream._pending.result()
    assert seen[-1] == 1


def test_time_that_goes_back_forgets_the_masks(open_stream):
    stream, segmenter = open_stream(every=AUTO)
    assert _play(stream, [10.0, 10.1, 1.0]) == [0.0, 0.1, 0.0]
    assert segmenter.stamps_s == pytest.approx([10.0, 1.0])


def test_a_failure_of_the_segmenter_reaches_the_caller_and_the_next_frame_is_tried(open_stream):
    stream, segmenter = open_stream(every=AUTO)
    segmenter.error = RuntimeError("no device")
    with pytest.raises(RuntimeError, match="no device"):
        stream.masks(_frame(0.0), CLEAN)
    segmenter.error = None
    assert _play(stream, [0.1]) == [0.0]


def test_closing_ends_the_thread_and_frees_the_segmenter(open_stream):
    stream, segmenter = open_stream(every=AUTO)
    _play(stream, [0.0])
    stream.close()
    assert segmenter.closed == 1
    assert not any(thread.name.startswith("segmentation") for thread in threading.enumerate())
