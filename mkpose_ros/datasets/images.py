"""The images of a data set: colour, depth, instance ids and NOCS maps from PNG files, checked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mkpose_ros.errors import InputError

__all__ = ["NO_DEPTH_CODE", "decode_depth_m", "read_color", "read_depth_m", "read_mask", "read_nocs_map"]

NO_DEPTH_CODE = 32001  # CAMERA25 marks pixels without depth by this value


def read_color(path: Path) -> np.ndarray:
    """A colour image (H, W, 3) uint8 R G B. Raises InputError."""
    image = _read_image(path)
    if image.dtype != np.uint8:
        raise InputError(f"{path}: {image.dtype} pixels; expected 8-bit colour")
    conversion = {2: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB}.get(
        image.ndim if image.ndim == 2 else image.shape[2], cv2.COLOR_BGRA2RGB
    )
    return cv2.cvtColor(image, conversion)


def read_depth_m(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A depth image (H, W) float32 in metres, 0 where there is none; shape is the colour image's. Raises InputError."""
    return decode_depth_m(_sized(path, shape), str(path))


def decode_depth_m(image: np.ndarray, where: str = "depth image") -> np.ndarray:
    """Metres (H, W) float32 of a depth image as OpenCV reads it: uint16 millimetres, or 8-bit G * 256 + R."""
    if image.ndim == 3 and image.shape[2] >= 3 and image.dtype == np.uint8:
        depth_mm = image[..., 1].astype(np.uint16) * 256 + image[..., 2]  # OpenCV's order is B G R
    elif image.ndim == 2 and image.dtype == np.uint16:
        depth_mm = image
    else:
        raise InputError(
            f"{where}: {image.dtype} of shape {image.shape}; expected uint16 millimetres in one channel, or 8-bit "
            "G * 256 + R in three"
        )
    return np.where(depth_mm == NO_DEPTH_CODE, 0, depth_mm).astype(np.float32) / np.float32(1000.0)


def read_mask(path: Path, shape: tuple[int, int], background: int = 255) -> np.ndarray:
    """Instance ids (H, W) int32 of a mask image; the file's background value becomes 0. Raises InputError."""
    image = _sized(path, shape)
    ids = (image if image.ndim == 2 else image[..., 2]).astype(np.int32)  # three channels: the red one
    ids[ids == background] = 0
    return ids


def read_nocs_map(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The NOCS map (H, W, 3) float32 in [0, 1], x y z of the object frame. Raises InputError.

    The benchmark's files hold x, y and 1 - z; here z is right again.
    """
    image = _sized(path, shape)
    if image.ndim != 3 or image.dtype != np.uint8:
        raise InputError(f"{path}: {image.dtype} of shape {image.shape}; expected an 8-bit colour image")
    nocs = image[..., 2::-1].astype(np.float32) / np.float32(255.0)
    nocs[..., 2] = 1.0 - nocs[..., 2]
    return nocs


def _sized(path: Path, shape: tuple[int, int]) -> np.ndarray:
    image = _read_image(path)
    if image.shape[:2] != tuple(shape):
        raise InputError(
            f"{path}: {image.shape[1]}x{image.shape[0]} pixels, but the colour image has {shape[1]}x{shape[0]}; "
            "all images of a frame must be registered to one size"
        )
    return image


def _read_image(path: Path) -> np.ndarray:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; the frame needs this file") from error
    # Some OpenCV versions fill a truncated PNG with zeros, which would read as "no depth": look for its last chunk.
    complete = len(data) > 12 and (bytes(data[:4]) != b"\x89PNG" or b"IEND" in bytes(data[-16:]))
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if complete else None
    if image is None:
        raise InputError(f"{path}: truncated or damaged image of {len(data)} bytes; fetch or write it again")
    return image
