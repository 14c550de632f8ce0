"""What a ROS distribution may add: transforms; and what a user may bring: masks of their own segmenter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import qos_profile_sensor_data
from rig import HEIGHT, WIDTH, NodeProcess, Rig, header, to_time
from sensor_msgs.msg import Image

from mkpose_ros.ros.images import image_to_msg
from mkpose_ros.ros.outside import Detection2DArray
from mkpose_ros.ros.transforms import tf2_ros

TF_PARAMETERS = ("-p", "autostart:=true", "-p", "publish_tf:=true", "-p", "world_frame:=map")


@pytest.fixture
def start():
    """start(*arguments) -> (process, connected rig)."""
    started = []

    def start(*arguments):
        started.append((NodeProcess(*arguments), Rig()))
        started[-1][1].connect()
        return started[-1]

    yield start
    for process, rig in started:
        rig.close()
        assert process.stop() == 0, process.log


def test_transforms_that_fail_or_are_missing_cost_no_detection(start, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_tf2"), prepend=":")
    process, rig = start(*TF_PARAMETERS)
    assert len(rig.detect(2).objects) == 2
    assert len(rig.detect(2).objects) == 2
    rig.until(lambda: "sent ['mug_0', 'bottle_1']" in process.log, 5)
    assert "the broadcaster failed" in process.log
    assert "no transform from camera_color_optical_frame to map (would extrapolate)" in process.log
    rig.until(lambda: rig.change_state("deactivate") and rig.change_state("cleanup"), 10)
    assert "unregistered" in process.log


@pytest.mark.skipif(tf2_ros is not None, reason="tf2_ros is installed")
def test_transforms_without_tf2_are_said_to_be_missing(start):
    process, rig = start(*TF_PARAMETERS)
    assert rig.detect().objects
    assert "tf2_ros is not installed" in process.log


def test_masks_of_the_users_own_segmenter_are_paired_with_the_frame(start):
    process, rig = start("-p", "autostart:=true", "-p", "segmenter:=outside", "-p", "mask_classes:='bowl, mug'")
    masks = rig.node.create_publisher(Image, "masks", qos_profile_sensor_data)
    rig.until(masks.get_subscription_count, 10)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[20:40, 20:40] = 1 * 256 + 0  # the first bowl
    labels[20:40, 60:80] = 2 * 256 + 1  # a mug
    labels[60:80, 60:80] = 9 * 256  # no such class

    def detected():
        stamp = rig.now_ns()
        message = image_to_msg(labels, "mono16", header())
        message.header.stamp = to_time(stamp)
        masks.publish(message)
        rig.send(0, stamp_ns=stamp)
        rig.spin(0.2)
        return rig.result_of(stamp)

    message = rig.until(detected, 10)
    assert sorted(o.category for o in message.objects) == ["bowl", "mug"]
    (bowl,) = (o for o in message.objects if o.category == "bowl")
    assert (bowl.box_x0, bowl.box_y0, bowl.box_x1, bowl.box_y1) == (20, 20, 40, 40)
    assert "Traceback" not in process.log


@pytest.mark.skipif(Detection2DArray is None, reason="vision_msgs is not installed")
def test_detections_of_the_users_own_segmenter_name_its_masks(start):
    from vision_msgs.msg import Detection2D, ObjectHypothesis, ObjectHypothesisWithPose

    _, rig = start("-p", "autostart:=true", "-p", "segmenter:=outside")
    masks = rig.node.create_publisher(Image, "masks", qos_profile_sensor_data)
    names = rig.node.create_publisher(Detection2DArray, "mask_detections", qos_profile_sensor_data)
    rig.until(lambda: masks.get_subscription_count() and names.get_subscription_count(), 10)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[20:40, 20:40] = 5
    hypothesis = ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id="bowl", score=0.75))

    def detected():
        stamp = rig.now_ns()
        image = image_to_msg(labels, "mono16", header())
        named = Detection2DArray(header=header(), detections=[Detection2D(id="5", results=[hypothesis])])
        image.header.stamp = named.header.stamp = to_time(stamp)
        masks.publish(image)
        names.publish(named)
        rig.send(0, stamp_ns=stamp)
        rig.spin(0.2)
        return rig.result_of(stamp)

    message = rig.until(detected, 10)
    (bowl,) = message.objects
    assert (bowl.category, bowl.score) == ("bowl", 0.75)
    assert (bowl.box_x0, bowl.box_y0, bowl.box_x1, bowl.box_y1) == (20, 20, 40, 40)
