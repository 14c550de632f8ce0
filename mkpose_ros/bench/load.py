"""A node process under load: frames in at a fixed rate, detections out, with what was lost and what it took."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from mkpose_ros.errors import MkposeError
from mkpose_ros.msg import ObjectPoseArray
from mkpose_ros.ros import qos
from mkpose_ros.ros.synchronizer import stamp_ns

__all__ = ["Load", "own_context", "run_load"]

_START_TIMEOUT_S = 120.0
_LAST_ANSWERS_S = 2.0
_SETTLE_S = 1.5  # after the warm-up, until the node has reported how many frames reached it


@dataclass
class Load:
    """What one run gave."""

    sent_at: dict[int, float] = field(default_factory=dict)  # stamp in ns -> monotonic s after its last message
    received_at: dict[int, float] = field(default_factory=dict)  # stamp in ns -> monotonic s
    latencies_ms: list[float] = field(default_factory=list)  # the image's stamp to its detections received here
    messages: list[ObjectPoseArray] = field(default_factory=list)
    reached: int = 0  # frames that came into the node's mailbox, by its own count
    ready_s: float = 0.0  # start of the process to its subscription to the camera
    rss_mb: float = 0.0
    cpu_s: float = 0.0  # processor time of the node while frames came
    page_faults: int = 0  # of the node meanwhile: pages of memory that it got from the system, 4 kB each
    span_s: float = 0.0  # from the first frame to the last

    @property
    def trips_ms(self) -> list[float]:
        """Last message sent to detections received in this process, of each frame answered."""
        return [1e3 * (at - self.sent_at[stamp]) for stamp, at in self.received_at.items()]

    @property
    def lost(self) -> int:
        """Frames sent that the transport lost on the way to the node."""
        return len(self.sent_at) - self.reached

    @property
    def skipped(self) -> int:
        """Frames that a newer one replaced before their turn came."""
        return self.reached - len(self.received_at)


def run_load(
    module: str,
    publisher: Node,
    publish: Callable[[], int],
    *,
    rate_hz: float,
    frames: int,
    parameters: Sequence[str],
    warm_up: int = 0,
    checkout: Path | None = None,
    watch: Callable[[psutil.Process], object] = lambda _: None,
) -> Load:
    """Start `python -m module` as the node, call `publish` (returns the frame's stamp) at rate_hz, and listen.

    `publisher` is the caller's node; it must publish color/image_raw. `warm_up` frames go before those that count.
    `checkout`: run the code of another folder. `watch` is called after each frame. Raises MkposeError when the node
    ends early.
    """
    load = Load()
    command = [sys.executable, "-m", module, "--ros-args", "-p", "autostart:=true"]
    command += [word for parameter in parameters for word in ("-p", parameter)]
    started = time.monotonic()
    environment = dict(os.environ, ROS_DOMAIN_ID=str(publisher.context.get_domain_id()))
    environment |= {"PYTHONPATH": str(checkout)} if checkout else {}
    process = subprocess.Popen(command, stdout=sys.stderr, env=environment, cwd=checkout)
    executor = SingleThreadedExecutor(context=publisher.context)
    executor.add_node(publisher)

    def on_detections(message: ObjectPoseArray) -> None:
        stamp = stamp_ns(message)
        if stamp in load.sent_at:
            load.latencies_ms.append((time.time_ns() - stamp) / 1e6)
            load.received_at[stamp] = time.monotonic()
            load.messages.append(message)

    def on_diagnostics(message: DiagnosticArray) -> None:
        counts = {pair.key: pair.value for status in message.status for pair in status.values}
        load.reached = int(counts.get("frames", 0))

    subscriptions = (
        publisher.create_subscription(ObjectPoseArray, "mkpose/detections", on_detections, qos.OUTPUT),
        publisher.create_subscription(DiagnosticArray, "diagnostics", on_diagnostics, qos.OUTPUT),
    )
    try:
        while publisher.count_subscribers("color/image_raw") == 0:
            executor.spin_once(timeout_sec=0.01)
            if process.poll() is not None or time.monotonic() - started > _START_TIMEOUT_S:
                raise MkposeError("bench: the node did not start; see its log above")
        load.ready_s = time.monotonic() - started
        _spin_until(executor, time.monotonic() + 1.0)
        watched = psutil.Process(process.pid)
        begin = time.monotonic()
        for index in range(warm_up):
            _spin_until(executor, begin + index / rate_hz)
            publish()
        _spin_until(executor, time.monotonic() + _SETTLE_S if warm_up else 0.0)
        before = load.reached
        begin, cpu, faults = time.monotonic(), _cpu_s(watched), _page_faults(watched)
        for index in range(frames):
            _spin_until(executor, begin + index / rate_hz)
            load.sent_at[publish()] = time.monotonic()
            watch(watched)
        load.span_s, load.cpu_s = time.monotonic() - begin, _cpu_s(watched) - cpu
        load.page_faults = _page_faults(watched) - faults
        _spin_until(executor, time.monotonic() + _LAST_ANSWERS_S)
        load.reached -= before
        load.rss_mb = watched.memory_info().rss / 1e6
    finally:
        for subscription in subscriptions:
            publisher.destroy_subscription(subscription)
        executor.remove_node(publisher)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    return load


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _page_faults(process: psutil.Process) -> int:
    """Those that needed no disk, since the process began."""
    after_the_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]
    return int(after_the_name.split()[7])


def _spin_until(executor: SingleThreadedExecutor, deadline: float) -> None:
    while (left_s := deadline - time.monotonic()) > 0.0:
        executor.spin_once(timeout_sec=left_s)


def own_context() -> rclpy.Context:
    """An initialised context of a domain of its own: other cameras and nodes on the network are not measured too."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=1 + os.getpid() % 100)
    return context
