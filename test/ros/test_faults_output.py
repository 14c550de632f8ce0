"""Objects that are none, too many, wrong or fail, and subscribers that come, go and ask for too much."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseArray
from mkpose_ros.msg import ObjectPoseArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rig import color_msg, stamp_of
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture
def listen(rig):
    """(type, topic) -> list of messages, subscribed while the test runs."""
    subscriptions = []

    def listen(message_type, topic, qos=10):
        messages = []
        subscriptions.append(rig.node.create_subscription(message_type, f"/mkpose/{topic}", messages.append, qos))
        rig.spin(0.3)
        return messages

    yield listen
    for subscription in subscriptions:
        rig.node.destroy_subscription(subscription)


def test_a_frame_gives_its_objects_with_the_header_of_the_colour_image(rig):
    message = rig.detect(3)
    assert [o.category for o in message.objects] == ["mug", "bottle", "bowl"]
    assert message.header.frame_id == "camera_color_optical_frame"
    for o in message.objects:
        assert o.header == message.header
        assert o.pose.pose.position.z == pytest.approx(0.8)


def test_no_object_gives_an_empty_array_and_deleteall(rig, listen):
    markers = listen(MarkerArray, "markers")
    assert rig.detect(0).objects == []
    rig.until(lambda: markers, 5)
    assert [m.action for m in markers[-1].markers] == [Marker.DELETEALL]


def test_markers_start_with_deleteall_and_name_each_object(rig, listen):
    markers = listen(MarkerArray, "markers")
    message = rig.detect(3)
    rig.until(lambda: markers, 5)
    first, *rest = markers[-1].markers
    assert first.action == Marker.DELETEALL
    assert {m.ns for m in rest} == {"box", "axes", "label", "symmetry"}
    assert sum(m.ns == "symmetry" for m in rest) == 2  # bottle and bowl, not the mug
    assert all(m.header == message.header for m in markers[-1].markers)
    assert len({(m.ns, m.id) for m in rest}) == len(rest)


def test_poses_and_overlay_carry_the_header_of_the_detections(rig, listen):
    poses, overlay = listen(PoseArray, "poses"), listen(Image, "overlay")
    message = rig.detect(2)
    rig.until(lambda: poses and overlay, 5)
    assert poses[-1].header == overlay[-1].header == message.header
    assert poses[-1].poses == [o.pose.pose for o in message.objects]
    drawn = np.frombuffer(overlay[-1].data, np.uint8).reshape(overlay[-1].height, overlay[-1].width, 3)
    assert (drawn != np.frombuffer(color_msg(2).data, np.uint8).reshape(drawn.shape)).any()


@pytest.mark.parametrize("n", [1, 16, 17, 100])
def test_any_number_of_objects_is_capped_by_score(rig, n):
    objects = rig.detect(n).objects
    assert len(objects) == min(n, 16)
    scores = [o.score for o in objects]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(0.99)


def test_an_instance_with_too_few_points_is_dropped_and_counted(rig, node):
    assert rig.detect(3, "tiny").objects == []


def test_overlapping_masks_at_the_border_do_no_harm(rig):
    rig.detect(4, "overlap")
    assert rig.detect(1).objects


@pytest.mark.parametrize("fault", ["nan", "skewed", "negative_size"])
def test_an_invalid_pose_is_dropped_and_counted_and_the_others_stay(rig, fault):
    before = rig.counter("objects_invalid")
    assert [o.category for o in rig.detect(3, fault).objects] == ["bottle", "bowl"]
    assert rig.counter("objects_invalid") > before


def test_an_unknown_category_is_skipped(rig):
    assert [o.category for o in rig.detect(3, "unknown").objects] == ["bottle", "bowl"]


def test_a_frame_that_the_engine_loses_is_counted_and_the_next_one_is_processed(rig, node):
    before = rig.counter("pipeline_errors")
    rig.send(1, "engine")
    rig.until(lambda: rig.counter("pipeline_errors") > before, 5)
    assert "EngineError" in node.log
    assert rig.detect().objects


def test_lazy_topics_stop_when_their_subscriber_leaves(rig):
    images = []
    subscription = rig.node.create_subscription(Image, "/mkpose/overlay", images.append, 10)
    rig.spin(0.3)
    rig.detect()
    rig.until(lambda: images, 5)
    rig.node.destroy_subscription(subscription)
    rig.spin(0.3)
    images.clear()
    rig.detect()
    rig.spin(0.2)
    assert images == []


def test_a_late_subscriber_gets_the_last_detections_when_it_asks_for_them(rig, listen):
    last = stamp_of(rig.detect())
    late = listen(ObjectPoseArray, "detections", LATCHED)
    rig.until(lambda: late, 5)
    assert stamp_of(late[0]) == last


def test_a_subscriber_with_an_incompatible_qos_is_reported_with_the_topic(rig, node, listen):
    listen(PoseArray, "poses", LATCHED)
    rig.until(lambda: "/mkpose/poses: a subscriber asks for a QoS that is not offered (DURABILITY" in node.log, 5)


def test_a_frame_tells_how_long_its_stages_took(rig):
    message = rig.detect(2, delay_s=0.05)
    stages = {s.name: s.duration_ms for s in message.stages}
    assert {"wait", "convert", "segmentation", "crops", "engine", "poses", "tracking"} <= set(stages)
    assert stages["segmentation"] >= 50
    assert message.latency_ms >= sum(stages.values()) - 1


def test_z_up_and_nocs_name_the_same_box(rig):
    z_up = rig.detect(1).objects[0]
    assert rig.set(object_frame="nocs")[0]
    nocs = rig.detect(1).objects[0]
    assert rig.set(object_frame="z_up")[0]
    assert (z_up.object_frame, nocs.object_frame) == (0, 1)
    assert z_up.pose.pose.position == nocs.pose.pose.position
    assert (nocs.size.x, nocs.size.y, nocs.size.z) == (z_up.size.x, z_up.size.z, z_up.size.y)
