"""`mkpose data`: what a folder of RGB-D data holds."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mkpose_ros.commands.options import common_options, write_json

__all__ = ["data"]


@click.group()
def data() -> None:
    """Look after data sets."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--split", default=None, help='Only this split, such as "test" or "real/train".')
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Look at this many frames, evenly spread.")
@click.option(
    "--draw", type=click.Path(path_type=Path), default=None, help="Draw samples with their boxes into a folder."
)
@common_options
def check(
    folder: Path, split: str | None, limit: int | None, draw: Path | None, json_file: str | None, seed: int
) -> None:
    """Tell what FOLDER holds and what is missing: CAMERA25, REAL275, HouseCat6D or scenes of `mkpose synth`."""
    from mkpose_ros.datasets import open_dataset
    from mkpose_ros.datasets.check import check_dataset

    console = Console(stderr=True)
    dataset = open_dataset(folder, split)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("reading", total=len(dataset))
        inventory = check_dataset(
            dataset,
            limit=limit,
            draw_to=draw,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _print(console, inventory)
    if draw is not None:
        console.print(f"pictures in {draw}; {draw / 'overview.jpg'} has them all")
    write_json(inventory.to_json(), json_file)


def _print(console: Console, inventory) -> None:
    console.print(
        f"{inventory.name}: {inventory.frames} frames; {inventory.looked_at} looked at, {inventory.readable} readable, "
        f"{inventory.instances} objects with a pose, {inventory.detections} published detections"
    )
    counts = Table("split", "frames", "category", "objects", "models")
    for split, found in inventory.by_split.items():
        for row, (category, number) in enumerate(sorted((k, n) for k, n in found.items() if k != "frames")):
            head = (split, str(found["frames"])) if row == 0 else ("", "")
            counts.add_row(*head, category, str(number), str(len(inventory.models[split, category])))
    console.print(counts)
    files = Table("files", "present", "missing")
    for kind, expected in inventory.expected.items():
        present = inventory.companions[kind]
        files.add_row(kind, str(present), str(expected - present) if expected > present else "-")
    console.print(files)
    for fault in inventory.faults[:20]:
        console.print(f"[yellow]skipped[/] {fault['file']}: {fault['problem']}", highlight=False)
    if len(inventory.faults) > 20:
        console.print(f"... and {len(inventory.faults) - 20} more; --json lists all")
