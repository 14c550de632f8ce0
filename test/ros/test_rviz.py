"""config/mkpose.rviz against a real node: what RViz subscribes to is there, of its type and of a QoS that fits."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.qos import ReliabilityPolicy
from rig import HERE, Rig
from std_msgs.msg import Header

from mkpose_ros.categories import load_categories
from mkpose_ros.recording import read_recording
from mkpose_ros.resources import share_path
from mkpose_ros.ros.demo_camera import DemoCamera, default_recording
from mkpose_ros.ros.markers import markers_msg
from mkpose_ros.types import ObjectPose

CONFIG = yaml.safe_load(share_path("config", "mkpose.rviz").read_text())["Visualization Manager"]
DISPLAYS = {display["Class"].split("/")[1]: display for display in CONFIG["Displays"]}
TYPES = {  # what a display of rviz_default_plugins shows
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "Image": "sensor_msgs/msg/Image",
    "PoseArray": "geometry_msgs/msg/PoseArray",
}


COMMON = {"Class", "Enabled", "Name", "Value"}
PROPERTIES = {  # their names in rviz_default_plugins' sources; RViz passes over any other in silence
    "MarkerArray": {"Namespaces", "Topic"},
    "Image": {"Max Value", "Median window", "Min Value", "Normalize Range", "Topic"},
    "PoseArray": {"Alpha", "Arrow Length", "Axes Length", "Axes Radius", "Color", "Shape", "Topic"},
    "DepthCloud": {
        *("Depth Map Topic", "Depth Map Transport Hint", "Color Image Topic", "Color Transport Hint"),
        *("Auto Size", "Occlusion Compensation", "Queue Size", "Reliability Policy", "Topic Filter"),
        *("Alpha", "Color Transformer", "Decay Time", "Position Transformer", "Selectable", "Size (m)", "Style"),
    },
    "Orbit": {"Distance", "Focal Point", "Invert Z Axis", "Near Clip Distance", "Pitch", "Target Frame", "Yaw"},
}


def test_rviz_knows_every_property_of_the_file():
    view = CONFIG["Views"]["Current"]
    for kind, section in {**DISPLAYS, view["Class"].split("/")[1]: view}.items():
        assert set(section) - COMMON <= PROPERTIES[kind], kind


@pytest.mark.parametrize("kind", TYPES)
def test_each_display_of_a_result_hears_the_node(rig: Rig, kind: str):
    topic = DISPLAYS[kind]["Topic"]
    (offer,) = rig.until(lambda: rig.node.get_publishers_info_by_topic(topic["Value"]), 10, topic["Value"])
    assert offer.topic_type == TYPES[kind]
    # A best-effort publisher would never reach a reliable display; volatile displays take every durability.
    assert topic["Durability Policy"] == "Volatile"
    assert topic["Reliability Policy"] == "Best Effort" or offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE


@pytest.mark.parametrize("key", ["Color Image Topic", "Depth Map Topic"])
def test_the_cloud_shows_what_the_node_sees(rig: Rig, key: str):
    rig.until(lambda: rig.node.count_subscribers(DISPLAYS["DepthCloud"][key]), 10, key)
    assert DISPLAYS["DepthCloud"]["Reliability Policy"] == "Best effort"  # takes reliable and best-effort cameras


def test_the_demo_camera_sends_all_that_the_cloud_needs(domain: None):
    context = rclpy.Context()
    rclpy.init(context=context)
    camera = DemoCamera(frames=1, paced_by_hand=True, context=context)
    cloud = DISPLAYS["DepthCloud"]
    info = cloud["Depth Map Topic"].rpartition("/")[0] + "/camera_info"  # image_transport's rule
    assert all(camera.count_publishers(topic) for topic in (cloud["Depth Map Topic"], cloud["Color Image Topic"], info))
    camera.destroy_node()
    context.shutdown()


def test_every_kind_of_marker_is_switched_on():
    T = np.eye(4)
    T[2, 3] = 1.0
    bottle = load_categories()["bottle"].symmetry
    pose = ObjectPose("bottle", 0.9, T, np.full(3, 0.1), np.eye(6), bottle, np.zeros(4), np.zeros((0, 3)))
    namespaces = {marker.ns for marker in markers_msg(Header(), [pose]).markers if marker.ns}
    assert namespaces == {name for name, on in DISPLAYS["MarkerArray"]["Namespaces"].items() if on}


def test_the_fixed_frame_is_that_of_the_recording():
    recorded = next(iter(read_recording(default_recording())))
    assert CONFIG["Global Options"]["Fixed Frame"] == recorded.frame.frame_id


def test_the_view_follows_the_fixed_frame_of_a_cameras_preset():
    assert CONFIG["Views"]["Current"]["Target Frame"] == "<Fixed Frame>"


def test_rviz_follows_the_nodes_namespace_and_camera(monkeypatch):
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    monkeypatch.setattr("ament_index_python.packages.get_package_share_directory", lambda _: str(HERE.parents[1]))
    bringup = runpy.run_path(str(HERE.parents[1] / "launch" / "bringup.launch.py"))
    moved = dict(bringup["rviz_remappings"]("arm", bringup["read_preset"]("zed")["topics"]))
    used = [display["Topic"]["Value"] for display in DISPLAYS.values() if "Topic" in display]
    assert [moved[topic] for topic in used] == [f"/arm{topic}" for topic in used]
    assert moved[DISPLAYS["DepthCloud"]["Color Image Topic"]] == "/zed/zed_node/rgb/image_rect_color"
    assert dict(bringup["rviz_remappings"]("", {}))["/mkpose/markers"] == "/mkpose/markers"
