"""What steady frames ask of memory, and that what is worked on beside them stays as it was."""

from __future__ import annotations

import threading
import tracemalloc

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mkpose_ros.array_pool import ArrayPool, Empty
from mkpose_ros.bench.bare_node import CATEGORIES, bare_pipeline, object_corners
from mkpose_ros.mask_stream import AUTO
from mkpose_ros.pipeline import Pipeline
from mkpose_ros.ros.frames import FrameMessages, build_frame
from mkpose_ros.ros.images import image_to_msg
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.types import Instance, ObjectPose, RgbdFrame

HEIGHT, WIDTH, OBJECT_PX = 480, 640, 80
TEXTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
SETTINGS = Settings()


def _messages(number: int, step_px: int = 0) -> FrameMessages:
    """Five boxes before a wall, all moving to the right by step_px a frame."""
    shift = number * step_px
    depth_mm = np.full((HEIGHT, WIDTH), 1200, np.uint16)
    for x, y in object_corners(WIDTH):
        depth_mm[y : y + OBJECT_PX, x + shift : x + shift + OBJECT_PX] = 800
    time_ns = 10**9 + number * 33_000_000
    header = Header(stamp=Time(sec=time_ns // 10**9, nanosec=time_ns % 10**9), frame_id="camera")
    K = [600.0, 0.0, 319.5, 0.0, 600.0, 239.5, 0.0, 0.0, 1.0]
    return FrameMessages(
        image_to_msg(np.roll(TEXTURE, shift, axis=1), "bgr8", header),
        image_to_msg(depth_mm, "16UC1", header),
        CameraInfo(header=header, width=WIDTH, height=HEIGHT, k=K),
    )


class _NearThings:
    """A segmenter that finds what is nearer than the wall; with a gate that is shut it answers late.

    `looks_late`: at the frame as it is when the gate opens, else as it was when it was asked.
    """

    name = "near"

    def __init__(self, *, looks_late: bool) -> None:
        self.gate, self._looks_late = threading.Event(), looks_late
        self.gate.set()

    def segment(self, frame: RgbdFrame) -> list[Instance]:
        found = None if self._looks_late else self._look(frame)
        assert self.gate.wait(10)
        return self._look(frame) if found is None else found

    def close(self) -> None:
        """Nothing to free."""

    @staticmethod
    def _look(frame: RgbdFrame) -> list[Instance]:
        near = (frame.depth_m < 1.0).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(near)
        boxes = stats[1:, [0, 1, 0, 1]] + stats[1:, [0, 0, 2, 3]] * np.array([0, 0, 1, 1])
        found = sorted(zip(boxes.tolist(), range(1, len(stats)), strict=True))
        return [
            Instance(labels == value, np.float32(box), category, 0.9)
            for (box, value), category in zip(found, CATEGORIES, strict=True)
        ]


def _pipeline(segmenter: _NearThings, segment_every: int, mask_max_age_s: float) -> Pipeline:
    bare = bare_pipeline(SETTINGS)
    return Pipeline(segmenter, bare.estimator, bare.tracker, segment_every=segment_every, mask_max_age_s=mask_max_age_s)


@pytest.mark.parametrize("whose", ["a pool's", "numpy's"])
def test_a_steady_frame_makes_no_array_with_as_many_bytes_as_the_image_has_pixels(whose):
    empty = {"a pool's": ArrayPool().empty, "numpy's": np.empty}[whose]
    pipeline, most = _pipeline(_NearThings(looks_late=False), 1000, 60.0), 0
    messages = [_messages(number) for number in range(40)]
    tracemalloc.start()
    try:
        for number, message in enumerate(messages):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            result = pipeline.process(build_frame(message, SETTINGS, empty))
            assert len(result.instances) == len(CATEGORIES)
            if number >= 20:
                most = max(most, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
        pipeline.close()
    assert pipeline.masks.segmented == 1
    assert (most < HEIGHT * WIDTH) == (whose == "a pool's")  # numpy's: so that the test shows it can fail


def _play(empty: Empty, *, looks_late: bool) -> list[list[bytes]]:
    """All numbers of the objects of 24 frames; each run of the segmenter but the first lasts for three of them."""
    segmenter = _NearThings(looks_late=looks_late)
    pipeline = _pipeline(segmenter, AUTO, mask_max_age_s=0.3)
    found, since = [], 0
    try:
        for number in range(24):
            found.append(
                [_bytes(o) for o in pipeline.process(build_frame(_messages(number, 2), SETTINGS, empty)).objects]
            )
            segmenter.gate.clear()
            since = since + 1 if pipeline.masks._pending else 0
            if since == 3:
                segmenter.gate.set()
                pipeline.masks._pending.result()
    finally:
        segmenter.gate.set()
        pipeline.close()
    assert pipeline.masks.segmented == 5
    return found


def _bytes(pose: ObjectPose) -> bytes:
    numbers = (pose.T_cam_obj, pose.size_m, pose.covariance, pose.box2d, pose.keypoints_m, pose.mask)
    return pose.track_id.encode() + b"".join(part.tobytes() for part in numbers)


def test_poses_beside_a_running_segmenter_are_those_of_one_thing_at_a_time():
    """To the bit, though the segmenter looks at its frame only when two newer ones have been worked on."""
    one_by_one = _play(np.empty, looks_late=False)
    assert _play(ArrayPool().empty, looks_late=True) == one_by_one
    images = [
        np.empty((HEIGHT, WIDTH), np.float32) for _ in range(2)
    ]  # what a pool must not do: take turns, whoever looks

    def depths_in_turns(shape: tuple[int, ...], dtype: object) -> np.ndarray:
        images.append(images.pop(0))
        return images[-1] if dtype == np.float32 else np.empty(shape, dtype)

    assert _play(depths_in_turns, looks_late=True) != one_by_one
