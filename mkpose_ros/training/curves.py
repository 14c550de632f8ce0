"""Learning curves of runs: a picture, a table, and what a power law through them says of more training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from mkpose_ros.errors import InputError

__all__ = [
    "CURVES",
    "Curve",
    "PowerLaw",
    "curves_table",
    "draw_curves",
    "fit_power_law",
    "forecast_table",
    "read_curve",
]

# metric -> its best value: what falls as a power of the samples is the distance from it
CURVES = {
    "iou50": 100.0, "iou75": 100.0, "5d2cm": 100.0, "10d5cm": 100.0, "median_rotation_deg": 0.0,
    "median_translation_cm": 0.0,
}  # fmt: skip
LEAST_POINTS = 4  # validations through which a power law is worth fitting


@dataclass(frozen=True)
class Curve:
    """The validations of one run."""

    name: str
    samples: np.ndarray  # (V,) training samples seen in this run
    values: Mapping[str, np.ndarray]  # metric -> (V,)


class PowerLaw(NamedTuple):
    """distance(samples) = distance(now) * (samples / now)^-exponent."""

    now: float  # samples
    distance: float
    exponent: float
    error: float  # standard error of the exponent

    def at(self, samples: float, exponent: float | None = None) -> float:
        """The distance from the best value after `samples`."""
        return self.distance * (samples / self.now) ** -(self.exponent if exponent is None else exponent)


def read_curve(run: Path) -> Curve:
    """The validations in a run's metrics.jsonl. Raises InputError when it has none."""
    try:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{run}: {error}; expected a run folder of mkpose train") from error
    rows = [row for row in rows if row.get("group") == "val"]
    if not rows:
        raise InputError(f"{run}: metrics.jsonl holds no validation; give data.val_shards and train on")
    samples = np.array([row["step"] * config["batch"] for row in rows], dtype=np.float64)
    return Curve(run.name, samples, {name: np.array([row[name] for row in rows]) for name in CURVES})


def fit_power_law(samples: np.ndarray, distance: np.ndarray) -> PowerLaw | None:
    """A straight line through the logarithms, over the later two thirds; None for fewer than LEAST_POINTS of them."""
    later = slice(len(samples) // 3, None)
    x, y = np.log(samples[later]), np.log(np.maximum(distance[later], 1e-9))
    if len(x) < LEAST_POINTS:
        return None
    slope, offset = np.polyfit(x, y, 1)
    left = y - (slope * x + offset)
    error = np.sqrt((left @ left) / (len(x) - 2) / np.sum((x - x.mean()) ** 2))
    now = float(samples[-1])
    return PowerLaw(now, float(np.exp(slope * np.log(now) + offset)), float(-slope), float(error))


def forecast_table(curve: Curve, factors: Sequence[int] = (4, 10)) -> str:
    """Markdown: each metric now and after `factors` times the samples, with the range of two standard errors.

    A range, not a promise: the rate is annealed towards the end of a run, and a law of few points bends.
    """
    head = ["", "last", "exponent", *(f"{k} times the samples" for k in factors)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, best in CURVES.items():
        values = curve.values[name]
        law = fit_power_law(curve.samples, np.abs(best - values))
        if law is None:
            cells = ["-"] * (1 + len(factors))
        else:
            cells = [f"{law.exponent:.2f} ± {law.error:.2f}"]
            for factor in factors:
                reach = (law.exponent + step * law.error for step in (-2.0, 0.0, 2.0))
                low, middle, high = (abs(best - law.at(factor * law.now, exponent)) for exponent in reach)
                cells.append(f"{middle:.1f} ({low:.1f} to {high:.1f})")
        lines.append(f"| {name} | {values[-1]:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def curves_table(curves: Sequence[Curve], most_rows: int = 12) -> str:
    """Markdown: the validations of each run, at most `most_rows` of them, evenly spread."""
    lines = [f"| run | samples | {' | '.join(CURVES)} |", "|---" * (len(CURVES) + 2) + "|"]
    for curve in curves:
        count = len(curve.samples)
        for i in np.unique(np.linspace(0, count - 1, min(count, most_rows)).astype(int)):
            cells = [f"{curve.values[name][i]:.1f}" for name in CURVES]
            lines.append(f"| {curve.name} | {curve.samples[i]:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_curves(curves: Sequence[Curve], path: Path) -> None:
    """A panel per metric over the samples (log), with the fitted law of the last run reaching to ten times as many."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 5.5), sharex=True)
    for axis, (name, best) in zip(axes.flat, CURVES.items(), strict=True):
        for curve in curves:
            axis.plot(curve.samples, curve.values[name], marker=".", label=curve.name)
        law = fit_power_law(curves[-1].samples, np.abs(best - curves[-1].values[name]))
        if law is not None:
            ahead = np.geomspace(law.now, 10.0 * law.now, 30)
            axis.plot(ahead, [abs(best - law.at(x)) for x in ahead], "k:", label="power law")
        axis.set_title(name)
        axis.set_xscale("log")
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    for axis in axes[1]:
        axis.set_xlabel("training samples")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
