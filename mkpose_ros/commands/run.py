"""`mkpose run`: the node without launch."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click
import yaml

from mkpose_ros.errors import DependencyError, InputError
from mkpose_ros.resources import share_path

__all__ = ["run"]

CAMERAS = ("realsense", "orbbec", "zed", "kinect")


@click.command(context_settings={"show_default": True})
@click.option("--camera", type=click.Choice(CAMERAS), default=None, help="Topic names and depth range of a camera.")
@click.option(
    "--params-file", type=click.Path(exists=True, dir_okay=False), default=None, help="ROS parameters (YAML)."
)
@click.option("--namespace", default="", help="Namespace of the node and its relative topics.")
@click.option("-p", "--param", "params", metavar="NAME:=VALUE", multiple=True, help="A parameter; may be repeated.")
@click.option("-r", "--remap", "remaps", metavar="FROM:=TO", multiple=True, help="A remapping; may be repeated.")
@click.option("--autostart/--no-autostart", default=True, help="Configure and activate by itself.")
def run(
    camera: str | None,
    params_file: str | None,
    namespace: str,
    params: tuple[str, ...],
    remaps: tuple[str, ...],
    autostart: bool,
) -> None:
    """Run the node until Ctrl-C: RGB-D topics in, /mkpose/detections out.

    Example: mkpose run --camera realsense -p classes:=mug,bottle
    """
    arguments = ["--ros-args"]
    if params_file:
        arguments += ["--params-file", params_file]
    if camera:
        arguments += preset_arguments(share_path("config", f"camera_{camera}.yaml"))
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace.strip('/')}"]
    for flag, texts in (("-r", remaps), ("-p", params)):
        for text in texts:
            if ":=" not in text:
                raise InputError(f"{flag} {text}: expected two names with := between them")
            arguments += [flag, text]
    arguments += ["-p", f"autostart:={str(autostart).lower()}"]
    sys.exit(start_node(arguments))


def preset_arguments(path: Path) -> list[str]:
    """A camera preset's topics and parameters as ROS arguments."""
    preset = yaml.safe_load(path.read_text(encoding="utf-8"))
    remaps = [["-r", f"{name}:={topic}"] for name, topic in preset["topics"].items()]
    values = [["-p", f"{name}:={value}"] for name, value in preset["parameters"].items()]
    return [word for pair in (*remaps, *values) for word in pair]


def start_node(arguments: list[str]) -> int:
    """The node in this process, with a transport that holds an image; returns its exit status."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))  # until the node handles it: nothing is running yet
    try:
        from mkpose_ros.ros.transport import use_shipped_transport

        use_shipped_transport()
        from mkpose_ros.ros.node import main
    except ImportError as error:
        raise DependencyError(
            f"the node needs ROS 2: {error}; `pip install mkpose_ros` brings it, or source a ROS distribution"
        ) from error
    return main(["mkpose_node", *arguments])
