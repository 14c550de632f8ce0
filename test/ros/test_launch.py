"""bringup.launch.py under the real launch_ros, with the stub node as the installed executable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rig import HERE, Rig

from mkpose_ros.ros.transport import profile_variable

pytest.importorskip("launch_ros", reason="launch_ros is not installed")
ROOT = HERE.parents[1]
LAUNCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = dict(word.split(":=", 1) for word in sys.argv[2:])
service = LaunchService()
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments.items())])
)
sys.exit(service.run())
"""


@pytest.fixture
def prefix(tmp_path, monkeypatch) -> Path:
    """An install prefix that holds this checkout's files and the stub node."""
    share, programs = tmp_path / "share" / "mkpose_ros", tmp_path / "lib" / "mkpose_ros"
    share.mkdir(parents=True)
    programs.mkdir(parents=True)
    for name in ("config", "launch", "package.xml"):
        (share / name).symlink_to(ROOT / name)
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "mkpose_ros").touch()
    node = programs / "mkpose_node"
    node.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "stub_node.py"} "$@"\n')
    node.chmod(0o755)
    paths = [str(tmp_path), *filter(None, os.environ.get("AMENT_PREFIX_PATH", sys.prefix).split(os.pathsep))]
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(paths))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    return tmp_path


def launch(prefix: Path, *arguments: str) -> subprocess.Popen:
    file = prefix / "share" / "mkpose_ros" / "launch" / "bringup.launch.py"
    return subprocess.Popen([sys.executable, "-c", LAUNCH, str(file), *arguments])


def test_bringup_activates_the_node_and_again_after_it_was_killed(prefix, monkeypatch):
    # This side of the discovery too: a killed node's name must expire here before it is waited for again.
    monkeypatch.setenv(profile_variable(), str(ROOT / "config" / "fastdds.xml"))
    process = launch(prefix, "classes:=bowl", "color:=/cam/rgb", "depth:=depth/image_raw")
    rig = Rig()
    try:
        rig.until(lambda: rig.node.count_subscribers("/cam/rgb"), 30, "the remapped topic")
        assert rig.state() == "active"
        rig.until(lambda: rig.diagnostics, 5)
        (node,) = psutil.Process(process.pid).children()
        node.kill()
        rig.until(lambda: not rig.node.count_subscribers("/cam/rgb"), 15, "the end of the killed node")
        rig.until(lambda: rig.node.count_subscribers("/cam/rgb"), 40, "the node that was started anew")
    finally:
        rig.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_an_unknown_camera_is_refused_naming_those_known(prefix, capfd):
    process = launch(prefix, "camera:=webcam")
    assert process.wait(60) != 0
    assert "expected one of kinect, orbbec, realsense, zed" in "".join(capfd.readouterr())
