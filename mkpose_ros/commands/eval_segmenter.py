"""`mkpose eval-segmenter`: COCO figures of a source of instance masks, and the scores to cut its categories at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mkpose_ros.commands.options import common_options, write_json
from mkpose_ros.errors import DependencyError
from mkpose_ros.inference.engine import PRECISIONS

__all__ = ["eval_segmenter"]


@click.command("eval-segmenter")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of COCO annotations; default: synthetic scenes.")
@click.option("--split", default="test", show_default=True, help="Split of the synthetic scenes, made by --seed.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most the first so many pictures.")
@click.option("--model", default=None, metavar="FILE", help="ONNX file or detectron2 weights; default: the shipped.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "openvino", "onnxruntime", "detectron2"]),
    default="auto",
    show_default=True,
    help="What runs the model.",
)
@click.option("--detectron2-config", metavar="FILE", help="A detectron2 config: a YAML file or a model zoo name.")
@click.option("--class-map", default="coco", show_default=True, help="Their class names -> ours, for detectron2.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or gpu, as the backend calls it.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True,
              help="OpenVINO's arithmetic; the node has bf16 where the CPU has it.")  # fmt: skip
@click.option("--calibrate", is_flag=True, help="Write each category's score of best F1 into the ONNX file.")
@common_options
def eval_segmenter(
    data: Path | None,
    split: str,
    limit: int | None,
    model: str | None,
    backend: str,
    detectron2_config: str | None,
    class_map: str,
    device: str,
    precision: str,
    calibrate: bool,
    json_file: str | None,
    seed: int,
) -> None:
    """Measure a segmenter's masks and boxes: COCO AP in percent, overall, by size and by category.

    The node uses a file's own thresholds where it has some (parameter `class_thresholds`): calibrate on pictures that
    neither training nor the figures you report use, such as --split val.
    """
    if calibrate and backend == "detectron2":
        raise click.UsageError("--calibrate writes into an ONNX file: export the detectron2 model first")
    if calibrate and data is None and split == "test":
        raise click.UsageError("--calibrate on the test split would spoil its figures; use --split val or --data")
    try:
        from mkpose_ros.segmentation.evaluate import evaluate_segmenter, write_thresholds
    except ImportError as error:
        raise DependencyError(f"measuring masks needs {error.name}: pip install 'mkpose_ros[train]'") from error
    from mkpose_ros.resources import share_path
    from mkpose_ros.segmentation import open_segmenter

    console = Console(stderr=True)
    segmenter = open_segmenter(
        backend, model, device=device, precision=precision, config_path=detectron2_config, class_map=class_map
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        folder, limit = (data, limit) if data is not None else _scenes(split, seed, limit, bar)
        task = bar.add_task("segmenting", total=limit)
        result = evaluate_segmenter(
            segmenter, folder, limit=limit, progress=lambda n, of: bar.update(task, completed=n, total=of)
        )
    segmenter.close()
    for table in _tables(result):
        console.print(table)
    if calibrate:
        path = Path(model) if model else share_path("models", "segmenter", "model.onnx")
        result["thresholds"] = write_thresholds(path, result["per_category"])
        console.print(f"thresholds are in {path}")
    write_json(result, json_file)


def _scenes(split: str, seed: int, limit: int | None, bar: Progress) -> tuple[Path, int]:
    """The folder of the synthetic scenes, rendered if need be, and how many of its pictures count."""
    from mkpose_ros.evaluation.synthetic_data import DEFAULT_FRAMES, synthetic_folder

    limit = limit or DEFAULT_FRAMES
    task = bar.add_task("rendering", total=limit)
    folder = synthetic_folder(split, seed, limit, progress=lambda n, of: bar.update(task, completed=n, total=of))
    return folder / split, limit


def _tables(result: dict[str, Any]) -> list[Table]:
    overall = Table("", *result["mask"], title=f"COCO AP in percent, {result['pictures']} pictures")
    for kind in ("mask", "box"):
        overall.add_row(kind, *(_cell(value) for value in result[kind].values()))
    columns = ("ap", "ap50", "ap75", "objects", "threshold", "f1")
    single = Table("masks", *columns)
    for name, row in result["per_category"].items():
        single.add_row(name, *(_cell(row[column]) for column in columns))
    return [overall, single]


def _cell(value: float | int | None) -> str:
    return "-" if value is None else str(value)
