"""`mkpose bench node`: what the node adds to its networks."""

from __future__ import annotations

import os
from array import array
from typing import Any

import click
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rich.console import Console
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mkpose_ros.bench.bare_node import CATEGORIES, OBJECT_PX, object_corners
from mkpose_ros.bench.load import Load, own_context, run_load
from mkpose_ros.bench.timing import timing_row
from mkpose_ros.commands.options import common_options, write_json
from mkpose_ros.errors import MkposeError
from mkpose_ros.ros import qos
from mkpose_ros.ros.images import image_to_msg
from mkpose_ros.ros.transport import use_shipped_transport

__all__ = ["bench_node", "load_row", "node", "own_ms", "show_load"]

WIDTH, HEIGHT = 640, 480
NETWORKS = ("segmentation", "engine")  # the stages that `bench node` leaves out


def bench_node(*, frames: int = 300, rate_hz: float = 30.0, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of the node without networks, five objects, 640x480; rows carry `lost`, `skipped` and `ready_s` too.

    "in to out": arrival of the last of the three messages to publication, without segmentation and engine.
    "sent to received": the last message sent to the detections received, in the process of the bench.
    """
    use_shipped_transport()
    context = own_context()
    camera = rclpy.create_node("bench_camera", context=context)
    try:
        publish = _still_camera(camera, np.random.default_rng(seed))
        load = run_load(
            "mkpose_ros.bench.bare_node", camera, publish, rate_hz=rate_hz, frames=frames, parameters=["max_age:=0.0"]
        )
    finally:
        camera.destroy_node()
        context.try_shutdown()
    inside_ms = [own_ms(message) for message in load.messages]
    if not load.messages:
        raise MkposeError("bench: the node answered no frame; see its log above")
    rows = [
        load_row("node: in to out", inside_ms, load, "none", rate_hz),
        load_row("node: sent to received", load.trips_ms, load, "none", rate_hz),
    ]
    for stage in [s.name for s in load.messages[-1].stages if s.name not in NETWORKS]:
        times = [s.duration_ms for m in load.messages for s in m.stages if s.name == stage]
        rows.append(load_row(f"  {stage}", times, load, "none", rate_hz))
    return rows


@click.command()
@click.option("--frames", type=click.IntRange(min=10), default=300, show_default=True, help="Frames sent.")
@click.option("--rate", type=click.FloatRange(min=1.0), default=30.0, show_default=True, help="Frames per second.")
@common_options
def node(frames: int, rate: float, json_file: str | None, seed: int) -> None:
    """Time what the node adds to its networks: five objects, 640x480, over DDS, with networks that answer at once."""
    show_load(bench_node(frames=frames, rate_hz=rate, seed=seed), json_file)


def show_load(rows: list[dict[str, Any]], json_file: str | None) -> None:
    """A table of rows, what became of the frames, and JSON."""
    from mkpose_ros.bench.timing import rows_table

    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = 160  # a log has no edge to wrap at
    console.print(rows_table([{k: v for k, v in row.items() if k != "threads"} for row in rows]))
    for row in rows:
        if not row["name"].startswith("  "):
            cpu = f", CPU {row['cpu_percent']:.0f} % of a core" if "cpu_percent" in row else ""
            console.print(
                f"{row['name']}: {row['sent']} frames at {row['rate_hz']:.0f} Hz, {row['lost']} lost by transport, "
                f"{row['skipped']} replaced by newer ones, ready after {row['ready_s']:.1f} s{cpu}"
            )
    write_json(rows, json_file)


def own_ms(message: Any) -> float:
    """What one message says the node took beside its networks."""
    return message.latency_ms - sum(stage.duration_ms for stage in message.stages if stage.name in NETWORKS)


def load_row(
    name: str,
    times_ms: list[float],
    load: Load,
    backend: str,
    rate_hz: float,
    *,
    model: str = "none",
    objects: int = len(CATEGORIES),
) -> dict[str, Any]:
    row = timing_row(
        name, times_ms, backend=backend, model=model, batch=objects, threads=os.cpu_count() or 1, memory_mb=load.rss_mb
    )
    counts = {"sent": len(load.sent_at), "lost": load.lost, "skipped": load.skipped}
    counts |= {"rate_hz": rate_hz, "ready_s": load.ready_s}
    of_process = {}  # a frame
    if not name.startswith("  "):
        of_process["cpu_ms"] = 1e3 * load.cpu_s / len(load.sent_at)
        of_process["page_faults"] = load.page_faults / max(len(load.received_at), 1)
    return {**row, **of_process, "per_s": min(rate_hz, 1e3 / row["median_ms"]), **counts}


def _still_camera(camera: rclpy.node.Node, rng: np.random.Generator) -> Any:
    """A function that publishes one more frame of a still scene: boxes before a wall; returns its stamp in ns."""
    color = camera.create_publisher(Image, "color/image_raw", qos.IMAGE)
    depth = camera.create_publisher(Image, "depth/image_raw", qos.IMAGE)
    info = camera.create_publisher(CameraInfo, "color/camera_info", qos.CAMERA_INFO)
    rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    depth_mm = np.full((HEIGHT, WIDTH), 1200, np.uint16)
    for x, y in object_corners(WIDTH):
        depth_mm[y : y + OBJECT_PX, x : x + OBJECT_PX] = 800 + rng.integers(0, 8, (OBJECT_PX, OBJECT_PX))
    header = Header(frame_id="camera_color_optical_frame")
    K = array("d", [600.0, 0.0, 319.5, 0.0, 600.0, 239.5, 0.0, 0.0, 1.0])
    messages = (
        (info, CameraInfo(header=header, width=WIDTH, height=HEIGHT, k=K)),
        (depth, image_to_msg(depth_mm, "16UC1", header)),
        (color, image_to_msg(rgb, "rgb8", header)),
    )

    def publish() -> int:
        stamp_ns = camera.get_clock().now().nanoseconds
        header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        for publisher, message in messages:
            publisher.publish(message)
        return stamp_ns

    return publish
