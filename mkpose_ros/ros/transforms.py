"""Transforms, where tf2_ros is installed: camera motion in, object poses out. Detections never wait for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.ros.conversions import pose_msg
from mkpose_ros.ros.monitor import Monitor
from mkpose_ros.types import ObjectPose, RgbdFrame

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

__all__ = ["Transforms"]


class Transforms:
    """One listener and one broadcaster for the node's life, each only if it is wanted."""

    def __init__(self, node: Node, world_frame: str, broadcast: bool, monitor: Monitor) -> None:
        self._world_frame, self._monitor = world_frame, monitor
        self._broadcaster = self._buffer = self._listener = None
        if tf2_ros is None:
            if world_frame or broadcast:
                monitor.once("no_tf2", "world_frame or publish_tf is set, but tf2_ros is not installed: no transforms")
            return
        if broadcast:
            self._broadcaster = tf2_ros.TransformBroadcaster(node)
        if world_frame:
            self._buffer = tf2_ros.Buffer()
            self._listener = tf2_ros.TransformListener(self._buffer, node)

    def close(self) -> None:
        """Stop to listen."""
        if self._listener is not None:
            self._listener.unregister()
        self._broadcaster = self._buffer = self._listener = None

    def camera_in_world(self, frame: RgbdFrame) -> np.ndarray | None:
        """T_world_cam (4, 4) at the frame's stamp, or the latest known; None when there is none."""
        if self._buffer is None:
            return None
        error = None
        for time in (Time(nanoseconds=frame.stamp_ns), Time()):
            try:
                return _matrix(self._buffer.lookup_transform(self._world_frame, frame.frame_id, time))
            except tf2_ros.TransformException as exception:
                error = error or exception
        self._monitor.problem(
            "no_camera_transform",
            f"no transform from {frame.frame_id} to {self._world_frame} ({error}); detections go on without the "
            "camera's motion",
        )
        return None

    def send(self, header: Header, objects: Sequence[ObjectPose]) -> None:
        """Broadcast a transform for each object, its child frame named by the track id."""
        if self._broadcaster is not None:
            self._broadcaster.sendTransform([_transform(header, i, pose) for i, pose in enumerate(objects)])


def _matrix(message: TransformStamped) -> np.ndarray:
    t, q = message.transform.translation, message.transform.rotation
    return compose_pose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), np.array([t.x, t.y, t.z]))


def _transform(header: Header, index: int, pose: ObjectPose) -> TransformStamped:
    transform = TransformStamped(header=header, child_frame_id=pose.track_id or f"{pose.category}_{index}")
    at = pose_msg(pose.T_cam_obj)
    translation = transform.transform.translation
    translation.x, translation.y, translation.z = at.position.x, at.position.y, at.position.z
    transform.transform.rotation = at.orientation
    return transform
