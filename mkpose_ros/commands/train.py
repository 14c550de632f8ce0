"""`mkpose train` and `mkpose ablate`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mkpose_ros.commands.options import common_options, write_json

__all__ = ["ablate", "train"]


@click.command()
@click.option("--config", "config_file", default="train_small", help="YAML file, or the name of a shipped one.")
@click.option("--out", default=None, help="Run folder: checkpoints, best weights, TensorBoard, metrics.jsonl.")
@click.option("--resume", is_flag=True, help="Go on from the run folder's last checkpoint.")
@click.option("--render", type=int, default=0, metavar="N", help="Only render N scenes into the configured shards.")
@click.option("--ship", default=None, metavar="DIR", help="Only export the run's best weights: ONNX, weights, card.")
@click.option("--curves", default=None, metavar="PNG", help="Only draw the learning curves of the --run folders.")
@click.option("--run", "runs", multiple=True, metavar="DIR", help="With --curves; the last one is extrapolated.")
@click.option("--page", default=None, metavar="MD", help="With --curves: write picture and tables into this page.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="train", help="Which shapes --render uses."
)
@common_options
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def train(
    config_file: str,
    out: str | None,
    resume: bool,
    render: int,
    split: str,
    ship: str | None,
    curves: str | None,
    runs: tuple[str, ...],
    page: str | None,
    json_file: str | None,
    seed: int,
    overrides: tuple[str, ...],
) -> None:
    """Train MK-Pose, or with a config named segmenter* Mask R-CNN: on one GPU, several (under torchrun), or a CPU.

    Any key of the configuration can be overridden, for example `steps=2000 optim.lr=1e-3`.
    """
    if Path(config_file).stem.startswith("segmenter"):
        from mkpose_ros.segmentation.maskrcnn.train import train_from_file

        write_json(
            train_from_file(config_file, Path(out or "runs/segmenter"), seed=seed, overrides=overrides), json_file
        )
        return
    if curves:
        _draw(Path(curves), [Path(run) for run in runs or (out or "runs/small",)], page)
        return
    from mkpose_ros.training.config import load_train_config

    extra = [f"seed={seed}"] + ([f"out={out}"] if out else [])
    config = load_train_config(config_file, [*extra, *overrides])
    if render:
        write_json(_render(config, render, split), json_file)
        return
    if ship:
        write_json(_ship(Path(config.out), Path(ship), overrides), json_file)
        return
    from mkpose_ros.training.progress import progress_report
    from mkpose_ros.training.trainer import Trainer

    trainer = Trainer(config, resume=resume)
    with progress_report(trainer) as report:
        metrics = trainer.train(report)
    write_json({"step": trainer.step, "minutes": trainer.elapsed_s / 60.0, **metrics}, json_file)


def _draw(picture: Path, runs: list[Path], page: str | None) -> None:
    from mkpose_ros.evaluation.card import put_section
    from mkpose_ros.training.curves import curves_table, draw_curves, forecast_table, read_curve

    curves = [read_curve(run) for run in runs]
    draw_curves(curves, picture)
    tables = f"{curves_table(curves)}\nA power law through the later two thirds:\n\n{forecast_table(curves[-1])}"
    click.echo(tables)
    if page:
        link = Path(os.path.relpath(picture, Path(page).parent)).as_posix()
        put_section(Path(page), f"<!-- curves -->\n![learning curves]({link})\n\n{tables}<!-- /curves -->")


def _ship(run: Path, folder: Path, overrides: tuple[str, ...]) -> dict:
    from mkpose_ros.training.ship import ship

    done = ship(run, folder, overrides)
    click.echo(f"{folder}: {done.overall}", err=True)
    return {"overall": done.overall, "per_category": done.categories, "coverage": done.coverage}


def _render(config, scenes: int, split: str) -> dict[str, float]:
    from mkpose_ros.training.progress import render_progress
    from mkpose_ros.training.rendering import SceneRenderer, render_shards
    from mkpose_ros.training.setup import model_config, sample_config

    folder = Path((config.data.shards if split == "train" else config.data.val_shards)[0])
    exclude = config.data.exclude if split == "train" else ()
    renderer = SceneRenderer(split, config.seed, sample_config(model_config(config), exclude))
    with render_progress(scenes) as progress:
        crops = render_shards(
            renderer, folder, scenes=scenes, per_shard=50, name=f"{split}-{config.seed}", progress=progress
        )
    return {"scenes": scenes, "crops": crops}


@click.command()
@click.option("--config", "config_file", default="train_small", help="YAML file, or the name of a shipped one.")
@click.option("--out", default="runs/ablation", help="Folder of the runs and of table.md.")
@click.option("--rows", default="", help="Only these rows, separated by commas, such as text,full; default: all six.")
@click.option("--baselines", default=None, metavar="MODEL", help="Only compare this model with classical baselines.")
@click.option("--also", multiple=True, metavar="NAME=MODEL", help="With --baselines: another network as a row.")
@click.option("--page", default=None, metavar="MD", help="Write the table into this page.")
@click.option("--frames", type=int, default=100, show_default=True, help="With --baselines: test scenes.")
@common_options
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def ablate(
    config_file: str,
    out: str,
    rows: str,
    baselines: str | None,
    also: tuple[str, ...],
    page: str | None,
    frames: int,
    json_file: str | None,
    seed: int,
    overrides: tuple[str, ...],
) -> None:
    """Train the rows of the paper's Table III on equal budgets and print the table.

    With --baselines: a model (its folder, an ONNX file or a run's best.safetensors) beside classical methods, on the
    scenes of `mkpose eval --split test`.
    """
    if baselines:
        _compare(Path(baselines), also, page, frames, seed, json_file)
        return
    from mkpose_ros.evaluation.card import put_section
    from mkpose_ros.training.ablate import ablation_table, run_ablations

    done = run_ablations(config_file, Path(out), [f"seed={seed}", *overrides], rows.split(",") if rows else None)
    table = ablation_table(done)
    (Path(out) / "table.md").write_text(table, encoding="utf-8")
    click.echo(table, err=json_file == "-")
    if page:
        put_section(Path(page), f"<!-- ablation -->\n{table}<!-- /ablation -->")
    write_json(done, json_file)


def _compare(
    model: Path, also: tuple[str, ...], page: str | None, frames: int, seed: int, json_file: str | None
) -> None:
    from mkpose_ros.evaluation.card import put_section
    from mkpose_ros.evaluation.synthetic_data import synthetic_dataset
    from mkpose_ros.training.comparison import compare, comparison_table

    pairs = dict(pair.partition("=")[::2] for pair in also)
    if not all(pairs.values()):
        raise click.BadParameter(f"{', '.join(also)}; expected NAME=MODEL", param_hint="--also")
    dataset = synthetic_dataset("test", seed, frames)
    rows = compare(
        model, dataset, also={k: Path(v) for k, v in pairs.items()}, progress=lambda name: click.echo(name, err=True)
    )
    table = comparison_table(rows)
    click.echo(table, err=json_file == "-")
    if page:
        put_section(Path(page), f"<!-- baselines -->\n{table}<!-- /baselines -->")
    write_json(rows, json_file)
