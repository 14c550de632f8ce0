"""A colour, a depth and a camera_info message become one checked RgbdFrame; whatever is wrong is refused here, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image

from mkpose_ros.array_pool import Empty
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.registration import register_depth
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.ros.images import color_from_msg, depth_from_msg
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.ros.synchronizer import stamp_ns
from mkpose_ros.types import CameraIntrinsics, RgbdFrame

__all__ = ["FrameMessages", "build_frame", "intrinsics_from_info"]

_REGISTER_ADVICE = (
    "switch on depth registration in the camera driver (align_depth), or set unregistered_depth to register "
    "(with depth_to_color), or to accept if the depth is registered after all"
)


@dataclass(frozen=True)
class FrameMessages:
    """The messages of one frame, as they arrived."""

    color: Image
    depth: Image
    info: CameraInfo
    depth_info: CameraInfo | None = None
    masks: Image | None = None
    mask_detections: Any | None = None  # vision_msgs/Detection2DArray
    arrival_ns: int = 0  # monotonic clock, when the last of them came in
    generation: int = 0  # frames from before a reset carry an older number


def build_frame(messages: FrameMessages, settings: Settings, empty: Empty = np.empty) -> RgbdFrame:
    """The registered RGB-D frame of some messages, its images made by `empty` where they need to be converted.

    Raises InputError that says what was wrong and what to do.
    """
    color, depth = messages.color, messages.depth
    intrinsics = intrinsics_from_info(messages.info, color.width, color.height, "color/camera_info")
    rgb = color_from_msg(color, empty)
    depth_m = depth_from_msg(depth, settings.min_depth, settings.max_depth, empty)
    problem = _unregistered(messages, intrinsics)
    if problem and settings.unregistered_depth == "refuse":
        raise InputError(f"{problem}: {_REGISTER_ADVICE}")
    if problem and settings.unregistered_depth == "register":
        depth_m = _register(depth_m, messages, intrinsics, settings)
    if depth_m.shape != rgb.shape[:2]:
        raise InputError(
            f"depth image {depth.width}x{depth.height}, colour image {color.width}x{color.height}: {_REGISTER_ADVICE}"
        )
    return RgbdFrame(rgb, depth_m, intrinsics, stamp_ns(color), color.header.frame_id)


def intrinsics_from_info(info: CameraInfo, width: int, height: int, where: str) -> CameraIntrinsics:
    """The pinhole camera of a camera_info for a width x height image, with its ROI and binning applied.

    Raises InputError when K is no camera matrix or belongs to another image size.
    """
    K = np.asarray(info.k, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(K).all() or K[0, 0] <= 0.0 or K[1, 1] <= 0.0 or abs(K[2, 2] - 1.0) > 1e-6:
        raise InputError(
            f"{where}: got K = {np.array2string(K, precision=4, separator=', ')}, expected finite numbers, positive "
            "focal lengths and K[8] = 1; calibrate the camera"
        )
    roi = info.roi
    bin_x, bin_y = max(info.binning_x, 1), max(info.binning_y, 1)
    full_width, full_height = roi.width or info.width, roi.height or info.height
    if (full_width // bin_x, full_height // bin_y) != (width, height):
        raise InputError(
            f"{where}: is for {full_width // bin_x}x{full_height // bin_y} pixels (size {info.width}x{info.height}, "
            f"ROI {roi.width}x{roi.height}, binning {bin_x}x{bin_y}), the image has {width}x{height}; "
            "both must come from the same stream of the driver"
        )
    # Pixel centres are integers, so the centre of the first bin lies at (bin - 1) / 2 of the full image.
    return CameraIntrinsics(
        fx=K[0, 0] / bin_x,
        fy=K[1, 1] / bin_y,
        cx=(K[0, 2] - roi.x_offset - (bin_x - 1) / 2) / bin_x,
        cy=(K[1, 2] - roi.y_offset - (bin_y - 1) / 2) / bin_y,
        width=width,
        height=height,
    )


def _unregistered(messages: FrameMessages, color_camera: CameraIntrinsics) -> str | None:
    """Why the depth can't be on the colour image's pixel grid; None when nothing speaks against it."""
    color, depth, depth_info = messages.color, messages.depth, messages.depth_info
    if (depth.width, depth.height) != (color.width, color.height):
        return (
            f"depth is not registered: the depth image has {depth.width}x{depth.height} pixels, the colour image "
            f"{color.width}x{color.height}"
        )
    if depth.header.frame_id != color.header.frame_id:
        return (
            f"depth is not registered: its frame_id is '{depth.header.frame_id}', the colour image's "
            f"'{color.header.frame_id}'"
        )
    if depth_info is not None:
        k = intrinsics_from_info(depth_info, depth.width, depth.height, "depth/camera_info")
        other = np.abs(np.subtract([k.fx, k.fy, k.cx, k.cy], _numbers(color_camera)))
        if other.max() > 1.0:
            return (
                f"depth is not registered: its camera matrix (fx {k.fx:.1f}, fy {k.fy:.1f}, cx {k.cx:.1f}, cy "
                f"{k.cy:.1f}) differs from the colour camera's by up to {other.max():.1f} pixels"
            )
    return None


def _register(
    depth_m: np.ndarray, messages: FrameMessages, color_camera: CameraIntrinsics, settings: Settings
) -> np.ndarray:
    if messages.depth_info is None:
        raise InputError(
            "depth can't be registered: no message on depth/camera_info; remap it to the depth camera's camera_info"
        )
    height, width = depth_m.shape
    depth_camera = intrinsics_from_info(messages.depth_info, width, height, "depth/camera_info")
    *translation_m, qx, qy, qz, qw = settings.depth_to_color
    T_color_depth = compose_pose(Rotation.from_quat([qx, qy, qz, qw]).as_matrix(), np.array(translation_m))
    return register_depth(depth_m, depth_camera, color_camera, T_color_depth)


def _numbers(k: CameraIntrinsics) -> list[float]:
    return [k.fx, k.fy, k.cx, k.cy]
