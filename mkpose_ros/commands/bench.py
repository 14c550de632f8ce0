"""`mkpose bench`: how long things take, measured in one run, as a table and as JSON."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mkpose_ros.commands.image import model_path
from mkpose_ros.commands.options import common_options, write_json

__all__ = ["bench", "show_rows"]

# Benches of the running node need ROS; their module is imported when one is called.
ROS_BENCHES = {
    "node": "mkpose_ros.bench.node:node",
    "pipeline": "mkpose_ros.bench.pipeline:pipeline",
    "soak": "mkpose_ros.bench.soak:soak",
    "all": "mkpose_ros.bench.everything:everything",
}


class _BenchGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *(n for n, path in ROS_BENCHES.items() if _exists(path))])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in ROS_BENCHES or not _exists(ROS_BENCHES[name]):
            return super().get_command(ctx, name)
        module, function = ROS_BENCHES[name].split(":")
        return getattr(importlib.import_module(module), function)


def _exists(path: str) -> bool:
    return find_spec(path.split(":")[0]) is not None


def _integers(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; expected whole numbers, such as 1,4,8") from error
    if min(numbers) < 1:
        raise click.BadParameter(f"{text!r}; expected numbers of at least 1")
    return numbers


@click.group(cls=_BenchGroup)
def bench() -> None:
    """Measure times on this machine."""


@bench.command()
@click.option(
    "--models",
    default="small,base",
    help="Sizes (untrained where not shipped) or paths of models.",
)
@click.option("--engines", default="", help="Engines, separated by commas; default: every one at hand.")
@click.option("--batches", default="1,4,8", callback=_integers, help="Instances in a batch, separated by commas.")
@click.option("--repeats", type=click.IntRange(min=3), default=30, help="Timed runs of each.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: one a core.")
@common_options
def engine(
    models: str, engines: str, batches: tuple[int, ...], repeats: int, threads: int, json_file: str | None, seed: int
) -> None:
    """Time the pose network on each engine, interleaved: runs of all take turns, so that all meet the same load."""
    from mkpose_ros.bench.engine import BENCHED, bench_engines, bench_model

    rows = bench_engines(
        [bench_model(model) for model in models.split(",")],
        engines=engines.split(",") if engines else BENCHED,
        batches=batches,
        repeats=repeats,
        threads=threads,
        seed=seed,
    )
    show_rows(rows, json_file)
    if "peak_gflops" in rows[0]:
        peak = rows[0]["peak_gflops"]
        Console(stderr=True).print(
            f"peak: {peak:.0f} GFLOP/s, a float32 matrix product on {rows[0]['threads']} threads"
        )


@bench.command()
@click.option("--model", type=click.Path(path_type=Path), help="A segmenter's ONNX file; default: the shipped one.")
@click.option("--objects", default="1,10,50", callback=_integers, help="Objects in the picture, separated by commas.")
@click.option("--repeats", type=click.IntRange(min=3), default=30, help="Timed runs of each.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: the runtime's choice.")
@common_options
def segmentation(
    model: Path | None, objects: tuple[int, ...], repeats: int, threads: int, json_file: str | None, seed: int
) -> None:
    """Time the segmenter on each runtime at hand, by stage."""
    from mkpose_ros.bench.segmentation import bench_segmentation

    rows = bench_segmentation(model_path=model, object_counts=objects, repeats=repeats, threads=threads, seed=seed)
    show_rows(rows, json_file)


@bench.command()
@click.option("--models", default="small,base", show_default=True, help="As of `engine`.")
@click.option("--engine", default="auto", show_default=True, help="Inference engine.")
@click.option("--batch", type=click.IntRange(min=1), default=5, show_default=True, help="Instances in a batch.")
@click.option("--repeats", type=click.IntRange(min=3), default=20, show_default=True, help="Timed runs of each.")
@click.option("--threads", type=click.IntRange(min=0), default=0, show_default=True, help="CPU threads; 0: one a core.")
@common_options
def roofline(
    models: str, engine: str, batch: int, repeats: int, threads: int, json_file: str | None, seed: int
) -> None:
    """Hold the pose network's time against the machine's measured peaks."""
    from mkpose_ros.bench.engine import bench_model
    from mkpose_ros.bench.roofline import bench_roofline

    paths = [bench_model(model) for model in models.split(",")]
    rows = bench_roofline(paths, backend=engine, batch=batch, repeats=repeats, threads=threads, seed=seed)
    show_rows(rows, json_file, hidden=("name", "p95_ms", "p99_ms", "rss_mb"))
    peaks = f"{rows[0]['peak_gflops']:.0f} GFLOP/s (a float32 matrix product), {rows[0]['peak_gbs']:.0f} GB/s (a copy)"
    Console(stderr=True).print(f"peaks of {rows[0]['threads']} threads: {peaks}")


@bench.command()
@click.option("--scenes", default="1,2,3", show_default=True, help="Numbers of the scenes, separated by commas.")
@click.option("--frames", type=click.IntRange(min=2), default=285, show_default=True, help="Frames of each scene.")
@click.option("--rate", type=click.FloatRange(min=1.0), default=15.0, show_default=True, help="Frames per second.")
@click.option("--model", default="small", show_default=True, help="Pose model: small, base or an ONNX file.")
@click.option("--engine", default="auto", show_default=True, help="Inference engine.")
@click.option(
    "--masks", type=click.Choice(["gt", "predicted", "both"]), default="gt", show_default=True, help="Whose masks."
)
@common_options
def tracking(
    scenes: str,
    frames: int,
    rate: float,
    model: str,
    engine: str,
    masks: str,
    json_file: str | None,
    seed: int,
) -> None:
    """Render recordings with a moving camera and measure how steady poses are, raw and tracked."""
    from mkpose_ros.bench.tracking import bench_tracking

    rows = bench_tracking(
        scenes=[int(number) for number in scenes.split(",")],
        frames=frames,
        rate_hz=rate,
        model=model_path(model),
        backend=engine,
        masks=masks,
        seed=seed,
    )
    show_rows(rows, json_file, hidden=("backend", "model", "batch", "threads", "p95_ms", "per_s", "rss_mb"))


def show_rows(rows: Sequence[dict[str, Any]], json_file: str | None, hidden: Sequence[str] = ()) -> None:
    """Rows as a table on standard error, less its hidden columns, and as JSON where it is wanted."""
    from mkpose_ros.bench.timing import rows_table

    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = 160  # a log has no edge to wrap at
    console.print(rows_table([{k: v for k, v in row.items() if k not in hidden} for row in rows]))
    write_json(list(rows), json_file)
