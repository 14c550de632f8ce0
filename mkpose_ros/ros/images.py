"""sensor_msgs/Image to numpy and back: encodings, row padding, byte order. cv_bridge is not needed."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mkpose_ros.array_pool import Empty
from mkpose_ros.errors import InputError

__all__ = ["COLOR_ENCODINGS", "DEPTH_ENCODINGS", "color_from_msg", "depth_from_msg", "image_to_msg", "labels_from_msg"]

# encoding -> (dtype, channels, OpenCV conversion to R G B or None)
COLOR_ENCODINGS: dict[str, tuple[str, int, int | None]] = {
    "rgb8": ("u1", 3, None),
    "bgr8": ("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC3": ("u1", 3, cv2.COLOR_BGR2RGB),  # OpenCV's own order
    "rgba8": ("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC4": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": ("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC1": ("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono16": ("u2", 1, cv2.COLOR_GRAY2RGB),
    "rgb16": ("u2", 3, None),
    "bgr16": ("u2", 3, cv2.COLOR_BGR2RGB),
    # ROS names a Bayer pattern by its first row, OpenCV by its second one, from the right.
    "bayer_rggb8": ("u1", 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": ("u1", 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": ("u1", 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": ("u1", 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
}
# encoding -> (dtype, metres per unit); REP-118: 0 in 16UC1 and NaN or infinity in 32FC1 mean no measurement.
DEPTH_ENCODINGS: dict[str, tuple[str, float]] = {
    "16UC1": ("u2", 0.001),
    "mono16": ("u2", 0.001),
    "32FC1": ("f4", 1.0),
    "64FC1": ("f8", 1.0),
}
_SATURATED = 65535  # a 16-bit depth camera's "too far"


def color_from_msg(message: Image, empty: Empty = np.empty) -> np.ndarray:
    """The (H, W, 3) uint8 R G B image of a message; rgb8 without a copy, others made by `empty`. Raises InputError."""
    if message.encoding not in COLOR_ENCODINGS:
        raise InputError(
            f"colour image: got the encoding '{message.encoding}', expected one of {', '.join(COLOR_ENCODINGS)}; "
            "set the camera driver's format or convert the topic with image_proc"
        )
    dtype, channels, conversion = COLOR_ENCODINGS[message.encoding]
    pixels = _pixels(message, dtype, channels, "colour image")
    if dtype == "u2":
        pixels = (pixels >> 8).astype(np.uint8)
    if conversion is None:
        return pixels
    return cv2.cvtColor(pixels, conversion, dst=empty((message.height, message.width, 3), np.uint8))


def depth_from_msg(message: Image, min_m: float, max_m: float, empty: Empty = np.empty) -> np.ndarray:
    """The (H, W) float32 depth in metres of a message, made by `empty`; 0 where invalid or outside [min_m, max_m].

    Raises InputError.
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise InputError(
            f"depth image: got the encoding '{message.encoding}', expected one of {', '.join(DEPTH_ENCODINGS)} "
            "(16UC1 in millimetres, 32FC1 in metres); subscribe to the camera's uncompressed depth topic"
        )
    dtype, unit_m = DEPTH_ENCODINGS[message.encoding]
    raw = _pixels(message, dtype, 1, "depth image")
    depth_m = empty(raw.shape, np.float32)
    if unit_m != 1.0:
        # Division rounds correctly: the same metres as 32FC1 of the same scene.
        np.divide(raw, np.float32(1.0 / unit_m), out=depth_m, dtype=np.float32)
        max_m = min(max_m, (_SATURATED - 0.5) * unit_m)
    else:
        depth_m[...] = raw
        cv2.patchNaNs(depth_m, 0.0)
    # In place; kept is what lies above the first bound and at or below the second one.
    cv2.threshold(depth_m, float(np.nextafter(np.float32(min_m), np.float32(-1.0))), 0.0, cv2.THRESH_TOZERO, depth_m)
    cv2.threshold(depth_m, max_m, 0.0, cv2.THRESH_TOZERO_INV, depth_m)
    return depth_m


def labels_from_msg(message: Image) -> np.ndarray:
    """The (H, W) integer label image of a message (mono8, mono16, 8UC1, 16UC1, 32SC1). Raises InputError."""
    kinds = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32SC1": "i4"}
    if message.encoding not in kinds:
        raise InputError(f"mask image: got the encoding '{message.encoding}', expected one of {', '.join(kinds)}")
    return _pixels(message, kinds[message.encoding], 1, "mask image")


def image_to_msg(image: np.ndarray, encoding: str, header: Header) -> Image:
    """A message of a (H, W[, C]) array whose dtype and channels fit the encoding."""
    image = np.ascontiguousarray(image)
    data = array("B")
    data.frombytes(memoryview(image).cast("B"))  # any other type of data costs a check of every byte
    return Image(
        header=header,
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=image.nbytes // image.shape[0],
        data=data,
    )


def _pixels(message: Image, dtype: str, channels: int, where: str) -> np.ndarray:
    """The (H, W) or (H, W, C) array in native byte order on the message's data, without its row padding."""
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise InputError(f"{where}: got {width}x{height} pixels, expected at least one; check the camera driver")
    item = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = width * channels * item.itemsize
    if step < row_bytes:
        raise InputError(
            f"{where}: got a step of {step} bytes, expected at least {row_bytes} for {width} pixels of "
            f"{message.encoding}; the driver fills the message wrongly"
        )
    needed = step * (height - 1) + row_bytes
    if len(message.data) < needed:
        raise InputError(
            f"{where}: got {len(message.data)} bytes of data, expected {step * height} for {width}x{height} "
            f"{message.encoding}; the message is truncated"
        )
    buffer = np.frombuffer(message.data, np.uint8)
    rows = np.lib.stride_tricks.as_strided(buffer, (height, row_bytes), (step, 1))
    pixels = np.ascontiguousarray(rows).view(item).astype(dtype, copy=False)
    return pixels.reshape(height, width) if channels == 1 else pixels.reshape(height, width, channels)
