"""Faulty cameras against the real node: it refuses what is wrong with a sentence, counts it, and goes on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rig import HEIGHT, WIDTH, color_image, color_msg, depth_image, depth_msg, header, info_msg
from sensor_msgs.msg import RegionOfInterest

from mkpose_ros.ros.images import image_to_msg


def positions(message):
    return [(o.pose.pose.position.x, o.pose.pose.position.y, o.pose.pose.position.z) for o in message.objects]


def assert_refused(rig, node, text, **messages):
    """The frame gives no detections but a log line and a count, and the next good frame is processed."""
    before = rig.counter("rejected")
    sent = []

    def refused():
        sent.append(rig.send(**messages))
        # Frames of an earlier test may still be refused on a busy machine: the sentence must be this one's.
        return rig.counter("rejected") > before and text in rig.status("detection").message

    rig.until(refused, 10, f"rejection of: {text}")
    assert rig.result_of(sent[-1]) is None
    assert rig.detect(2).objects


def test_without_camera_info_it_warns_naming_the_topic_and_starts_when_one_comes(rig, node):
    assert rig.set(stream_timeout=0.3)[0]
    assert rig.change_state("deactivate")
    assert rig.change_state("activate")
    rig.connect()

    def warned():
        rig.send(with_info=False)
        status = rig.status("input")
        return status is not None and status.level == DiagnosticStatus.WARN and "camera_info" in status.message

    rig.until(warned, 10, "a warning that names the topic")
    assert "/color/camera_info: no message yet" in node.log
    assert rig.detect().objects
    assert rig.set(stream_timeout=2.0)[0]


def test_a_frame_that_waits_for_the_first_camera_info_is_not_lost(rig):
    assert rig.change_state("deactivate")
    assert rig.change_state("activate")
    rig.connect()
    stamp = rig.send(with_info=False)
    rig.spin(0.1)
    info = info_msg()
    rig.info.publish(info)
    rig.until(lambda: rig.result_of(stamp), 5, "the waiting frame's result")


@pytest.mark.parametrize(("index", "value"), [(0, 0.0), (4, -150.0), (8, 2.0), (2, float("nan"))])
def test_a_broken_camera_matrix_is_refused(rig, node, index, value):
    info = info_msg()
    info.k[index] = value
    assert_refused(rig, node, "expected finite numbers, positive focal lengths", info=info)


def test_a_changed_camera_matrix_is_used_from_the_next_frame_and_logged_once(rig, node):
    before = positions(rig.detect())
    n_logged = node.log.count("the camera matrix changed")
    wide = [rig.detect(info=info_msg(f=75.0)) for _ in range(3)]
    assert positions(wide[-1])[0][0] == pytest.approx(2 * before[0][0])
    assert node.log.count("the camera matrix changed") <= n_logged + 1
    assert "the camera matrix changed" in node.log
    assert positions(rig.detect()) == before


def test_distortion_is_warned_of_once(rig, node):
    info = info_msg()
    info.d = [0.1, -0.2, 0.0, 0.0, 0.0]
    for _ in range(3):
        rig.detect(info=info)
    assert node.log.count("lens distortion") == 1


def test_a_camera_info_of_another_size_is_refused_and_a_binned_or_cut_one_follows(rig, node):
    assert_refused(rig, node, "is for 320x240 pixels", info=info_msg(320, 240))
    plain = positions(rig.detect())
    binned = info_msg(2 * WIDTH, 2 * HEIGHT, f=300.0, binning_x=2, binning_y=2)
    np.testing.assert_allclose(positions(rig.detect(info=binned)), plain, atol=2e-3)
    cut = info_msg(WIDTH + 40, HEIGHT + 20)
    cut.k[2], cut.k[5] = cut.k[2] - 20 + 30, cut.k[5] - 10 + 20  # the window's centre, seen from the sensor's corner
    cut.roi = RegionOfInterest(x_offset=30, y_offset=20, width=WIDTH, height=HEIGHT)
    np.testing.assert_allclose(positions(rig.detect(info=cut)), plain, atol=2e-3)


def test_sizes_that_differ_are_refused_with_both(rig, node):
    small = image_to_msg(depth_image()[::2, ::2], "16UC1", header())
    assert_refused(rig, node, "depth image has 80x60 pixels, the colour image 160x120", depth=small)


def test_depth_of_another_frame_id_is_refused_until_accepted(rig, node):
    depth = depth_msg()
    depth.header.frame_id = "camera_depth_optical_frame"
    assert_refused(rig, node, "camera_depth_optical_frame", depth=depth)
    assert rig.set(unregistered_depth="accept")[0]
    assert rig.detect(depth=depth).objects
    assert rig.set(unregistered_depth="refuse")[0]


def test_unregistered_depth_is_refused_until_it_may_be_registered(rig, node):
    plain = positions(rig.detect())
    other = info_msg(f=140.0)
    before = rig.counter("rejected")
    rig.until(lambda: (rig.depth_info.publish(other), rig.send(), rig.counter("rejected") > before)[2], 10, "rejection")
    assert "differs from the colour camera's by up to 10.0 pixels" in rig.status("detection").message
    assert rig.set(unregistered_depth="register")[0]
    np.testing.assert_allclose(positions(rig.detect()), plain, atol=1e-3)
    assert rig.set(unregistered_depth="refuse")[0]
    start = len(rig.detections)
    rig.until(lambda: (rig.depth_info.publish(info_msg()), rig.send(), len(rig.detections) > start)[2], 10)


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf, -np.inf, -1.0])
def test_depth_without_a_measurement_gives_an_empty_array(rig, value):
    depth = image_to_msg(np.full((HEIGHT, WIDTH), value, np.float32), "32FC1", header())
    assert rig.detect(3, depth=depth).objects == []


def test_saturated_depth_gives_an_empty_array(rig):
    depth = image_to_msg(np.full((HEIGHT, WIDTH), 65535, np.uint16), "16UC1", header())
    assert rig.detect(3, depth=depth).objects == []


def test_millimetres_and_metres_give_identical_poses(rig):
    scene = depth_image(0.777)
    metres = image_to_msg((scene / 1000.0).astype(np.float32), "32FC1", header())
    millimetres = image_to_msg(scene, "16UC1", header())
    assert positions(rig.detect(3, depth=metres)) == positions(rig.detect(3, depth=millimetres))


@pytest.mark.parametrize(
    ("encoding", "image"),
    [
        ("bgr8", color_image(2)[..., ::-1]),
        ("bgra8", cv2.cvtColor(color_image(2), cv2.COLOR_RGB2BGRA)),
        ("mono8", color_image(2)[..., 0]),
        ("bayer_rggb8", color_image(2)[..., 0]),
    ],
)
def test_other_encodings_are_converted(rig, encoding, image):
    assert len(rig.detect(color=image_to_msg(image, encoding, header())).objects) == 2


def test_yuv_is_converted(rig):
    image = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
    image[..., 1] = 16 + np.round(color_image(2)[..., 0] / 1.164).astype(np.uint8)
    assert len(rig.detect(color=image_to_msg(image, "yuv422", header())).objects) == 2


def test_an_unknown_encoding_is_refused_naming_those_supported(rig, node):
    assert_refused(rig, node, "rgb8, bgr8", color=image_to_msg(color_image()[..., 0], "h264", header()))


def test_big_endian_and_padded_images_are_read_right(rig):
    plain = positions(rig.detect(2))
    swapped = image_to_msg(depth_image().byteswap(), "16UC1", header())
    swapped.is_bigendian = 1
    padded = np.hstack([color_image(2).reshape(HEIGHT, -1), np.full((HEIGHT, 40), 9, np.uint8)])
    color = image_to_msg(padded, "rgb8", header())
    color.width = WIDTH
    assert positions(rig.detect(color=color, depth=swapped)) == plain


def test_truncated_data_is_refused(rig, node):
    color = color_msg()
    color.data = color.data[:-100]
    assert_refused(rig, node, "the message is truncated", color=color)
    depth = depth_msg()
    depth.data = depth.data[:10]
    assert_refused(rig, node, "the message is truncated", depth=depth)
