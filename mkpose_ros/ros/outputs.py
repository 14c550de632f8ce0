"""Everything the node publishes: the detections always and first, the rest only while somebody listens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from mkpose_ros.drawing import draw_poses
from mkpose_ros.msg import ObjectPoseArray
from mkpose_ros.ros import qos
from mkpose_ros.ros.conversions import (
    detections_3d_msg,
    frame_header,
    in_object_frame,
    object_pose_array_msg,
    pose_array_msg,
    vision_msgs,
)
from mkpose_ros.ros.images import image_to_msg
from mkpose_ros.ros.markers import markers_msg
from mkpose_ros.ros.monitor import Monitor
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.ros.streams import publisher_events
from mkpose_ros.ros.transforms import Transforms
from mkpose_ros.types import ObjectPose, RgbdFrame

__all__ = ["Outputs"]


class Outputs:
    """The publishers, from `configure` to `cleanup`. `publish` runs in the inference thread."""

    def __init__(self, node: Node, settings: Settings, monitor: Monitor) -> None:
        self._node, self._monitor = node, monitor
        with ExitStack() as undo:  # of what was created, when the rest fails
            self._detections = self._publisher(undo, ObjectPoseArray, "~/detections", qos.DETECTIONS)
            self._poses = self._publisher(undo, PoseArray, "~/poses", qos.OUTPUT)
            self._markers = self._publisher(undo, MarkerArray, "~/markers", qos.OUTPUT)
            self._overlay = self._publisher(undo, Image, "~/overlay", qos.OUTPUT)
            self._detections_3d = None
            if vision_msgs is not None:
                kind = vision_msgs.Detection3DArray
                self._detections_3d = self._publisher(undo, kind, "~/detections_3d", qos.DETECTIONS)
            self.transforms = Transforms(node, settings.world_frame, settings.publish_tf, monitor)
            undo.callback(self.transforms.close)
            self._opened = undo.pop_all()

    def close(self) -> None:
        """Destroy the publishers."""
        self._opened.close()

    def clear_markers(self, header: Header) -> None:
        """Take the last boxes out of RViz."""
        if _has_reader(self._markers):
            self._markers.publish(markers_msg(header, ()))

    def publish(
        self,
        frame: RgbdFrame,
        objects: Sequence[ObjectPose],
        settings: Settings,
        stages_ms: dict[str, float],
        arrival_ns: int,
    ) -> ObjectPoseArray:
        """Publish the objects (NOCS axes) of a frame, then whatever has a reader; returns the main message."""
        header = frame_header(frame)
        objects = [in_object_frame(pose, settings.object_frame) for pose in objects]
        detections = object_pose_array_msg(header, objects, settings.object_frame, stages_ms, 0.0)
        detections.latency_ms = (time.monotonic_ns() - arrival_ns) / 1e6
        self._detections.publish(detections)
        try:
            self._publish_lazily(header, frame, objects)
        except Exception as error:  # a picture or a transform never costs the next detection
            self._monitor.error("output_errors", f"detections are out, but {type(error).__name__} after them: {error}")
        return detections

    def _publish_lazily(self, header: Header, frame: RgbdFrame, objects: Sequence[ObjectPose]) -> None:
        if _has_reader(self._detections_3d):
            self._detections_3d.publish(detections_3d_msg(header, objects))
        if _has_reader(self._poses):
            self._poses.publish(pose_array_msg(header, objects))
        self.transforms.send(header, objects)
        if _has_reader(self._markers):
            self._markers.publish(markers_msg(header, objects))
        if _has_reader(self._overlay):
            image = draw_poses(frame.rgb, objects, frame.intrinsics)
            self._overlay.publish(image_to_msg(image, "rgb8", header))

    def _publisher(self, undo: ExitStack, message_type: type, name: str, profile: QoSProfile) -> Publisher:
        topic = self._node.resolve_topic_name(name)
        publisher = self._node.create_publisher(
            message_type,
            name,
            profile,
            event_callbacks=publisher_events(topic, self._monitor),
            qos_overriding_options=qos.overridable(),
        )
        undo.callback(self._node.destroy_publisher, publisher)
        return publisher


def _has_reader(publisher: Publisher | None) -> bool:
    return publisher is not None and publisher.get_subscription_count() > 0
