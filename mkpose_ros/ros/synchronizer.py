"""Sets of messages whose stamps lie within a slop: message_filters where it is installed, else the same in short.

Both versions share one behaviour: a new message is matched with the nearest waiting one of each other stream,
a set's stamps spread over at most `slop_s`, each message is used once, `queue_size` messages of a stream wait and
the one with the smallest stamp goes first. An exception in the callback never leaves the synchroniser locked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

try:
    from message_filters import ApproximateTimeSynchronizer, SimpleFilter
except ImportError:  # no ROS distribution, only the wheels
    ApproximateTimeSynchronizer = SimpleFilter = None

__all__ = ["OwnSynchronizer", "RosSynchronizer", "Synchronizer", "open_synchronizer", "stamp_ns"]

MatchCallback = Callable[..., None]  # one message of each stream, in the streams' order


class Synchronizer(Protocol):
    """What the camera input needs of a synchroniser."""

    def add(self, stream: int, message: Any) -> None:
        """Take in a message of stream 0, 1, ...; calls back when it completes a set."""

    def reset(self) -> None:
        """Forget every waiting message: stamps may start again anywhere."""


def stamp_ns(message: Any) -> int:
    """The header stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def open_synchronizer(n_streams: int, queue_size: int, slop_s: float, callback: MatchCallback) -> Synchronizer:
    """message_filters' synchroniser where it is installed, otherwise our own."""
    kind = OwnSynchronizer if SimpleFilter is None else RosSynchronizer
    return kind(n_streams, queue_size, slop_s, callback)


class OwnSynchronizer:
    """Approximate time synchronisation without message_filters."""

    def __init__(self, n_streams: int, queue_size: int, slop_s: float, callback: MatchCallback) -> None:
        self._waiting: list[dict[int, Any]] = [{} for _ in range(n_streams)]  # stamp -> message, for each stream
        self._queue_size = queue_size
        self._slop_ns = round(slop_s * 1e9)
        self._callback = callback

    def add(self, stream: int, message: Any) -> None:
        stamp = stamp_ns(message)
        queue = self._waiting[stream]
        queue[stamp] = message
        while len(queue) > self._queue_size:
            del queue[min(queue)]
        stamps = self._nearest_set(stream, stamp)
        if stamps is not None:
            # Taken out before the callback, so that an exception in it can't use them twice.
            self._callback(*(queue.pop(s) for queue, s in zip(self._waiting, stamps, strict=True)))

    def reset(self) -> None:
        for queue in self._waiting:
            queue.clear()

    def _nearest_set(self, stream: int, stamp: int) -> tuple[int, ...] | None:
        candidates = [
            [stamp] if index == stream else sorted(
                (s for s in queue if abs(s - stamp) <= self._slop_ns), key=lambda s: abs(s - stamp)
            )
            for index, queue in enumerate(self._waiting)
        ]  # fmt: skip
        if stamp not in self._waiting[stream]:  # evicted at once: older than a full queue
            return None
        sets = itertools.product(*candidates)
        return next((found for found in sets if max(found) - min(found) <= self._slop_ns), None)


class RosSynchronizer:
    """message_filters' ApproximateTimeSynchronizer, fed by hand so that it can be rebuilt at any time."""

    def __init__(self, n_streams: int, queue_size: int, slop_s: float, callback: MatchCallback) -> None:
        self._n_streams = n_streams
        self._queue_size = queue_size
        self._slop_s = slop_s + 1e-9  # upstream wants a spread strictly below its slop
        self._callback = callback
        self.reset()

    def add(self, stream: int, message: Any) -> None:
        self._matched = None
        self._filters[stream].signalMessage(message)
        # Called here and not inside upstream's lock, which an exception would leave locked for ever.
        if self._matched is not None:
            self._callback(*self._matched)

    def reset(self) -> None:
        self._filters = [SimpleFilter() for _ in range(self._n_streams)]
        self._upstream = ApproximateTimeSynchronizer(self._filters, self._queue_size, self._slop_s)
        self._upstream.registerCallback(self._keep)
        self._matched: tuple[Any, ...] | None = None

    def _keep(self, *messages: Any) -> None:
        self._matched = messages
