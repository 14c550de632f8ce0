"""One subscribed topic: its subscription, when it was last heard and what stamps it carries."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_policy_name_from_kind

from mkpose_ros.ros import qos
from mkpose_ros.ros.monitor import Monitor

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

__all__ = ["Stream", "nearest_gap_s", "publisher_events"]

_REMEMBERED = 30  # stamps


class Stream:
    """A subscription that knows how long it has been silent."""

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        profile: QoSProfile,
        callback: Callable[[Any, Any], None],
        monitor: Monitor,
        group: CallbackGroup,
    ) -> None:
        """`callback`: gets the message and what the middleware tells of it (rclpy.subscription.MessageInfo)."""
        self._node, self._monitor = node, monitor
        self._last_heard: float | None = None
        self._was_silent = False
        self.stamps_ns: deque[int] = deque(maxlen=_REMEMBERED)
        self.subscription = node.create_subscription(
            message_type,
            topic,
            callback,
            profile,
            callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
            qos_overriding_options=qos.overridable(),
        )
        self.topic = self.subscription.topic_name  # as resolved: with namespace and remaps

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self.subscription)

    def saw(self, stamp_ns: int) -> None:
        """Note the arrival of a message."""
        self._last_heard = time.monotonic()
        self.stamps_ns.append(stamp_ns)
        if self._was_silent:
            self._was_silent = False
            self._node.get_logger().info(f"{self.topic}: messages arrive again")

    def silence(self, now: float, timeout_s: float) -> str | None:
        """A sentence when nothing came for timeout_s, else None."""
        if self._last_heard is None:
            return f"{self.topic}: no message yet; start the camera or remap the topic ({self._publishers()})"
        if now - self._last_heard > timeout_s:
            self._was_silent = True
            return f"{self.topic}: stale, no message for {now - self._last_heard:.1f} s ({self._publishers()})"
        return None

    def _publishers(self) -> str:
        n = self._node.count_publishers(self.topic)
        return f"{n} publisher{'s' * (n != 1)} on it now"

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._monitor.error(
            f"incompatible_qos {self.topic}",
            f"{self.topic}: a publisher's QoS is incompatible with this subscription ({policy}), so none of its "
            f"messages arrive; set the parameter qos_overrides.{self.topic}.subscription.{policy.lower()}",
        )


def nearest_gap_s(a: Stream, b: Stream) -> float:
    """The least distance in seconds between recent stamps of two streams; infinite when one has none."""
    return min((abs(s - t) for s in a.stamps_ns for t in b.stamps_ns), default=float("inf")) / 1e9


def publisher_events(topic: str, monitor: Monitor) -> PublisherEventCallbacks:
    """Event callbacks that report a subscriber whose QoS this node's publisher can't serve."""

    def on_incompatible_qos(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        monitor.error(
            f"incompatible_qos {topic}",
            f"{topic}: a subscriber asks for a QoS that is not offered ({policy}) and gets no messages; change the "
            f"subscriber or set the parameter qos_overrides.<topic>.publisher.{policy.lower()}",
        )

    return PublisherEventCallbacks(incompatible_qos=on_incompatible_qos)
