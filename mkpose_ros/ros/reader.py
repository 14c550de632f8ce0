"""A thread that takes the camera's messages the moment they arrive, beside the node's executor.

rclpy's executor gathers every service, timer and event of the node again for each message, which costs milliseconds:
with three messages a frame and thirty frames a second the images would wait for it and it would serve little else.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.subscription import Subscription

__all__ = ["Reader", "ReaderGroup"]

_STOP_S = 5.0


class ReaderGroup(MutuallyExclusiveCallbackGroup):
    """The callback group of subscriptions that the executor leaves alone, because a Reader serves them."""

    def can_execute(self, entity: Any) -> bool:
        return False


class Reader:
    """Calls the callbacks of subscriptions, which take (message, info), and of their events.

    It does so from construction to `close`; where messages wait on several, in the order of the subscriptions.
    """

    def __init__(self, node: Node, subscriptions: Sequence[Subscription], on_fatal: Callable[[str], None]) -> None:
        """`on_fatal`: told why the thread ends by itself."""
        self._context, self._subscriptions, self._on_fatal = node.context, tuple(subscriptions), on_fatal
        # Data wakes whoever waits for an event of the same subscription, so both are waited for here.
        self._events = tuple(event for subscription in subscriptions for event in subscription.event_handlers)
        self._stopping = False
        self._wake = GuardCondition(None, None, context=node.context)
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more messages; the subscriptions can be destroyed afterwards."""
        self._stopping = True
        self._wake.trigger()
        self._thread.join(_STOP_S)
        self._wake.destroy()

    def _run(self) -> None:
        try:
            with ExitStack() as in_use:  # what is destroyed meanwhile lives on until the end
                handles = (self._context.handle, self._wake.handle, *(s.handle for s in self._subscriptions))
                for held in (*handles, *self._events):
                    in_use.enter_context(held)
                self._serve()
        except BaseException:
            self._on_fatal(f"the camera thread died: {traceback.format_exc()}")

    def _serve(self) -> None:
        n_subscriptions, n_events = len(self._subscriptions), len(self._events)
        wait_set = _rclpy.WaitSet(n_subscriptions, 1, 0, 0, 0, n_events, self._context.handle)
        while not self._stopping:
            wait_set.clear_entities()
            wait_set.add_guard_condition(self._wake.handle)
            for subscription in self._subscriptions:
                wait_set.add_subscription(subscription.handle)
            for event in self._events:
                event.add_to_wait_set(wait_set)
            wait_set.wait(-1)
            ready = wait_set.get_ready_entities("subscription")
            for subscription in self._subscriptions:
                if subscription.handle.pointer in ready:
                    taken = subscription.handle.take_message(subscription.msg_type, False)
                    if taken is not None:
                        subscription.callback(*taken)
            for event in self._events:
                if event.is_ready(wait_set) and (data := event.take_data()):
                    event.callback(data)
