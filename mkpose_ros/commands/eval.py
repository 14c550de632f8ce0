"""`mkpose eval`: metrics of a model on a data set."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mkpose_ros.commands.options import common_options, write_json

__all__ = ["evaluate"]


@click.command("eval")
@click.option("--split", default="test", show_default=True, help='Split of the data, such as "test" or "real/test".')
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of CAMERA25, REAL275, HouseCat6D or `mkpose synth`; default: synthetic scenes made by --seed.",
)
@click.option("--mode", type=click.Choice(["nocs", "corners", "exact"]), default="nocs", help="Whose rules lead.")
@click.option("--masks", type=click.Choice(["gt", "predicted"]), default="gt", help="Where the masks come from.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most this many frames, evenly spread.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write a report with figures here.")
@click.option(
    "--card", type=click.Path(path_type=Path), default=None, help="Write the figures into this model folder's card."
)
@click.option("--model", default="small", help="A size (small, base) or the path of a model.")
@click.option("--engine", default="auto", help="Inference engine.")
@common_options
def evaluate(
    split: str,
    data: Path | None,
    mode: str,
    masks: str,
    limit: int | None,
    out: Path | None,
    card: Path | None,
    model: str,
    engine: str,
    json_file: str | None,
    seed: int,
) -> None:
    """Evaluate a model by the field's protocol."""
    from mkpose_ros.evaluation.job import EvaluationRequest, evaluate_model

    console = Console(stderr=True)
    request = EvaluationRequest(
        data=data, split=split, mode=mode, masks=masks, limit=limit, model=model, engine=engine, seed=seed
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, int] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        outcome = evaluate_model(request, progress)
    console.print(outcome.summary(), highlight=False)
    if out is not None:
        outcome.write(out)
        console.print(f"report in {out / 'report.md'}")
    if card is not None:
        outcome.write_card(card, _command(split, data, limit, seed))
    write_json(outcome.to_json(), json_file)


def _command(split: str, data: Path | None, limit: int | None, seed: int) -> str:
    """The command whose figures are the same, without what only says where they go."""
    words = ["mkpose eval --split", split]
    for option, value in (("--data", data and data.name), ("--limit", limit), ("--seed", seed or None)):
        words += [option, str(value)] if value else []
    return " ".join(words)
