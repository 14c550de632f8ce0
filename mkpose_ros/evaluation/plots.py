"""The evaluation's figures, by matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mkpose_ros.drawing import category_color
from mkpose_ros.evaluation.evaluator import Curves, Report

__all__ = ["plot_categories", "plot_curves"]


BAR_COLORS = (
    "#12355b",
    "#2a6f97",
    "#89c2d9",
    "#7f2704",
    "#d94801",
    "#fd8d3c",
    "#fdbe85",
)  # overlaps blue, poses orange


def plot_curves(curves: Curves, report: Report, path: Path) -> None:
    """AP over 3D IoU, rotation error and translation error, one line per category and a dashed mean."""
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    panels = (
        (curves.iou, "3D IoU threshold (%)", 100.0),
        (curves.degrees, "rotation threshold (degrees)", 1.0),
        (curves.centimetres, "translation threshold (cm)", 1.0),
    )
    shown = [i for i, number in enumerate(report.instances) if number]
    for axis, ((thresholds, precision), label, unit) in zip(axes, panels, strict=True):
        for index in shown:
            name = report.protocol.categories[index]
            axis.plot(thresholds * unit, precision[index], color=_shade(name), label=name, linewidth=1.6)
        axis.plot(thresholds * unit, precision[-1], color="black", linestyle="--", label="mean", linewidth=1.8)
        axis.set(xlabel=label, ylim=(0, 101), xlim=(0, thresholds[-1] * unit))
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("average precision (%)")
    axes[0].legend(fontsize=8, loc="lower left")
    figure.suptitle(f"Average precision, mode {report.mode.value}, {report.images} images", fontsize=11)
    figure.savefig(path, dpi=120)


def plot_categories(report: Report, path: Path) -> None:
    """Bars of every metric, grouped by category; categories without objects are left out."""
    shown = [i for i, number in enumerate(report.instances) if number]
    figure = Figure(figsize=(max(6.0, 1.4 * len(shown) + 2.0), 4.2), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(report.ap)
    for offset, (metric, values) in enumerate(report.ap.items()):
        color = BAR_COLORS[offset % len(BAR_COLORS)]
        axis.bar(np.arange(len(shown)) + offset * width, values[shown], width, label=metric, color=color)
    axis.set_xticks(np.arange(len(shown)) + 0.4 - width / 2)
    axis.set_xticklabels([report.protocol.categories[i] for i in shown])
    axis.set(ylabel="average precision (%)", ylim=(0, 101), title=f"Per category, mode {report.mode.value}")
    axis.grid(axis="y", alpha=0.25)
    axis.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.savefig(path, dpi=120)


def _shade(category: str) -> tuple[float, ...]:
    return tuple(0.85 * v / 255.0 for v in category_color(category))
