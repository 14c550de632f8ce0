"""`mkpose demo`: the shipped recording through a real node, with the errors against its ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from mkpose_ros.commands.options import common_options, write_json

if TYPE_CHECKING:
    from mkpose_ros.ros.demo import Answer

__all__ = ["demo"]


@click.command()
@click.option("--frames", type=click.IntRange(min=1), default=None, help="Play only this many frames.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out/demo"),
    show_default=True,
    help="Folder of the overlay video and the contact sheet.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    help="Frames per second; 0: the next frame when the last is answered.",
)
@click.option("--recording", type=click.Path(exists=True), default=None, help="Another recording than the shipped one.")
@click.option("--model", default="small", show_default=True, help="Pose model: small, base or an ONNX file.")
@click.option("--engine", default="auto", show_default=True, help="Inference engine.")
@common_options
def demo(
    frames: int | None,
    out: Path,
    rate: float,
    recording: str | None,
    model: str,
    engine: str,
    json_file: str | None,
    seed: int,
) -> None:
    """Play the recording through the node over DDS; show what it finds, how wrong it is and how long it takes."""
    from mkpose_ros.demo_report import demo_summary, write_pictures
    from mkpose_ros.ros.demo import play_demo

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        answers = play_demo(
            frames=frames,
            rate_hz=rate,
            recording=recording or "",
            node_parameters={"model": model, "backend": engine, "max_age": "0.0" if rate == 0.0 else "0.5"},
            on_answer=lambda answer, total: live.update(_frame_table(answer, total)),
        )
    predictions = [answer.objects for answer in answers]
    summary = demo_summary(predictions, [a.recorded.truths for a in answers], [a.stages_ms for a in answers])
    _print_summary(console, summary)
    video, sheet = write_pictures(out, [a.recorded.frame for a in answers], predictions, rate or 10.0)
    console.print(f"overlay video {video}, contact sheet {sheet}")
    write_json(summary, json_file)


def _frame_table(answer: Answer, total: int) -> Table:
    """The detections of one frame."""
    title = f"{len(answer.objects)} objects, {answer.latency_ms:.0f} ms from camera to here; {total} frames in all"
    table = Table("object", "score", "position m (x right, y down, z forward)", "size cm", title=title)
    for pose in answer.objects:
        x, y, z = pose.T_cam_obj[:3, 3]
        size = " x ".join(f"{100 * extent:.1f}" for extent in pose.size_m)
        table.add_row(pose.track_id or pose.category, f"{pose.score:.2f}", f"{x:+.3f} {y:+.3f} {z:.3f}", size)
    return table


def _print_summary(console: Console, summary: dict) -> None:
    def shown(value: float | None, unit: str) -> str:
        return "-" if value is None else f"{value:.1f} {unit}"

    stages = summary["stages_ms"]
    table = Table("measured against the recording's ground truth", "value")
    table.add_row("frames", str(summary["frames"]))
    table.add_row("detections", str(summary["detections"]))
    table.add_row("rotation error, median", shown(summary["median_rotation_deg"], "deg"))
    table.add_row("translation error, median", shown(summary["median_translation_cm"], "cm"))
    table.add_row("AP at IoU 0.5 (exact)", shown(summary["iou50"], "%"))
    for name in ("segmentation", "pose", "other"):
        table.add_row(f"time, {name}", f"{stages[name]:.1f} ms")
    console.print(table)
