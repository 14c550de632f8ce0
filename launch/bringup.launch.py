"""The node on a camera: `ros2 launch mkpose_ros bringup.launch.py camera:=realsense rviz:=true`.

The lifecycle is driven by events, so that a node that is started anew is configured and activated again.
"""

import os

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from mkpose_ros.ros.transport import profile_variable

SHARE = get_package_share_directory("mkpose_ros")
# argument -> the node's topic; an empty argument leaves the camera preset's name
TOPICS = {
    "color": "color/image_raw",
    "color_info": "color/camera_info",
    "depth": "depth/image_raw",
    "depth_info": "depth/camera_info",
    "masks": "masks",
}
# argument -> the node's parameter; an empty argument leaves the params file's value
PARAMETERS = ("segmenter", "segmenter_model", "backend", "model", "classes")
ARGUMENTS = {
    "camera": ("", "Camera preset in config/: realsense, orbbec, zed, kinect; empty: the node's own topic names."),
    "color": ("", "Colour image topic."),
    "color_info": ("", "camera_info topic of the colour camera."),
    "depth": ("", "Depth image topic, registered to the colour image."),
    "depth_info": ("", "camera_info topic of the depth image."),
    "masks": ("", "Label image topic of your own segmenter (segmenter:=outside)."),
    "segmenter": ("", "Where masks come from: auto, openvino, onnxruntime, detectron2, outside."),
    "segmenter_model": ("", "Path of the segmentation model."),
    "backend": ("", "Inference engine of the pose model: auto, openvino, onnxruntime, onnxruntime-cuda, tensorrt."),
    "model": ("", "Pose model: small, base or the path of an ONNX file."),
    "classes": ("", "Categories to detect, separated by commas; empty: all."),
    "namespace": ("", "Namespace of the node and its relative topics."),
    "params_file": (os.path.join(SHARE, "config", "mkpose.yaml"), "Parameters of the node."),
    "use_sim_time": ("false", "Take the time from /clock."),
    "autostart": ("true", "Configure and activate the node."),
    "rviz": ("false", "Open RViz with config/mkpose.rviz."),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    """The node, its lifecycle events and, if wanted, RViz."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    preset = read_preset(given["camera"])
    remaps = {**preset.get("topics", {}), **{TOPICS[name]: given[name] for name in TOPICS if given[name]}}
    parameters = {name: given[name] for name in PARAMETERS if given[name]}
    parameters["use_sim_time"] = given["use_sim_time"].lower() == "true"
    transport = {profile_variable(): os.path.join(SHARE, "config", "fastdds.xml")}
    node = LifecycleNode(
        package="mkpose_ros",
        executable="mkpose_node",
        name="mkpose",
        namespace=given["namespace"],
        parameters=[given["params_file"], preset.get("parameters", {}), parameters],
        remappings=[*remaps.items(), ("diagnostics", "/diagnostics")],
        additional_env=transport,
        respawn=True,
        respawn_delay=5.0,  # longer than the lease in config/fastdds.xml
        output="screen",
    )
    # The handlers must be in place before the node starts.
    actions = [*lifecycle_handlers(node), node] if given["autostart"].lower() == "true" else [node]
    if given["rviz"].lower() == "true":
        config, frame = os.path.join(SHARE, "config", "mkpose.rviz"), preset.get("frame")
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", config, *(["-f", frame] if frame else [])],
                remappings=rviz_remappings(given["namespace"], remaps),
                additional_env=transport,
                respawn=True,
            )
        )
    return actions


def rviz_remappings(namespace: str, remaps: dict) -> list:
    """Moves the topics of config/mkpose.rviz to where a node of this namespace and these remaps has them."""
    root = f"/{namespace.strip('/')}".rstrip("/")
    moved = {f"/{topic}": remaps.get(topic, topic) for topic in TOPICS.values()}
    moved |= {f"/mkpose/{name}": f"mkpose/{name}" for name in ("markers", "overlay", "poses")}
    return [(name, topic if topic.startswith("/") else f"{root}/{topic}") for name, topic in moved.items()]


def lifecycle_handlers(node: LifecycleNode) -> list:
    """Configure the node whenever its process starts, activate it whenever it has been configured."""

    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    return [
        RegisterEventHandler(OnProcessStart(target_action=node, on_start=[change(Transition.TRANSITION_CONFIGURE)])),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state="configuring",
                goal_state="inactive",
                entities=[change(Transition.TRANSITION_ACTIVATE)],
            )
        ),
    ]


def read_preset(camera: str) -> dict:
    """Topics and parameters of config/camera_<camera>.yaml; nothing for an empty name."""
    if not camera:
        return {}
    path = os.path.join(SHARE, "config", f"camera_{camera}.yaml")
    if not os.path.exists(path):
        known = sorted(n[7:-5] for n in os.listdir(os.path.dirname(path)) if n.startswith("camera_"))
        raise ValueError(f"camera preset '{camera}' is unknown: expected one of {', '.join(known)}")
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)
