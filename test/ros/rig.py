"""What the ROS tests drive a node with: a fake camera, a reader of its outputs and its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from mkpose_ros.msg import ObjectPoseArray
from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from stub_node import BLOCK, FAULTS
from visualization_msgs.msg import MarkerArray

from mkpose_ros.ros.images import image_to_msg

WIDTH, HEIGHT = 160, 120
PATIENCE = 4  # timeouts suit an idle machine; a busy one gets this many times as long
HERE = Path(__file__).parent
TRANSITIONS = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4, "shutdown": 5}


def free_domain(key: str) -> int:
    """A domain from 1 to 100, by the key, in which no process of this machine takes part.

    Two nodes of one name in one domain answer each other's calls, and a whole module fails.
    """
    first = zlib.crc32(key.encode())
    return next(1 + (first + n) % 100 for n in range(100) if _is_free(1 + (first + n) % 100))


def _is_free(domain: int) -> bool:
    """Whether the port that DDS gives to a domain's first participant is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7410 + 250 * domain))
        except OSError:
            return False
    return True


class NodeProcess:
    """A node process and its log. Its age limit is wide: a loaded machine may take seconds for a frame."""

    _patience = ("-p", "diagnostics_period:=0.1", "-p", "max_age:=5.0")

    def __init__(self, *arguments: str, script: Sequence[str] = (str(HERE / "stub_node.py"),)) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        environment = {**os.environ, "RCUTILS_COLORIZED_OUTPUT": "0", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, *script, "--ros-args", *self._patience, *arguments]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, env=environment)

    @property
    def log(self) -> str:
        self._log.flush()
        position = os.lseek(self._log.fileno(), 0, os.SEEK_CUR)
        text = os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")
        os.lseek(self._log.fileno(), position, os.SEEK_SET)
        return text

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.interrupt()
        try:
            return self.process.wait(10 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Rig:
    """A camera that publishes and a listener that remembers."""

    def __init__(self, node_name: str = "/mkpose", namespace: str = "") -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("rig", context=self.context, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.node_name = node_name
        self._clients: dict[str, Client] = {}
        self.detections: list[ObjectPoseArray] = []
        self.markers: list[MarkerArray] = []
        self.diagnostics: list[DiagnosticArray] = []
        make = self.node.create_publisher
        self.color = make(Image, "color/image_raw", qos_profile_sensor_data)
        self.depth = make(Image, "depth/image_raw", qos_profile_sensor_data)
        self.info = make(CameraInfo, "color/camera_info", qos_profile_sensor_data)
        self.depth_info = make(CameraInfo, "depth/camera_info", qos_profile_sensor_data)
        self.node.create_subscription(ObjectPoseArray, f"{node_name}/detections", self.detections.append, 100)
        self.node.create_subscription(DiagnosticArray, "diagnostics", self.diagnostics.append, 10)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    # Waiting

    def until(self, condition: Callable[[], object], timeout_s: float = 10.0, what: str = "") -> object:
        """Spin until condition() is true and return its value; fail after PATIENCE times timeout_s."""
        end = time.monotonic() + PATIENCE * timeout_s
        while not (value := condition()):
            assert time.monotonic() < end, f"timed out after {PATIENCE * timeout_s} s: {what or condition}"
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def connect(self) -> None:
        """Wait until the node listens to the camera and the rig hears its detections."""
        publishers = (self.color, self.depth, self.info, self.depth_info)
        self.until(lambda: all(p.get_subscription_count() for p in publishers), 20, "the node's subscriptions")
        self.until(lambda: self.node.count_publishers(f"{self.node_name}/detections"), 20, "the node's publisher")
        self.spin(0.1)

    # Calls

    def call(self, service_type: type, name: str, request: object, timeout_s: float = 15.0) -> object:
        client = self._client(service_type, name, timeout_s)
        asked, futures = time.monotonic(), [client.call_async(request)]

        def answer() -> Future | None:
            nonlocal asked
            if name.startswith(("get_", "describe_")) and time.monotonic() - asked > 4.0:
                asked = time.monotonic()  # harmless to ask again, should DDS have lost the answer
                futures.append(client.call_async(request))
            return next((future for future in futures if future.done()), None)

        return self.until(answer, timeout_s, f"answer of {name}").result()

    def _client(self, service_type: type, name: str, timeout_s: float) -> Client:
        """The client of a service, made once: a server may lose its answer to a client it has met a moment ago."""
        if name not in self._clients:
            client = self.node.create_client(service_type, f"{self.node_name}/{name}")
            self.until(client.service_is_ready, timeout_s, f"service {name}")
            self.spin(0.3)
            self._clients[name] = client
        self.until(self._clients[name].service_is_ready, timeout_s, f"service {name}")
        return self._clients[name]

    def change_state(self, transition: str) -> bool:
        request = ChangeState.Request()
        request.transition.id = TRANSITIONS[transition]
        return self.call(ChangeState, "change_state", request).success

    def refuses(self, transition: str, process: NodeProcess) -> bool:
        """Whether a transition is answered with a refusal, or (before Kilted) with an error in the log only."""
        errors = process.log.count("a callback failed")
        client = self.node.create_client(ChangeState, f"{self.node_name}/change_state")
        self.until(client.service_is_ready, 10)
        request = ChangeState.Request()
        request.transition.id = TRANSITIONS[transition]
        future = client.call_async(request)
        self.until(lambda: future.done() or process.log.count("a callback failed") > errors, 15, "a refusal")
        self.node.destroy_client(client)
        return not (future.done() and future.result().success)

    def state(self) -> str:
        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def start(self) -> None:
        assert self.change_state("configure")
        assert self.change_state("activate")
        self.connect()

    def set(self, **values: object) -> tuple[bool, str]:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        assert all(isinstance(p, ParameterMsg) for p in parameters)
        request = SetParametersAtomically.Request(parameters=parameters)
        result = self.call(SetParametersAtomically, "set_parameters_atomically", request).result
        return result.successful, result.reason

    # The camera

    def now_ns(self) -> int:
        return time.time_ns()

    def send(
        self,
        n: int = 1,
        fault: str = "none",
        delay_s: float = 0.0,
        *,
        stamp_ns: int | None = None,
        depth_stamp_ns: int | None = None,
        color: Image | None = None,
        depth: Image | None = None,
        info: CameraInfo | None = None,
        with_info: bool = True,
        with_depth: bool = True,
    ) -> int:
        """Publish a frame; returns its stamp."""
        stamp_ns = self.now_ns() if stamp_ns is None else stamp_ns
        color = color or color_msg(n, fault, delay_s)
        depth = depth or depth_msg()
        info = info or info_msg()
        for message in (color, depth, info):
            message.header.stamp = to_time(stamp_ns)
        if depth_stamp_ns is not None:
            depth.header.stamp = to_time(depth_stamp_ns)
        if with_info:
            self.info.publish(info)
            self.spin(0.03)  # a new camera_info holds from the next frame on
        self.color.publish(color)
        if with_depth:
            self.depth.publish(depth)
        return stamp_ns

    def detect(self, *arguments: object, timeout_s: float = 10.0, **options: object) -> ObjectPoseArray:
        """Publish a frame and wait for its detections; transport is best effort, so lost frames are sent again."""
        end = time.monotonic() + PATIENCE * timeout_s
        while time.monotonic() < end:
            stamp = self.send(*arguments, **options)
            resend = time.monotonic() + 1.0
            while time.monotonic() < resend:
                self.executor.spin_once(timeout_sec=0.02)
                if (message := self.result_of(stamp)) is not None:
                    return message
        raise AssertionError(f"no detections within {PATIENCE * timeout_s} s")

    def result_of(self, stamp_ns: int) -> ObjectPoseArray | None:
        return next((m for m in self.detections if stamp_of(m) == stamp_ns), None)

    def status(self, kind: str) -> object | None:
        """The newest diagnostic status `input` or `detection`."""
        for message in reversed(self.diagnostics):
            for status in message.status:
                if status.name.endswith(f": {kind}"):
                    return status
        return None

    def counter(self, name: str) -> int:
        """A counter of the next report."""
        self.diagnostics.clear()
        self.until(lambda: self.status("detection"), 5, "diagnostics")
        values = {v.key: v.value for v in self.status("detection").values}
        return int(values.get(name, 0))


def stamp_of(message: object) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def to_time(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def header(frame_id: str = "camera_color_optical_frame") -> Header:
    return Header(frame_id=frame_id)


def color_image(n: int = 1, fault: str = "none", delay_s: float = 0.0) -> np.ndarray:
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for i, value in enumerate((n, FAULTS.index(fault), round(100 * delay_s))):
        rgb[:BLOCK, BLOCK * i : BLOCK * (i + 1)] = value
    return rgb


def color_msg(n: int = 1, fault: str = "none", delay_s: float = 0.0) -> Image:
    return image_to_msg(color_image(n, fault, delay_s), "rgb8", header())


def depth_image(depth_m: float = 0.8) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), round(1000 * depth_m), np.uint16)


def depth_msg(depth_m: float = 0.8) -> Image:
    return image_to_msg(depth_image(depth_m), "16UC1", header())


def info_msg(width: int = WIDTH, height: int = HEIGHT, f: float = 150.0, **fields: object) -> CameraInfo:
    K = [f, 0.0, (width - 1) / 2, 0.0, f, (height - 1) / 2, 0.0, 0.0, 1.0]
    return CameraInfo(header=header(), width=width, height=height, k=K, d=[0.0] * 5, **fields)
