"""Progress bars of training and rendering (rich); quiet when standard error is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from mkpose_ros.training.trainer import Trainer

__all__ = ["progress_report", "render_progress"]


@contextmanager
def progress_report(trainer: Trainer) -> Iterator[Callable[[Trainer, dict[str, float]], None]]:
    """A bar over the whole run with loss, samples/s and time left; a line per report where there is no terminal."""
    if trainer.rank != 0:
        yield lambda _trainer, _means: None
        return
    console = Console(stderr=True)
    columns = (
        TextColumn("[bold]train"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    started = trainer.elapsed_s, trainer.step
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("train", total=1.0, completed=trainer.progress, words="")

        def report(trainer: Trainer, means: dict[str, float]) -> None:
            seconds = trainer.elapsed_s - started[0]
            speed = (trainer.step - started[1]) * trainer.config.batch * trainer.world / max(seconds, 1e-9)
            words = f"step {trainer.step}  loss {means['loss']:.3f}  {speed:.0f} samples/s"
            bar.update(task, completed=trainer.progress, words=words)
            if not console.is_terminal:
                console.print(f"{100 * trainer.progress:5.1f} %  {words}", highlight=False)

        yield report


@contextmanager
def render_progress(scenes: int) -> Iterator[Callable[[int, int], None]]:
    """A bar over scenes; call it with (scenes done, crops so far)."""
    console = Console(stderr=True)
    columns = (
        TextColumn("[bold]render"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[crops]} crops"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("render", total=scenes, crops=0)
        yield lambda done, crops: bar.update(task, completed=done, crops=crops)
