"""The node on the shipped recording: `ros2 launch mkpose_ros demo.launch.py rviz:=true`."""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from mkpose_ros.ros.transport import profile_variable


def generate_launch_description() -> LaunchDescription:
    share = get_package_share_directory("mkpose_ros")
    arguments = [
        DeclareLaunchArgument(
            "recording", default_value="", description="Folder of a recording; empty: the shipped one."
        ),
        DeclareLaunchArgument("rate", default_value="0.0", description="Frames per second; 0: as recorded."),
        DeclareLaunchArgument("rviz", default_value="false", description="Open RViz."),
    ]
    camera = Node(
        package="mkpose_ros",
        executable="mkpose_demo_camera",
        name="demo_camera",
        output="screen",
        parameters=[
            {
                "recording": ParameterValue(LaunchConfiguration("recording"), value_type=str),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
            }
        ],
        additional_env={profile_variable(): os.path.join(share, "config", "fastdds.xml")},
        respawn=True,
        respawn_delay=2.0,
    )
    bringup = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(share, "launch", "bringup.launch.py")),
        launch_arguments={"rviz": LaunchConfiguration("rviz")}.items(),
    )
    return LaunchDescription([*arguments, camera, bringup])
