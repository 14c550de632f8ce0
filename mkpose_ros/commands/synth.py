"""`mkpose synth`: synthetic RGB-D scenes with ground truth."""

from __future__ import annotations

import re
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from mkpose_ros.commands.options import common_options, write_json

__all__ = ["synth"]


def _size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", value)
    if not found:
        raise click.BadParameter(f"{value!r}, expected WIDTHxHEIGHT such as 640x480")
    return int(found[1]), int(found[2])


def _prepare_cycles(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from mkpose_ros.synthesis.cycles import prepare_blender

        click.echo(f"Blender is ready: {prepare_blender()}", err=True)
        ctx.exit()


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the data set; it is created.")
@click.option("--frames", type=click.IntRange(min=0), required=True, help="How many frames the set shall have.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="train", help="Whose shapes.")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes; the frames do not depend on it.")
@click.option(
    "--sensor",
    type=click.Choice(["random", "structured-light", "active-stereo", "time-of-flight", "perfect"]),
    default="random",
    help="Whose errors the depth has.",
)
@click.option("--size", callback=_size, default="640x480", metavar="WxH", help="Image size in pixels.")
@click.option("--categories", default=None, metavar="A,B", help="Only objects of these categories (default: all).")
@click.option(
    "--environments",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="A folder of .hdr or .exr images that light half of the scenes.",
)
@click.option(
    "--pictures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="A folder of images for half of the tables, floors and walls.",
)
@click.option(
    "--background",
    type=click.IntRange(min=0),
    nargs=2,
    default=(0, 0),
    metavar="A B",
    help="A to B large things behind the table beside furniture (chair backs, screens, poles): to train segmenters.",
)
@click.option(
    "--renderer",
    type=click.Choice(["opengl", "cycles"]),
    default="opengl",
    help="What draws colour; cycles is photoreal, hundreds of times slower and needs --prepare-cycles once.",
)
@click.option(
    "--prepare-cycles",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_prepare_cycles,
    help="Install Blender (bpy, 950 MB) into the user's cache and do nothing else.",
)
@click.option("--sequence", is_flag=True, help="One still scene and a moving camera instead of a scene a frame.")
@click.option("--rate", type=float, default=30.0, help="Frames per second of a sequence (Hz).")
@click.option(
    "--occluder", type=int, nargs=2, default=None, metavar="A B", help="Between frames A and B something passes by."
)
@common_options
def synth(
    out: Path,
    frames: int,
    split: str,
    workers: int,
    sensor: str,
    size: tuple[int, int],
    categories: str | None,
    environments: Path | None,
    pictures: Path | None,
    background: tuple[int, int],
    renderer: str,
    sequence: bool,
    rate: float,
    occluder: tuple[int, int] | None,
    json_file: str | None,
    seed: int,
) -> None:
    """Write synthetic RGB-D scenes in the NOCS layout, with COCO annotations. Run again to resume."""
    from mkpose_ros.synthesis.dataset import DatasetConfig, write_dataset
    from mkpose_ros.synthesis.scene import SceneConfig
    from mkpose_ros.synthesis.sequence import SequenceConfig

    scene = SceneConfig(
        width=size[0],
        height=size[1],
        sensor=sensor,
        categories=tuple(c.strip() for c in categories.split(",")) if categories else None,
        environments=environments,
        pictures=pictures,
        background=background,
        renderer=renderer,
    )
    moving = None
    if sequence:
        moving = SequenceConfig(
            rate_hz=rate, sensor="active-stereo" if sensor == "random" else sensor, occluder=occluder or None
        )
    config = DatasetConfig(out, frames, seed, split, scene, moving)
    console = Console(stderr=True)
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("frames", total=frames)
        written = write_dataset(config, workers, lambda n: bar.advance(task, n))
    console.print(
        f"{written.frames} frames ({written.rendered} new), {written.instances} objects, {written.seconds:.1f} s: {out}"
    )
    write_json(
        {"frames": written.frames, "seconds": round(written.seconds, 3), "instances": written.instances}, json_file
    )
