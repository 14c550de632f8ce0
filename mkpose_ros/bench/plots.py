"""A picture of time: what each stage takes at each rate, and how late detections come as the load grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["plot_pipeline"]

STAGES = ("wait", "convert", "segmentation", "crops", "engine", "poses", "tracking")


def plot_pipeline(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a picture of the rows of `bench_pipeline`: medians of the stages, stacked, and latency over the rate."""
    variants = list(dict.fromkeys(row["backend"] for row in rows))
    rates = sorted({row["rate_hz"] for row in rows})
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    bars = [(variant, rate) for variant in variants for rate in rates]
    bottom = [0.0] * len(bars)
    for stage in STAGES:
        heights = [_median(rows, variant, rate, stage) for variant, rate in bars]
        left.bar(range(len(bars)), heights, bottom=bottom, label=stage, width=0.7)
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    names = [f"{rate:.0f} Hz" + (f"\n{variant}" if len(variants) > 1 else "") for variant, rate in bars]
    left.set_xticks(range(len(bars)), names, fontsize=8, rotation=20)
    left.set_ylabel("ms, medians of the stages")
    left.legend(fontsize=8)
    for variant in variants:
        whole = [r for r in rows if r["backend"] == variant and r["name"].startswith("pipeline")]
        whole.sort(key=lambda row: row["rate_hz"])
        for key, style in (("median_ms", "-o"), ("p95_ms", "--^"), ("p99_ms", ":s")):
            label = f"{variant}, {key.removesuffix('_ms')}" if len(variants) > 1 else key.removesuffix("_ms")
            right.plot([r["rate_hz"] for r in whole], [r[key] for r in whole], style, label=label)
    right.set_xlabel("frames sent per second")
    right.set_ylabel("image stamp to detections received, ms")
    right.set_ylim(bottom=0.0)
    right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _median(rows: Sequence[Mapping[str, Any]], variant: str, rate_hz: float, stage: str) -> float:
    return next(
        (
            row["median_ms"]
            for row in rows
            if (row["backend"], row["rate_hz"], row["name"].strip()) == (variant, rate_hz, stage)
        ),
        0.0,
    )
