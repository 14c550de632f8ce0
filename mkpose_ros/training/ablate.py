"""The rows of the paper's Table III, each trained on the same budget, samples and seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mkpose_ros.errors import InputError
from mkpose_ros.evaluation.published import PUBLISHED_ABLATION
from mkpose_ros.training.config import load_train_config
from mkpose_ros.training.trainer import Trainer

__all__ = ["ROWS", "ablation_table", "run_ablations"]

# row of Table III -> the switch of the model configuration that is off
ROWS = {
    "w/o text": "text",
    "w/o sym": "symmetry_loss",
    "w/o feature fusion": "feature_fusion",
    "w/o reconstructor": "reconstructor",
    "w/o global": "global_features",
    "full": None,
}
_COLUMNS = ("5d2cm", "10d2cm", "10d5cm", "iou50", "iou75")
_MEDIANS = {"median_rotation_deg": "median deg", "median_translation_cm": "median cm"}


def run_ablations(
    config_file: str, out: Path, overrides: Sequence[str], only: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Train (or resume) rows under `out`; a row that is finished is read, not trained again.

    `only`: folder names of the rows wanted (switches of ROWS, or "full"); None: all. Raises InputError for others.
    """
    folders = {switch or "full": name for name, switch in ROWS.items()}
    unknown = sorted(set(only or ()) - set(folders))
    if unknown:
        raise InputError(f"ablation rows {', '.join(unknown)}; expected some of {', '.join(folders)}")
    rows = []
    for folder, name in folders.items():
        if only is not None and folder not in only:
            continue
        switch, run = ROWS[name], out / folder
        result = run / "result.json"
        if not result.exists():
            off = [f"model_overrides.ablation.{switch}=false"] if switch else []
            config = load_train_config(config_file, [*overrides, *off, f"out={run}"])
            trainer = Trainer(config, resume=True)
            metrics = trainer.train()
            if trainer.progress < 1.0:
                raise KeyboardInterrupt
            run.mkdir(parents=True, exist_ok=True)
            result.write_text(json.dumps({"method": name, "steps": trainer.step, **metrics}, indent=2) + "\n")
        rows.append(json.loads(result.read_text()))
    return rows


def ablation_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown in the layout of Table III, the paper's figures (REAL275) in the last columns.

    >>> print(ablation_table([{"method": "full", "steps": 5, "5d2cm": 1.0}]).splitlines()[2])
    | full | 5 | 1.0 | - | - | - | - | - | - | *60.8* | *78.0* | *84.6* |
    """
    columns = [*_COLUMNS, *_MEDIANS.values(), *(f"*paper: {c}*" for c in _COLUMNS[:3])]
    lines = [f"| method | steps | {' | '.join(columns)} |", "|---|" + "---|" * (len(columns) + 1)]
    for row in rows:
        cells = [f"{row[c]:.1f}" if c in row else "-" for c in (*_COLUMNS, *_MEDIANS)]
        cells += [f"*{figure}*" for figure in PUBLISHED_ABLATION[row["method"]]]
        lines.append(f"| {row['method']} | {row['steps']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
