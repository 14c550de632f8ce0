"""Images of every encoding, byte order and padding become the same arrays; damaged ones are refused."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mkpose_ros.errors import InputError
from mkpose_ros.ros.images import color_from_msg, depth_from_msg, image_to_msg, labels_from_msg

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
GRAY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
DEPTH_MM = RNG.integers(300, 4000, (12, 16), dtype=np.uint16)


def msg(image: np.ndarray, encoding: str) -> Image:
    return image_to_msg(image, encoding, Header())


@pytest.mark.parametrize(
    ("encoding", "image", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("8UC3", RGB[..., ::-1], RGB),
        ("rgba8", np.dstack([RGB, GRAY]), RGB),
        ("bgra8", np.dstack([RGB[..., ::-1], GRAY]), RGB),
        ("mono8", GRAY, np.dstack([GRAY] * 3)),
        ("mono16", GRAY.astype(np.uint16) * 256 + 7, np.dstack([GRAY] * 3)),
        ("rgb16", RGB.astype(np.uint16) * 256 + 7, RGB),
        ("bgr16", RGB[..., ::-1].astype(np.uint16) * 256, RGB),
    ],
)
def test_colour_encodings_give_the_same_rgb(encoding, image, expected):
    np.testing.assert_array_equal(color_from_msg(msg(image, encoding)), expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_image_of_one_colour_gives_that_colour(pattern):
    color = {"r": 200, "g": 120, "b": 40}
    mosaic = np.tile(np.array([[color[c] for c in pattern[:2]], [color[c] for c in pattern[2:]]], np.uint8), (6, 8))
    rgb = color_from_msg(msg(mosaic, f"bayer_{pattern}8"))
    np.testing.assert_array_equal(rgb[6, 8], [200, 120, 40])


@pytest.mark.parametrize(("encoding", "luma"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)])
def test_yuv_of_a_grey_image_is_grey(encoding, luma):
    image = np.full((12, 16, 2), 128, np.uint8)
    image[..., luma] = 126
    np.testing.assert_allclose(color_from_msg(msg(image, encoding)), 128, atol=1)


def test_an_unknown_encoding_is_refused_with_the_supported_ones():
    with pytest.raises(InputError, match=r"'jpeg'.*rgb8, bgr8"):
        color_from_msg(msg(GRAY, "jpeg"))
    with pytest.raises(InputError, match=r"'rgb8'.*16UC1, mono16, 32FC1"):
        depth_from_msg(msg(RGB, "rgb8"), 0.1, 10.0)


def test_millimetres_and_metres_of_one_scene_are_identical():
    mm = depth_from_msg(msg(DEPTH_MM, "16UC1"), 0.1, 10.0)
    metres = depth_from_msg(msg((DEPTH_MM / 1000.0).astype(np.float32), "32FC1"), 0.1, 10.0)
    np.testing.assert_array_equal(mm, metres)
    assert mm.dtype == np.float32


def test_every_millimetre_value_equals_its_metres():
    mm = np.arange(100, 65535, dtype=np.uint16)[None]
    metres = depth_from_msg(msg((mm / 1000.0).astype(np.float32), "32FC1"), 0.1, 100.0)
    np.testing.assert_array_equal(depth_from_msg(msg(mm, "16UC1"), 0.1, 100.0), metres)


def test_invalid_depth_becomes_zero():
    bad = np.array([[0.0, np.nan, np.inf, -np.inf, -1.0, 0.01, 11.0, 1.5]], np.float32)
    np.testing.assert_array_equal(depth_from_msg(msg(bad, "32FC1"), 0.1, 10.0), [[0, 0, 0, 0, 0, 0, 0, 1.5]])
    saturated = np.array([[0, 65535, 1500]], np.uint16)
    np.testing.assert_array_equal(depth_from_msg(msg(saturated, "16UC1"), 0.1, 100.0), [[0, 0, 1.5]])


def test_big_endian_depth_is_read_right():
    message = msg(DEPTH_MM.byteswap(), "16UC1")
    message.is_bigendian = 1
    np.testing.assert_array_equal(depth_from_msg(message, 0.1, 10.0), depth_from_msg(msg(DEPTH_MM, "16UC1"), 0.1, 10.0))


@pytest.mark.parametrize("padding", [1, 6, 64])
def test_padded_rows_are_honoured(padding):
    padded = np.hstack([RGB.reshape(12, -1), np.full((12, padding), 99, np.uint8)])
    message = msg(RGB, "rgb8")
    message.step, message.data = padded.shape[1], array("B", padded.tobytes())
    np.testing.assert_array_equal(color_from_msg(message), RGB)
    depth = np.hstack([DEPTH_MM.view(np.uint8), np.full((12, padding), 99, np.uint8)])
    message = msg(DEPTH_MM, "16UC1")
    message.step, message.data = depth.shape[1], array("B", depth.tobytes())
    np.testing.assert_array_equal(depth_from_msg(message, 0.1, 10.0), depth_from_msg(msg(DEPTH_MM, "16UC1"), 0.1, 10.0))


def test_truncated_empty_and_narrow_messages_are_refused_with_numbers():
    truncated = msg(RGB, "rgb8")
    truncated.data = truncated.data[:-1]
    with pytest.raises(InputError, match=r"575 bytes.*576"):
        color_from_msg(truncated)
    narrow = msg(RGB, "rgb8")
    narrow.step = 47
    with pytest.raises(InputError, match=r"step of 47 bytes.*at least 48"):
        color_from_msg(narrow)
    with pytest.raises(InputError, match="0x0 pixels"):
        color_from_msg(Image(encoding="rgb8"))


@pytest.mark.parametrize(("encoding", "dtype"), [("rgb8", np.uint8), ("16UC1", np.uint16), ("32FC1", np.float32)])
def test_an_image_survives_the_way_into_a_message_and_back(encoding, dtype):
    image = RGB if encoding == "rgb8" else DEPTH_MM.astype(dtype)
    message = msg(image[:, ::2], encoding)  # not contiguous
    assert message.step == image[:, ::2].size * image.itemsize // 12
    np.testing.assert_array_equal(np.frombuffer(message.data, dtype).reshape(image[:, ::2].shape), image[:, ::2])


def test_label_images_keep_their_numbers():
    labels = np.array([[0, 257], [513, 3]], np.uint16)
    np.testing.assert_array_equal(labels_from_msg(msg(labels, "mono16")), labels)
    with pytest.raises(InputError, match="mono8"):
        labels_from_msg(msg(RGB, "rgb8"))
