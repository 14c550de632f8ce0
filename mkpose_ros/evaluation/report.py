"""An evaluation as a page: tables beside the published figures, curves, bars, the worst cases, and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mkpose_ros.datasets import Dataset
from mkpose_ros.drawing import draw_poses, draw_text, tile_images
from mkpose_ros.evaluation.evaluator import Curves, Report
from mkpose_ros.evaluation.plots import plot_categories, plot_curves
from mkpose_ros.evaluation.protocol import Mode
from mkpose_ros.evaluation.published import PUBLISHED, PUBLISHED_NOTE
from mkpose_ros.evaluation.runner import EvaluationRun
from mkpose_ros.evaluation.statistics import Pair
from mkpose_ros.types import CameraIntrinsics, RgbdFrame

__all__ = ["Source", "draw_worst", "markdown", "metrics_json", "write_report"]

MODE_TITLES = {
    Mode.NOCS: "`nocs`: the field's evaluator, number for number, faults included",
    Mode.CORNERS: "`corners`: the field's evaluator with axis-aligned boxes around the corners (CATRE)",
    Mode.EXACT: "`exact`: oriented boxes, proper angles and ties",
}
STATISTICS = {
    "pairs": "pairs",
    "median_rotation_deg": "rotation (deg)",
    "median_translation_cm": "translation (cm)",
    "median_size_error_percent": "size (%)",
    "median_iou": "IoU",
    "median_box_distance_cm": "box distance (cm)",
    "box_distance_below_10_percent": "below 10 % of diagonal (%)",
    "covered_50_percent": "in the 50 % region (%)",
    "covered_90_percent": "in the 90 % region (%)",
}


@dataclass(frozen=True)
class Source:
    """What was evaluated, in words."""

    data: str
    model: str
    masks: str
    unreadable: int = 0


def metrics_json(report: Report) -> dict[str, Any]:
    """The figures that docs/cli.md promises, in percent."""
    per_category = {
        category: {name: round(float(values[i]), 3) for name, values in report.ap.items()}
        | {"instances": int(report.instances[i])}
        for i, category in enumerate(report.protocol.categories)
    }
    return (
        {"mode": report.mode.value}
        | {name: round(report.mean(name), 3) for name in report.ap}
        | {"per_category": per_category, "instances": int(report.instances.sum())}
    )


def write_report(
    reports: Sequence[Report], curves: Curves, run: EvaluationRun, dataset: Dataset, source: Source, out: Path
) -> None:
    """Write report.md, metrics.json, curves.png, categories.png and worst.jpg into a folder; reports[0] leads."""
    out.mkdir(parents=True, exist_ok=True)
    lead = reports[0]
    plot_curves(curves, lead, out / "curves.png")
    plot_categories(lead, out / "categories.png")
    worst = draw_worst(lead.statistics.pairs, run, dataset)
    cv2.imwrite(str(out / "worst.jpg"), cv2.cvtColor(worst, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    (out / "report.md").write_text(markdown(reports, source), encoding="utf-8")
    details = {
        "source": vars(source),
        "modes": {r.mode.value: metrics_json(r) for r in reports},
        "recall_aware": {r.mode.value: {k: float(np.mean(v)) for k, v in r.recall_aware_ap.items()} for r in reports},
        "statistics": lead.statistics.summary()
        | {"missed": lead.statistics.missed, "unpaired": lead.statistics.unpaired, "invalid": lead.invalid},
        "statistics_per_category": {c: lead.statistics.summary(c) for c in lead.protocol.categories},
        "faults": [vars(fault) for fault in dataset.faults],
    }
    (out / "metrics.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")


def markdown(reports: Sequence[Report], source: Source) -> str:
    """The report's page."""
    lead = reports[0]
    parts = [
        "# Evaluation\n",
        f"{source.data}; {lead.images} images ({source.unreadable} unreadable), {int(lead.instances.sum())} objects; "
        f"model {source.model}; masks: {source.masks}. Rules of `{lead.protocol.name}`: mean over "
        f"{len(lead.protocol.categories)} categories, an absent one counts 0.\n",
        "## Average precision (%)\n",
        _overview(reports),
        f"\n{PUBLISHED_NOTE} The three modes:\n",
        "\n".join(f"- {MODE_TITLES[r.mode]}" for r in reports),
        "\nThe pose columns count only among pairs whose boxes overlap by more than 0.1; with misses and false "
        "positives they are:\n",
        _table(
            ["all objects and predictions", *lead.recall_aware_ap],
            [[r.mode.value, *(float(np.mean(v)) for v in r.recall_aware_ap.values())] for r in reports],
        ),
    ]
    for report in reports:
        parts += [f"\n## Per category, `{report.mode.value}`\n", _per_category(report)]
    return "\n".join([*parts, "\n## Errors of the pairs\n", _statistics(lead), "", *_PICTURES])


