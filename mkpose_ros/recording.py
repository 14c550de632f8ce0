"""RGB-D recordings as rosbag2 (mcap) files: compressed images, camera, and the ground truth of every object.

The topics are those of a common depth camera, so that `ros2 bag play` and image_transport serve a recording too:

- ``camera/color/image_raw/compressed`` (CompressedImage, JPEG)
- ``camera/aligned_depth_to_color/image_raw/compressedDepth`` (CompressedImage, 16-bit PNG, millimetres)
- ``camera/color/camera_info`` (CameraInfo)
- ``ground_truth/objects`` (mkpose_ros/ObjectPoseArray, in the NOCS object frame)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.spatial.transform import Rotation

from mkpose_ros.errors import InputError
from mkpose_ros.geometry.camera import camera_matrix, intrinsics_from_matrix
from mkpose_ros.geometry.rotations import compose_pose, quaternion_xyzw
from mkpose_ros.resources import share_path
from mkpose_ros.types import ObjectTruth, RgbdFrame, Symmetry

__all__ = ["RecordedFrame", "read_recording", "write_recording"]

COLOR, DEPTH, INFO, TRUTH = (
    "/camera/color/image_raw/compressed",
    "/camera/aligned_depth_to_color/image_raw/compressedDepth",
    "/camera/color/camera_info",
    "/ground_truth/objects",
)
_DEPTH_HEADER = bytes(12)  # compressed_depth_image_transport's: format 0 (PNG of the raw values) and two unused floats
_OBJECT_FRAME_NOCS = 1  # ObjectPose.OBJECT_FRAME_NOCS


@dataclass(frozen=True)
class RecordedFrame:
    """One frame of a recording with the objects that are visible in it."""

    frame: RgbdFrame
    truths: tuple[ObjectTruth, ...]


def read_recording(path: Path | str) -> Iterator[RecordedFrame]:
    """The frames of a recording in order of their stamps. Raises InputError where the file isn't a recording."""
    store = _typestore()
    parts: dict[int, dict[str, object]] = {}
    try:
        with Reader(Path(path)) as reader:
            for connection, stamp_ns, data in reader.messages():
                frame = parts.setdefault(stamp_ns, {})
                frame[connection.topic] = store.deserialize_cdr(data, connection.msgtype)
                if len(frame) == 4:
                    yield _decode(parts.pop(stamp_ns), stamp_ns)
    except (ReaderError, OSError) as error:
        raise InputError(
            f"recording {path}: {str(error).rstrip('.')}. Expected a rosbag2 folder with an mcap file"
        ) from error
    if parts:
        topics = sorted({COLOR, DEPTH, INFO, TRUTH} - set(next(iter(parts.values()))))
        raise InputError(f"recording {path}: {len(parts)} frames lack {', '.join(topics)}; record all four topics")


def write_recording(path: Path | str, frames: Iterable[RecordedFrame], *, jpeg_quality: int = 92) -> int:
    """Write frames (with distinct stamps) as a new rosbag2 folder and return how many there were."""
    store = _typestore()
    count = 0
    with Writer(Path(path), version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(topic, msgtype, typestore=store)
            for topic, msgtype in (
                (COLOR, "sensor_msgs/msg/CompressedImage"),
                (DEPTH, "sensor_msgs/msg/CompressedImage"),
                (INFO, "sensor_msgs/msg/CameraInfo"),
                (TRUTH, "mkpose_ros/msg/ObjectPoseArray"),
            )
        }
        for recorded in frames:
            for topic, message in _encode(recorded, store.types, jpeg_quality).items():
                data = store.serialize_cdr(message, message.__msgtype__)
                writer.write(connections[topic], recorded.frame.stamp_ns, data)
            count += 1
    return count


