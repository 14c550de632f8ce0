"""The environment that DDS and the ament index read when a process starts to speak ROS."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from mkpose_ros.resources import share_path

__all__ = ["PROFILE_VARIABLES", "profile_variable", "use_shipped_transport"]

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")  # Kilted; Jazzy, Humble
_KILTED = 9  # the major version of its rclpy


def profile_variable() -> str:
    """The variable from which the installed distribution's Fast DDS reads its profiles; Kilted warns of the old one."""
    new, old = PROFILE_VARIABLES
    return new if int(version("rclpy").split(".")[0]) >= _KILTED else old


def use_shipped_transport() -> None:
    """Give Fast DDS shared memory that holds an image, and ament its prefix, unless the user chose already.

    Call it before rclpy.init; child processes inherit it.
    """
    if not any(name in os.environ for name in PROFILE_VARIABLES):
        os.environ[profile_variable()] = str(share_path("config", "fastdds.xml"))
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
