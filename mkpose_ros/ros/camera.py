"""The camera's topics: subscribes, pairs the messages by stamp and leaves complete frames in the mailbox.

Its callbacks run in a thread of their own and only keep references; images are decoded in the inference thread.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from mkpose_ros.ros import qos
from mkpose_ros.ros.frames import FrameMessages
from mkpose_ros.ros.mailbox import Mailbox
from mkpose_ros.ros.monitor import Monitor
from mkpose_ros.ros.outside import Detection2DArray, needs_detections
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.ros.reader import Reader, ReaderGroup
from mkpose_ros.ros.streams import Stream, nearest_gap_s
from mkpose_ros.ros.synchronizer import open_synchronizer, stamp_ns

__all__ = ["CameraInput", "pairing_advice"]

_JUMP_BACK_NS = 1_000_000_000  # a stamp this much older than its stream's newest is a restart, not a late image
_OLDER_IN_A_ROW = 5  # so are this many late images without a newer one between them (a short recording that loops)
_CLOCK_LEAP = Duration(seconds=10)  # a simulated clock that leaps forward further than this


class CameraInput:
    """Subscriptions from construction to `close`; methods may be called from any thread."""

    def __init__(
        self,
        node: Node,
        settings: Settings,
        mailbox: Mailbox[FrameMessages],
        monitor: Monitor,
        is_wanted: Callable[[], bool],
        on_fatal: Callable[[str], None],
    ) -> None:
        """`is_wanted`: whether frames are to be processed now. `on_fatal`: told why no message can come any more."""
        self._node, self._mailbox, self._monitor, self._is_wanted = node, mailbox, monitor, is_wanted
        self._settings = settings
        self._lock = threading.RLock()  # of all below, between the camera's thread and the executor's
        self.generation = 0
        self._info: CameraInfo | None = None
        self._depth_info: CameraInfo | None = None
        self._arrival_ns = 0  # of the message in hand
        self._started = time.monotonic()
        group = ReaderGroup()
        with ExitStack() as undo:  # of what was opened, when the rest fails
            # Before the images: a camera_info that came together with its image is served first.
            self._info_stream = self._stream(undo, group, CameraInfo, "color/camera_info", self._on_info)
            self._depth_info_stream = self._stream(undo, group, CameraInfo, "depth/camera_info", self._on_depth_info)
            self._images = [
                self._stream(undo, group, kind, topic, self._on_image, i)
                for i, (topic, kind) in enumerate(_paired_topics(settings))
            ]
            self._synchronizer = self._new_synchronizer()
            self._forget()
            jumps = node.get_clock().create_jump_callback(
                JumpThreshold(min_forward=_CLOCK_LEAP, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
                post_callback=self._on_clock_jump,
            )
            undo.callback(jumps.unregister)
            streams = (self._info_stream, self._depth_info_stream, *reversed(self._images))  # colour last
            undo.callback(Reader(node, [stream.subscription for stream in streams], on_fatal).close)
            self._opened = undo.pop_all()

    def close(self) -> None:
        """Unsubscribe; nothing reaches the mailbox any more."""
        self._opened.close()

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        with self._lock:
            old, self._settings = self._settings, settings
            if (old.slop, old.queue_size) != (settings.slop, settings.queue_size):
                self._synchronizer = self._new_synchronizer()

    def reset(self) -> None:
        """Forget everything that waits: frames in hand count as stale from now on."""
        with self._lock:
            self.generation += 1
            self._synchronizer.reset()
            self._mailbox.clear()
            self._forget()

    def problems(self) -> list[str]:
        """What is wrong with the input now, in sentences; also logged, once in a while."""
        with self._lock:
            problems = self._find_problems()
        for sentence in problems:
            self._monitor.problem(f"input: {sentence.split(':')[0]}", sentence)
        return problems

    def _find_problems(self) -> list[str]:
        timeout_s = self._settings.stream_timeout
        now = time.monotonic()
        if now - self._started < timeout_s:
            return []
        problems = [
            sentence
            for stream in (*self._images, self._info_stream)
            if (sentence := stream.silence(now, timeout_s)) is not None
        ]
        if not problems and now - max(self._last_match, self._started) > timeout_s and self._is_wanted():
            problems.append(self._no_match())
        return problems

    def _forget(self) -> None:
        self._newest_ns = [0] * len(self._images)
        self._older_in_a_row = [0] * len(self._images)
        self._last_submitted_ns = 0
        self._last_match = time.monotonic()
        self._without_info: tuple[Image, ...] | None = None

    def _stream(
        self, undo: ExitStack, group: CallbackGroup, kind: type, topic: str, callback: Callable[..., None], *first: Any
    ) -> Stream:
        profile = qos.IMAGE if kind is Image else qos.CAMERA_INFO
        stream = Stream(self._node, kind, topic, profile, self._guarded(callback, *first), self._monitor, group)
        undo.callback(stream.close)
        return stream

    def _new_synchronizer(self) -> Any:
        return open_synchronizer(len(self._images), self._settings.queue_size, self._settings.slop, self._on_match)

    def _guarded(self, callback: Callable[..., None], *arguments: Any) -> Callable[[Any, Any], None]:
        """A callback whose exceptions are logged and counted: they would end the camera's thread."""

        def guarded(message: Any, info: Any) -> None:
            try:
                with self._lock:
                    self._arrival_ns = _arrival_ns(info["received_timestamp"])
                    callback(*arguments, message)
            except Exception:
                self._monitor.error("callback_errors", f"input: a message was lost: {traceback.format_exc()}")

        return guarded

    def _on_image(self, index: int, message: Image) -> None:
        stream = self._images[index]
        stamp = stamp_ns(message)
        stream.saw(stamp)
        if not self._is_wanted():
            return
        if stamp == 0:
            self._monitor.problem(
                "rejected_stamp",
                f"{stream.topic}: the stamp is 0, so that the image can't be paired; the driver must stamp its images",
            )
            return
        self._follow_time(index, stamp)
        self._synchronizer.add(index, message)

    def _follow_time(self, index: int, stamp: int) -> None:
        """Starts afresh when a stream's time goes back: its old stamps would starve the new ones.

        The first stream to go back decides: after a later one, the images of the new time that came before are lost.
        """
        back_ns = self._newest_ns[index] - stamp
        self._older_in_a_row[index] = self._older_in_a_row[index] + 1 if back_ns > 0 else 0
        if back_ns > _JUMP_BACK_NS or self._older_in_a_row[index] >= _OLDER_IN_A_ROW:
            topic = self._images[index].topic
            self._monitor.problem("resets", f"{topic}: stamps went back by {back_ns / 1e9:.2f} s; input starts afresh")
            self.reset()
        self._newest_ns[index] = max(self._newest_ns[index], stamp)

    def _on_match(self, *images: Image) -> None:
        self._last_match = time.monotonic()
        stamp = stamp_ns(images[0])
        if stamp <= self._last_submitted_ns:
            self._monitor.count("duplicates" if stamp == self._last_submitted_ns else "out_of_order")
        elif self._info is None:
            self._without_info = images
        else:
            self._submit(images)

    def _submit(self, images: tuple[Image, ...]) -> None:
        self._last_submitted_ns = stamp_ns(images[0])
        messages = FrameMessages(
            color=images[0],
            depth=images[1],
            info=self._info,
            depth_info=self._depth_info,
            masks=images[2] if len(images) > 2 else None,
            mask_detections=images[3] if len(images) > 3 else None,
            arrival_ns=self._arrival_ns,
            generation=self.generation,
        )
        self._monitor.count("frames")
        self._monitor.count("dropped_busy", int(self._mailbox.put(messages)))

    def _on_info(self, info: CameraInfo) -> None:
        self._info_stream.saw(stamp_ns(info))
        if self._info is not None and not np.array_equal(self._info.k, info.k):
            self._monitor.problem("camera_changes", f"{self._info_stream.topic}: the camera matrix changed")
        if any(abs(d) > 1e-6 for d in info.d):
            self._monitor.once(
                "distortion",
                f"{self._info_stream.topic}: the camera has a lens distortion, which is not taken out; if the images "
                "are raw, feed rectified ones (image_proc) for the best poses",
            )
        self._info = info
        if self._without_info is not None:
            images, self._without_info = self._without_info, None
            self._submit(images)

    def _on_depth_info(self, info: CameraInfo) -> None:
        self._depth_info_stream.saw(stamp_ns(info))
        self._depth_info = info

    def _on_clock_jump(self, jump: TimeJump) -> None:
        self._monitor.problem("clock_jumps", "the ROS clock jumped; input starts afresh")
        self.reset()

    def _no_match(self) -> str:
        color, depth = self._images[0], self._images[1]
        gap_s = nearest_gap_s(color, depth)
        return (
            f"{color.topic} and {depth.topic}: no pair for {time.monotonic() - self._last_match:.1f} s; their nearest "
            f"stamps are {1e3 * gap_s:.1f} ms apart, slop is {1e3 * self._settings.slop:.1f} ms; "
            + pairing_advice(gap_s, self._settings.slop)
        )


def pairing_advice(gap_s: float, slop_s: float) -> str:
    """What to do about streams that make no pair, by how far their nearest stamps are apart."""
    if gap_s > slop_s:
        return "synchronise the streams in the driver or raise slop"
    return "such stamps would pair, so images are lost or late: relieve this computer, or lower the camera's rate"


def _paired_topics(settings: Settings) -> list[tuple[str, type]]:
    """The topics whose messages, paired by stamp, make a frame, and their types."""
    topics = [("color/image_raw", Image), ("depth/image_raw", Image)]
    if settings.segmenter == "outside":
        topics.append(("masks", Image))
    if needs_detections(settings):
        topics.append(("mask_detections", Detection2DArray))
    return topics


def _arrival_ns(received_ns: int) -> int:
    """The monotonic time at which the middleware got a message, of which it tells the system time (0: it does not)."""
    waited_ns = time.time_ns() - received_ns
    known = 0 <= waited_ns < 1_000_000_000  # else the system clock was set meanwhile
    return time.monotonic_ns() - waited_ns * known
