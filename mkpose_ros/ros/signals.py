"""Ctrl-C ends a process once, in order, however often it comes: a terminal and launch both send it."""

from __future__ import annotations

import signal
import threading

__all__ = ["set_on_signal"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def set_on_signal(ending: threading.Event) -> None:
    """Let the first SIGINT or SIGTERM set `ending`; those that follow do nothing, also while Python itself ends.

    Call it in the main thread, before rclpy.init with SignalHandlerOptions.NO.
    """

    def end(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a handler of ours would be gone before the process is
        ending.set()

    for number in _SIGNALS:
        signal.signal(number, end)