_PICTURES = [
    "![AP over IoU, degrees and centimetres](curves.png)",
    "![per category](categories.png)",
    "![the worst cases: truth white, prediction coloured](worst.jpg)",
    "",
]


def _overview(reports: Sequence[Report]) -> str:
    names = list(reports[0].ap)
    rows: list[list[Any]] = [[f"ours, `{r.mode.value}`", *(r.mean(name) for name in names)] for r in reports]
    rows += [
        [f"*{method}, {data}*", *(f"*{figures[name]:.1f}*" if name in figures else "-" for name in names)]
        for (method, data), figures in PUBLISHED.items()
    ]
    return _table(["", *names], rows)


def _per_category(report: Report) -> str:
    rows = [
        [category, int(report.instances[i]), int(report.predictions[i]), *(values[i] for values in report.ap.values())]
        for i, category in enumerate(report.protocol.categories)
    ]
    return _table(["category", "objects", "predictions", *report.ap], rows)


def _statistics(report: Report) -> str:
    statistics = report.statistics
    rows = [
        [name, *(statistics.summary(category)[key] for key in STATISTICS)]
        for name, category in [*((c, c) for c in report.protocol.categories), ("all", None)]
    ]
    note = (
        "Medians over predictions paired with the nearest object of their category; each prediction counts once. "
        f"Objects without a prediction: {statistics.missed}; predictions without an object: {statistics.unpaired}; "
        f"predictions that are no pose: {report.invalid}. The box distance is the mean over the eight corners. An "
        "honest covariance has 50 % and 90 % of the truths in its regions; turns about symmetry axes are left out.\n"
    )
    return note + "\n" + _table(["category", *STATISTICS.values()], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def text(value: Any) -> str:
        if value is None:
            return "-"
        if isinstance(value, float):
            return f"{value:.2f}" if abs(value) < 10.0 else f"{value:.1f}"
        return str(value)

    lines = [head, ["---"] * len(head), *([text(v) for v in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw_worst(pairs: Sequence[Pair], run: EvaluationRun, dataset: Dataset, count: int = 12) -> np.ndarray:
    """A sheet (H, W, 3) of the pairs whose boxes are farthest apart for their size; the truth is white."""
    ranked = sorted(pairs, key=lambda p: -p.box_distance_m / float(np.linalg.norm(p.truth.size_m)))
    tiles = []
    for pair in ranked[:count]:
        sample = dataset[run.frames[pair.image]]
        tile, k = _cut(sample.frame, sample.instance_ids == pair.truth.instance_id)
        tile = draw_poses(tile, [pair.truth], k, axes=False, labels=False, fill=False, color=(255, 255, 255))
        tile = draw_poses(tile, [pair.pose], k, labels=False, fill=False)
        draw_text(tile, f"{pair.truth.category} {sample.name}", (2, 16), (32, 32, 36), 0.8)
        errors = f"{pair.degrees:.0f} deg {pair.centimetres:.1f} cm IoU {pair.iou:.2f}"
        draw_text(tile, errors, (2, tile.shape[0] - 2), (32, 32, 36), 0.8)
        tiles.append(tile)
    return tile_images(tiles, columns=4)


def _cut(frame: RgbdFrame, mask: np.ndarray, side_px: int = 280) -> tuple[np.ndarray, CameraIntrinsics]:
    """The square around a mask, with as much again around it, resized; and the intrinsics of that picture."""
    rows, columns = np.nonzero(mask)
    scale = side_px / (2.2 * max(np.ptp(columns), np.ptp(rows), 24))
    shift = side_px / 2 - scale * np.array([columns.mean(), rows.mean()])
    matrix = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    k = frame.intrinsics
    view = CameraIntrinsics(
        k.fx * scale, k.fy * scale, k.cx * scale + shift[0], k.cy * scale + shift[1], side_px, side_px
    )
    size = (side_px, side_px)
    return cv2.warpAffine(frame.rgb, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(24, 24, 24)), view