def _typestore():
    """Jazzy's message types, whose layout all supported distributions share, and the package's own."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("StageTime", "ObjectPose", "ObjectPoseArray"):
        text = share_path("msg", f"{name}.msg").read_text(encoding="utf-8")
        store.register(get_types_from_msg(text, f"mkpose_ros/msg/{name}"))
    return store


def _header(frame: RgbdFrame, types: dict):
    stamp = types["builtin_interfaces/msg/Time"](*divmod(frame.stamp_ns, 1_000_000_000))
    return types["std_msgs/msg/Header"](stamp, frame.frame_id)


def _encode(recorded: RecordedFrame, types: dict, jpeg_quality: int) -> dict[str, object]:
    frame = recorded.frame
    header = _header(frame, types)
    depth_mm = np.clip(np.rint(frame.depth_m * 1000.0), 0, 65535).astype(np.uint16)
    jpeg = cv2.imencode(".jpg", frame.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])[1]
    png = cv2.imencode(".png", depth_mm, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    image = types["sensor_msgs/msg/CompressedImage"]
    depth = np.concatenate([np.frombuffer(_DEPTH_HEADER, np.uint8), png.ravel()])
    return {
        COLOR: image(header, "rgb8; jpeg compressed bgr8", jpeg.ravel()),
        DEPTH: image(header, "16UC1; compressedDepth png", depth),
        INFO: _camera_info(frame, header, types),
        TRUTH: _truth_array(recorded, header, types),
    }


def _camera_info(frame: RgbdFrame, header, types: dict):
    K = camera_matrix(frame.intrinsics)
    return types["sensor_msgs/msg/CameraInfo"](
        header=header,
        height=frame.intrinsics.height,
        width=frame.intrinsics.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=K.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([K, np.zeros((3, 1))]).ravel(),
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )


def _truth_array(recorded: RecordedFrame, header, types: dict):
    objects = [_truth_message(truth, header, types) for truth in recorded.truths]
    return types["mkpose_ros/msg/ObjectPoseArray"](header=header, objects=objects, stages=[], latency_ms=0.0)


def _truth_message(truth: ObjectTruth, header, types: dict):
    point = types["geometry_msgs/msg/Point"](*(float(v) for v in truth.T_cam_obj[:3, 3]))
    turn = types["geometry_msgs/msg/Quaternion"](*(float(v) for v in quaternion_xyzw(truth.T_cam_obj[:3, :3])))
    pose = types["geometry_msgs/msg/PoseWithCovariance"](types["geometry_msgs/msg/Pose"](point, turn), np.zeros(36))
    return types["mkpose_ros/msg/ObjectPose"](
        header=header,
        track_id=truth.model,
        category=truth.category,
        score=1.0,
        pose=pose,
        size=types["geometry_msgs/msg/Vector3"](*(float(v) for v in truth.size_m)),
        object_frame=_OBJECT_FRAME_NOCS,
        symmetry_continuous=np.array([axis in truth.symmetry.infinite_axes for axis in "xyz"]),
        symmetry_order=np.array(truth.symmetry.orders, np.uint8),
        box_x0=0.0,
        box_y0=0.0,
        box_x1=0.0,
        box_y1=0.0,
        keypoints=[],
    )


def _decode(messages: dict[str, object], stamp_ns: int) -> RecordedFrame:
    color, depth, info = messages[COLOR], messages[DEPTH], messages[INFO]
    bgr = cv2.imdecode(color.data, cv2.IMREAD_COLOR)
    depth_mm = cv2.imdecode(depth.data[len(_DEPTH_HEADER) :], cv2.IMREAD_UNCHANGED)
    if bgr is None or depth_mm is None:
        raise InputError(f"recording: the images at stamp {stamp_ns} can't be decoded; the file is damaged")
    frame = RgbdFrame(
        rgb=np.ascontiguousarray(bgr[..., ::-1]),
        depth_m=depth_mm.astype(np.float32) * np.float32(0.001),
        intrinsics=intrinsics_from_matrix(info.k.reshape(3, 3), info.width, info.height),
        stamp_ns=stamp_ns,
        frame_id=color.header.frame_id,
    )
    truths = (_truth(index + 1, message) for index, message in enumerate(messages[TRUTH].objects))
    return RecordedFrame(frame, tuple(truths))


def _truth(instance_id: int, message) -> ObjectTruth:
    pose, size = message.pose.pose, message.size
    turn = pose.orientation
    R = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
    axes = tuple(axis for axis, continuous in zip("xyz", message.symmetry_continuous, strict=True) if continuous)
    return ObjectTruth(
        instance_id=instance_id,
        category=message.category,
        model=message.track_id,
        T_cam_obj=compose_pose(R, [pose.position.x, pose.position.y, pose.position.z]),
        size_m=np.array([size.x, size.y, size.z]),
        symmetry=Symmetry(axes, tuple(int(n) for n in message.symmetry_order)),
    )
