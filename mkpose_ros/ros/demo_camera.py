"""A camera that plays a recording: the topics of an RGB-D camera, and the ground truth beside them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from itertools import islice

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mkpose_ros.errors import MkposeError
from mkpose_ros.geometry.camera import camera_matrix
from mkpose_ros.msg import ObjectPoseArray
from mkpose_ros.recording import RecordedFrame, read_recording
from mkpose_ros.resources import share_path
from mkpose_ros.ros import qos
from mkpose_ros.ros.conversions import object_pose_array_msg
from mkpose_ros.ros.images import image_to_msg
from mkpose_ros.ros.signals import set_on_signal
from mkpose_ros.types import CameraIntrinsics, ObjectPose, ObjectTruth

__all__ = ["DemoCamera", "default_recording", "main"]

_LOOK_S = 0.2  # how often a camera that is idle looks whether it shall end


def default_recording() -> str:
    """The folder of the shipped recording."""
    return str(share_path("models", "demo_recording"))


class DemoCamera(Node):
    """Publishes color/image_raw, depth/image_raw, a camera_info beside each and ground_truth, stamped now.

    Parameters: `recording` (folder), `rate` (Hz; 0: as recorded), `loop`, `encoding` of the depth (16UC1 or 32FC1).
    With `paced_by_hand` no timer runs and the owner calls `publish_next`.
    """

    def __init__(self, *, frames: int | None = None, paced_by_hand: bool = False, **node_options: object) -> None:
        super().__init__("demo_camera", **node_options)
        path = self.declare_parameter("recording", "").value or default_recording()
        rate_hz = self.declare_parameter("rate", 0.0).value
        self._loop = self.declare_parameter("loop", True).value
        self._encoding = self.declare_parameter("encoding", "16UC1").value
        self.frames = list(islice(read_recording(path), frames))
        if not self.frames:
            raise MkposeError(f"demo camera: the recording {path} holds no frames; give another with `recording`")
        self._next = 0
        self._color = self.create_publisher(Image, "color/image_raw", qos.IMAGE)
        self._depth = self.create_publisher(Image, "depth/image_raw", qos.IMAGE)
        # Depth is registered, so that one camera_info holds for both; RViz's point cloud asks for the depth image's.
        self._infos = [
            self.create_publisher(CameraInfo, f"{of}/camera_info", qos.CAMERA_INFO) for of in ("color", "depth")
        ]
        self._truth = self.create_publisher(ObjectPoseArray, "ground_truth", qos.OUTPUT)
        if not paced_by_hand:
            self.create_timer(1.0 / (rate_hz or _recorded_rate_hz(self.frames)), self.publish_next)
        self.get_logger().info(f"playing {len(self.frames)} frames of {path}")

    @property
    def listeners(self) -> int:
        """How many subscribers the colour image has."""
        return self._color.get_subscription_count()

    def publish_next(self) -> tuple[int, RecordedFrame] | None:
        """Publish the next frame; its stamp in ns and what it shows, or None after the last one without `loop`."""
        if self._next >= len(self.frames) and not self._loop:
            return None
        self._next += 1
        return self.publish_again()

    def publish_again(self) -> tuple[int, RecordedFrame]:
        """Publish the last frame once more, with a stamp of now; its stamp in ns and what it shows."""
        recorded = self.frames[(self._next - 1) % len(self.frames)]
        stamp_ns = self.get_clock().now().nanoseconds
        stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        header = Header(stamp=stamp, frame_id=recorded.frame.frame_id)
        info = _camera_info_msg(header, recorded.frame.intrinsics)
        for publisher in self._infos:
            publisher.publish(info)
        self._depth.publish(_depth_msg(header, recorded.frame.depth_m, self._encoding))
        self._color.publish(image_to_msg(recorded.frame.rgb, "rgb8", header))
        poses = [_as_pose(truth) for truth in recorded.truths]
        self._truth.publish(object_pose_array_msg(header, poses, "nocs", {}, 0.0))
        return stamp_ns, recorded


def main(args: Sequence[str] | None = None) -> int:
    """The executable `mkpose_demo_camera`; returns the exit status."""
    ending = threading.Event()
    set_on_signal(ending)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = DemoCamera()
    except MkposeError as error:
        print(f"mkpose_demo_camera: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not ending.is_set():
        executor.spin_once(timeout_sec=_LOOK_S)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _recorded_rate_hz(frames: Sequence[RecordedFrame]) -> float:
    stamps_ns = np.array([recorded.frame.stamp_ns for recorded in frames])
    return float(1e9 / np.median(np.diff(stamps_ns))) if len(frames) > 1 else 1.0


def _camera_info_msg(header: Header, intrinsics: CameraIntrinsics) -> CameraInfo:
    K = camera_matrix(intrinsics)
    return CameraInfo(
        header=header,
        width=intrinsics.width,
        height=intrinsics.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=K.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([K, np.zeros((3, 1))]).ravel(),
    )


def _depth_msg(header: Header, depth_m: np.ndarray, encoding: str) -> Image:
    if encoding == "32FC1":
        return image_to_msg(depth_m, encoding, header)
    return image_to_msg(np.clip(np.rint(depth_m * 1000.0), 0, 65535).astype(np.uint16), "16UC1", header)


def _as_pose(truth: ObjectTruth) -> ObjectPose:
    return ObjectPose(
        category=truth.category,
        score=1.0,
        T_cam_obj=truth.T_cam_obj,
        size_m=truth.size_m,
        covariance=np.zeros((6, 6)),
        symmetry=truth.symmetry,
        box2d=np.zeros(4, np.float32),
        keypoints_m=np.zeros((0, 3), np.float32),
        track_id=truth.model,
    )


if __name__ == "__main__":
    raise SystemExit(main())
