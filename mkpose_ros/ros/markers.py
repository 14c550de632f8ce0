"""What RViz shows: boxes, axes, labels and the axis of a continuous symmetry; old ones removed first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from geometry_msgs.msg import Pose
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from mkpose_ros.drawing import category_color
from mkpose_ros.geometry.boxes import BOX_EDGES, box_corners
from mkpose_ros.ros.conversions import points_msg, pose_msg
from mkpose_ros.types import ObjectPose

__all__ = ["markers_msg"]

_LINE_M = 0.003
_LABEL_M = 0.03
_AXIS_COLORS = (ColorRGBA(r=0.9, g=0.2, b=0.2, a=1.0), ColorRGBA(r=0.2, g=0.8, b=0.2, a=1.0), ColorRGBA(r=0.2, g=0.4, b=1.0, a=1.0))  # fmt: skip  # noqa: E501
_SYMMETRY_COLOR = ColorRGBA(r=1.0, g=0.85, b=0.2, a=0.9)


def markers_msg(header: Header, objects: Iterable[ObjectPose]) -> MarkerArray:
    """A DELETEALL marker and then, for each object, its box, axes and label, and its symmetry axes if any."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for index, pose in enumerate(objects):
        markers += [_box(header, index, pose), _axes(header, index, pose), _label(header, index, pose)]
        if pose.symmetry.infinite_axes:
            markers.append(_symmetry_axes(header, index, pose))
    return MarkerArray(markers=markers)


def _box(header: Header, index: int, pose: ObjectPose) -> Marker:
    corners = box_corners(np.eye(4), pose.size_m)  # (8, 3) object frame
    red, green, blue = (channel / 255.0 for channel in category_color(pose.category))
    color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    return _lines(header, "box", index, pose, [corners[i] for edge in BOX_EDGES for i in edge], [color])


def _axes(header: Header, index: int, pose: ObjectPose) -> Marker:
    length_m = 0.6 * float(pose.size_m.max())
    ends = [end for axis in np.eye(3) * length_m for end in (np.zeros(3), axis)]
    colors = [color for color in _AXIS_COLORS for _ in range(2)]
    return _lines(header, "axes", index, pose, ends, colors)


def _symmetry_axes(header: Header, index: int, pose: ObjectPose) -> Marker:
    ends = []
    for axis in pose.symmetry.infinite_axes:
        reach = np.zeros(3)
        reach["xyz".index(axis)] = 0.75 * pose.size_m["xyz".index(axis)]
        ends += [-reach, reach]
    return _lines(header, "symmetry", index, pose, ends, [_SYMMETRY_COLOR])


def _label(header: Header, index: int, pose: ObjectPose) -> Marker:
    marker = _marker(header, "label", index, Marker.TEXT_VIEW_FACING, pose_msg(pose.T_cam_obj))
    top = box_corners(pose.T_cam_obj, pose.size_m)[:, 1].min()  # y points down in the camera frame
    marker.pose.position.y = float(top) - _LABEL_M
    marker.scale.z = _LABEL_M
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    marker.text = f"{pose.track_id or pose.category} {pose.score:.2f}"
    return marker


def _lines(
    header: Header,
    namespace: str,
    index: int,
    pose: ObjectPose,
    ends: Sequence[np.ndarray],
    colors: Sequence[ColorRGBA],
) -> Marker:
    """Line segments between consecutive pairs of points in the object frame; one colour, or one for each point."""
    marker = _marker(header, namespace, index, Marker.LINE_LIST, pose_msg(pose.T_cam_obj))
    marker.scale.x = _LINE_M
    marker.points = points_msg(ends)
    marker.color = colors[0]
    marker.colors = list(colors) if len(colors) > 1 else []
    return marker


def _marker(header: Header, namespace: str, index: int, kind: int, pose: Pose) -> Marker:
    return Marker(header=header, ns=namespace, id=index, type=kind, action=Marker.ADD, pose=pose)
