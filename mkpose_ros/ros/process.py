"""A process around the node: signals, threads and the exit status."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import cv2
import rclpy
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.signals import SignalHandlerOptions

from mkpose_ros.errors import MkposeError
from mkpose_ros.ros.memory import share_heaps
from mkpose_ros.ros.signals import set_on_signal

if TYPE_CHECKING:
    from mkpose_ros.ros.node import MkposeNode

__all__ = ["run_process"]

_SWITCH_S = 0.001  # Python's 5 ms is how long a frame could wait for a thread that computes
_EXECUTOR_STOP_S = 1.0
_INFERENCE_STOP_S = 2.0
_MAX_CALLBACK_ERRORS = 1000  # in the process' life: an executor that fails for good must not spin in vain


def run_process(make_node: Callable[..., MkposeNode], args: Sequence[str] | None = None) -> int:
    """Spin a node until SIGINT or SIGTERM (status 0) or a fatal error (status 1).

    The main thread only waits, so that a signal is served at once whatever the other two threads are doing: the
    executor's and the inference thread. One that does not end in time is left behind.
    """
    share_heaps()
    sys.setswitchinterval(_SWITCH_S)
    cv2.setNumThreads(1)  # images this small gain nothing, and OpenCV's threads wait busily beside the networks'
    ending, failed = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        ending.set()

    set_on_signal(ending)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node(on_fatal=fail)
    except MkposeError as error:
        print(f"mkpose_node: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    logging.getLogger("mkpose_ros").addHandler(_RosLogHandler(node.get_logger()))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(node, executor, ending, fail), name="executor", daemon=True)
    spinner.start()
    ending.wait()
    executor.shutdown(timeout_sec=_EXECUTOR_STOP_S)
    spinner.join(_EXECUTOR_STOP_S)
    ended = not spinner.is_alive() and node.close(_INFERENCE_STOP_S)
    status = int(failed.is_set())
    if not ended:  # a model is being loaded or a frame worked on in native code, which nothing can interrupt
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    node.destroy_node()
    rclpy.try_shutdown()
    return status


def _spin(
    node: MkposeNode, executor: SingleThreadedExecutor, ending: threading.Event, fail: Callable[[], None]
) -> None:
    try:
        if node.settings.autostart:
            node.trigger_configure()
            if node.state == "inactive":
                node.trigger_activate()
            if node.state != "active":
                node.fail("autostart failed")
                return
        _serve(node, executor, ending)
    except (ExternalShutdownException, ShutdownException):
        ending.set()
    except BaseException:
        if not ending.is_set():
            node.get_logger().fatal(f"the executor ended: {traceback.format_exc()}")
            fail()


def _serve(node: MkposeNode, executor: SingleThreadedExecutor, ending: threading.Event) -> None:
    """Spin; an exception in a callback is logged and costs its caller the answer, not the node its life.

    Before Kilted rclpy itself raises one when a transition is asked for that the present state does not have.
    """
    for _ in range(_MAX_CALLBACK_ERRORS):
        try:
            executor.spin()
            return
        except (ExternalShutdownException, ShutdownException):
            raise
        except Exception:
            if ending.is_set():
                return
            node.get_logger().error(f"a callback failed: {traceback.format_exc()}")
    node.fail(f"{_MAX_CALLBACK_ERRORS} callbacks failed")


class _RosLogHandler(logging.Handler):
    """Warnings of the rooms that know nothing of ROS, on the node's logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # One call for each level: rclpy ties a line of code to the level it logged first.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)
