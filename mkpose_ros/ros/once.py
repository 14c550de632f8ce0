"""Requests that wait for the result of one frame, without holding up the executor."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from mkpose_ros.msg import ObjectPoseArray

__all__ = ["OnceRequests"]


@dataclass
class _Request:
    since_ns: int
    future: Future = field(default_factory=Future)
    result: ObjectPoseArray | None = None


class OnceRequests:
    """Hands results from the inference thread to service calls that wait in the executor's thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._requests: list[_Request] = []
        # Futures are set in the executor's thread only; the guard condition wakes it.
        self._arrived = node.create_guard_condition(self._answer)

    @property
    def pending(self) -> bool:
        """Whether a call waits for a frame."""
        with self._lock:
            return any(request.result is None for request in self._requests)

    async def wait(self, timeout_s: float) -> ObjectPoseArray | None:
        """The result of the first frame that arrives from now on; None when none came in timeout_s."""
        request = _Request(time.monotonic_ns())
        with self._lock:
            self._requests.append(request)
        timer = self._node.create_timer(
            timeout_s, lambda: self._end(request), clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        try:
            await request.future
        finally:
            self._node.destroy_timer(timer)
            with self._lock:
                self._requests.remove(request)
        return request.result

    def offer(self, arrival_ns: int, result: ObjectPoseArray) -> None:
        """Called by the inference thread with each result and the time its frame arrived."""
        with self._lock:
            waiting = [r for r in self._requests if r.result is None and arrival_ns >= r.since_ns]
            for request in waiting:
                request.result = result
        if waiting:
            self._arrived.trigger()

    def _answer(self) -> None:
        with self._lock:
            ready = [request for request in self._requests if request.result is not None]
        for request in ready:
            self._end(request)

    @staticmethod
    def _end(request: _Request) -> None:
        if not request.future.done():
            request.future.set_result(None)
