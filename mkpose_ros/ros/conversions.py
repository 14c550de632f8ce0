"""ObjectPose to ROS messages, in the object frame that the user asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseArray, PoseWithCovariance, Quaternion, Vector3
from std_msgs.msg import Header

from mkpose_ros.geometry.rotations import quaternion_xyzw
from mkpose_ros.msg import ObjectPose as ObjectPoseMsg
from mkpose_ros.msg import ObjectPoseArray, StageTime
from mkpose_ros.types import ObjectPose, RgbdFrame, Symmetry

try:
    import vision_msgs.msg as vision_msgs
except ImportError:
    vision_msgs = None

__all__ = [
    "OBJECT_FRAMES",
    "detections_3d_msg",
    "frame_header",
    "in_object_frame",
    "is_publishable",
    "object_pose_array_msg",
    "object_pose_from_msg",
    "pose_array_msg",
    "vision_msgs",
]

# R_nocs_frame: the axes of an object frame as columns, written in the NOCS frame (y up).
OBJECT_FRAMES = {
    "nocs": np.eye(3),
    "z_up": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),  # x = x, y = -z, z = y
}
# Which NOCS axis each axis of an object frame lies along.
_SOURCES = {name: [int(np.flatnonzero(axis)[0]) for axis in R.T] for name, R in OBJECT_FRAMES.items()}
_EYE = np.eye(3)
_FRAME_CODES = {"z_up": ObjectPoseMsg.OBJECT_FRAME_Z_UP, "nocs": ObjectPoseMsg.OBJECT_FRAME_NOCS}


def frame_header(frame: RgbdFrame) -> Header:
    """The header of everything published for a frame: the colour image's."""
    return Header(stamp=Time(sec=frame.stamp_ns // 10**9, nanosec=frame.stamp_ns % 10**9), frame_id=frame.frame_id)


def is_publishable(pose: ObjectPose) -> bool:
    """Whether a pose is finite, rigid and right-handed, in front of the camera, of positive size and a valid score."""
    numbers = (pose.T_cam_obj, pose.size_m, pose.covariance, pose.keypoints_m)
    if not all(np.isfinite(values).all() for values in numbers) or not 0.0 <= pose.score <= 1.0:
        return False
    R = pose.T_cam_obj[:3, :3]
    in_front = pose.T_cam_obj[2, 3] > 0.0 and min(pose.size_m.tolist()) > 0.0
    return bool(in_front and np.abs(R @ R.T - _EYE).max() < 1e-3 and _is_right_handed(R))


def in_object_frame(pose: ObjectPose, object_frame: str) -> ObjectPose:
    """The same box with its axes renamed: pose, size and symmetry in "z_up" or "nocs" axes; corners do not move."""
    T = pose.T_cam_obj.copy()
    T[:3, :3] = T[:3, :3] @ OBJECT_FRAMES[object_frame]
    size_m = pose.size_m[_SOURCES[object_frame]]
    return replace(pose, T_cam_obj=T, size_m=size_m, symmetry=_renamed(pose.symmetry, object_frame))


@lru_cache(maxsize=64)
def _renamed(symmetry: Symmetry, object_frame: str) -> Symmetry:
    source = _SOURCES[object_frame]
    infinite = tuple("xyz"[i] for i in range(3) if "xyz"[source[i]] in symmetry.infinite_axes)
    return Symmetry(infinite, tuple(symmetry.orders[s] for s in source))


def object_pose_array_msg(
    header: Header, objects: Iterable[ObjectPose], object_frame: str, stages_ms: dict[str, float], latency_ms: float
) -> ObjectPoseArray:
    """The main message. The objects are already in `object_frame`."""
    return ObjectPoseArray(
        header=header,
        objects=[_object_msg(header, pose, object_frame) for pose in objects],
        stages=[StageTime(name=name, duration_ms=float(ms)) for name, ms in stages_ms.items()],
        latency_ms=float(latency_ms),
    )


def pose_array_msg(header: Header, objects: Iterable[ObjectPose]) -> PoseArray:
    """Poses alone, in the order of the main message."""
    return PoseArray(header=header, poses=[pose_msg(pose.T_cam_obj) for pose in objects])


def detections_3d_msg(header: Header, objects: Iterable[ObjectPose]):
    """A vision_msgs/Detection3DArray: box centre = pose of the only result, metric size, id = track id."""
    detections = []
    for pose in objects:
        with_covariance = _pose_with_covariance(pose)
        result = vision_msgs.ObjectHypothesisWithPose(pose=with_covariance)
        result.hypothesis.class_id = pose.category
        result.hypothesis.score = float(pose.score)
        box = vision_msgs.BoundingBox3D(center=with_covariance.pose, size=_vector(pose.size_m))
        detections.append(vision_msgs.Detection3D(header=header, results=[result], bbox=box, id=pose.track_id))
    return vision_msgs.Detection3DArray(header=header, detections=detections)


def pose_msg(T: np.ndarray) -> Pose:
    """A (4, 4) transform as position and unit quaternion."""
    x, y, z, w = quaternion_xyzw(T[:3, :3]).tolist()
    px, py, pz = T[:3, 3].tolist()
    return Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def object_pose_from_msg(message: ObjectPoseMsg) -> ObjectPose:
    """The pose of a message, in the object frame of the message (message.object_frame)."""
    from scipy.spatial.transform import Rotation  # only readers of the topic need it

    pose = message.pose.pose
    q, p, s = pose.orientation, pose.position, message.size
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    T[:3, 3] = p.x, p.y, p.z
    infinite = tuple(axis for axis, yes in zip("xyz", message.symmetry_continuous, strict=True) if yes)
    return ObjectPose(
        category=message.category,
        score=message.score,
        T_cam_obj=T,
        size_m=np.array([s.x, s.y, s.z]),
        covariance=np.array(message.pose.covariance).reshape(6, 6),
        symmetry=Symmetry(infinite, tuple(int(n) for n in message.symmetry_order)),
        box2d=np.array([message.box_x0, message.box_y0, message.box_x1, message.box_y1], np.float32),
        keypoints_m=np.array([(k.x, k.y, k.z) for k in message.keypoints], np.float32).reshape(-1, 3),
        track_id=message.track_id,
    )


def _is_right_handed(R: np.ndarray) -> bool:
    (a, b, c), (d, e, f), (g, h, i) = R.tolist()
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0.0


def _object_msg(header: Header, pose: ObjectPose, object_frame: str) -> ObjectPoseMsg:
    continuous = [axis in pose.symmetry.infinite_axes for axis in "xyz"]
    orders = [1 if endless else int(n) for endless, n in zip(continuous, pose.symmetry.orders, strict=True)]
    x0, y0, x1, y1 = np.asarray(pose.box2d, dtype=np.float64).tolist()
    return ObjectPoseMsg(
        header=header,
        track_id=pose.track_id,
        category=pose.category,
        score=float(pose.score),
        pose=_pose_with_covariance(pose),
        size=_vector(pose.size_m),
        object_frame=_FRAME_CODES[object_frame],
        symmetry_continuous=continuous,
        symmetry_order=orders,
        box_x0=x0,
        box_y0=y0,
        box_x1=x1,
        box_y1=y1,
        keypoints=points_msg(pose.keypoints_m),
    )


def points_msg(points: np.ndarray | Sequence[Sequence[float]]) -> list[Point]:
    """Points (n, 3) as messages."""
    return [Point(x=x, y=y, z=z) for x, y, z in np.asarray(points, dtype=np.float64).tolist()]


def _pose_with_covariance(pose: ObjectPose) -> PoseWithCovariance:
    covariance = np.ascontiguousarray(pose.covariance, dtype=np.float64).reshape(36)
    return PoseWithCovariance(pose=pose_msg(pose.T_cam_obj), covariance=covariance)


def _vector(values: np.ndarray) -> Vector3:
    x, y, z = np.asarray(values, dtype=np.float64).tolist()
    return Vector3(x=x, y=y, z=z)
