"""The demo: the node as a process of its own, a camera that plays the recording, and a listener that keeps score.

Frames go through DDS one at a time: the next is sent when the last is answered, so that every frame counts on every
machine. `rate_hz` plays in real time instead; what the node can't keep up with is then lost, and counted.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from mkpose_ros.errors import MkposeError
from mkpose_ros.msg import ObjectPoseArray
from mkpose_ros.recording import RecordedFrame
from mkpose_ros.ros import qos
from mkpose_ros.ros.conversions import object_pose_from_msg
from mkpose_ros.ros.demo_camera import DemoCamera
from mkpose_ros.ros.transport import use_shipped_transport
from mkpose_ros.types import ObjectPose

__all__ = ["Answer", "play_demo"]

_START_TIMEOUT_S = 120.0
_RESEND_S = 2.0
_ANSWER_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """What the node said of one frame."""

    recorded: RecordedFrame
    objects: tuple[ObjectPose, ...]  # in the NOCS object frame
    stages_ms: dict[str, float]
    latency_ms: float  # image stamp to the arrival of the detections in this process


def play_demo(
    *,
    frames: int | None = None,
    rate_hz: float = 0.0,
    recording: str = "",
    node_parameters: dict[str, str] | None = None,
    on_answer: Callable[[Answer, int], None] = lambda answer, total: None,
) -> list[Answer]:
    """Play the recording (its first `frames`) into a fresh node and return the answers, in order.

    on_answer(answer, total) is called for each answer as it comes. Raises MkposeError when the node does not start,
    dies or stays silent.
    """
    use_shipped_transport()
    parameters = {"object_frame": "nocs", "autostart": "true", **(node_parameters or {})}
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        overrides = [Parameter("recording", value=recording), Parameter("loop", value=False)]
        camera = DemoCamera(frames=frames, paced_by_hand=True, context=context, parameter_overrides=overrides)
        with _node_process(parameters) as process:
            return _Player(camera, context, process, rate_hz, on_answer).play()
    finally:
        context.try_shutdown()


class _Player:
    """Sends frames and collects answers."""

    def __init__(
        self,
        camera: DemoCamera,
        context: rclpy.Context,
        process: subprocess.Popen,
        rate_hz: float,
        on_answer: Callable[[Answer, int], None],
    ) -> None:
        self._camera, self._process, self._rate_hz, self._on_answer = camera, process, rate_hz, on_answer
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(camera)
        self._sent: dict[int, RecordedFrame] = {}
        self._answers: list[Answer] = []
        camera.create_subscription(ObjectPoseArray, "mkpose/detections", self._on_detections, qos.OUTPUT)

    def play(self) -> list[Answer]:
        self._spin_until(lambda: self._camera.listeners > 0, _START_TIMEOUT_S, "subscribe to the camera")
        time.sleep(0.5)  # the other topics are matched within moments of the first
        while (sent := self._camera.publish_next()) is not None:
            self._sent[sent[0]] = sent[1]
            if self._rate_hz > 0.0:
                self._spin_for(1.0 / self._rate_hz)
            else:
                self._await_answer(len(self._answers) + 1)
        if self._rate_hz > 0.0:
            self._spin_for(1.0)
        if not self._answers:
            raise MkposeError("demo: the node answered no frame; see its log above")
        return self._answers

    def _await_answer(self, expected: int) -> None:
        """Wait for the answer of the frame just sent; one that best-effort transport lost is sent again."""
        resend = time.monotonic() + _RESEND_S

        def answered() -> bool:
            nonlocal resend
            if time.monotonic() > resend:
                stamp_ns, recorded = self._camera.publish_again()
                self._sent[stamp_ns] = recorded
                resend = time.monotonic() + _RESEND_S
            return len(self._answers) >= expected

        self._spin_until(answered, _ANSWER_TIMEOUT_S, "answer a frame")

    def _on_detections(self, message: ObjectPoseArray) -> None:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        recorded = self._sent.pop(stamp_ns, None)
        if recorded is None:
            return  # latched by an earlier run, another camera's, or answered already
        self._sent = {stamp: other for stamp, other in self._sent.items() if other is not recorded}
        latency_ms = (self._camera.get_clock().now().nanoseconds - stamp_ns) * 1e-6
        objects = tuple(object_pose_from_msg(item) for item in message.objects)
        stages_ms = {stage.name: stage.duration_ms for stage in message.stages}
        answer = Answer(recorded, objects, stages_ms, latency_ms)
        self._answers.append(answer)
        self._on_answer(answer, len(self._camera.frames))

    def _spin_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._executor.spin_once(timeout_sec=0.05)
            if self._process.poll() is not None:
                raise MkposeError(f"demo: the node ended with status {self._process.returncode}; see its log above")
            if time.monotonic() > deadline:
                raise MkposeError(f"demo: the node did not {what} within {timeout_s:.0f} s; see its log above")

    def _spin_for(self, duration_s: float) -> None:
        deadline = time.monotonic() + duration_s
        while (left_s := deadline - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left_s)


@contextmanager
def _node_process(parameters: dict[str, str]) -> Iterator[subprocess.Popen]:
    """The node as a child process; its log goes to standard error."""
    assignments = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "mkpose_ros.ros.node", "--ros-args", *assignments]
    process = subprocess.Popen(command, stdout=sys.stderr, cwd=Path.cwd())
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
