"""The stopwatch that all benches share: interleaved runs, percentiles, rows and their table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from rich.table import Table

__all__ = ["Times", "interleave", "rows_table", "rss_mb", "timing_row"]

COLUMNS = {  # key of a row: heading, format
    "name": ("what", "{}"),
    "backend": ("backend", "{}"),
    "model": ("model", "{}"),
    "batch": ("batch", "{}"),
    "threads": ("threads", "{}"),
    "median_ms": ("median ms", "{:.1f}"),
    "p95_ms": ("p95 ms", "{:.1f}"),
    "p99_ms": ("p99 ms", "{:.1f}"),
    "cpu_ms": ("CPU ms", "{:.1f}"),
    "per_s": ("per s", "{:.1f}"),
    "rss_mb": ("MB", "{:.0f}"),
    "page_faults": ("page faults", "{:.0f}"),
    "mparameters": ("M param.", "{:.2f}"),
    "gflop": ("GFLOP each", "{:.2f}"),
    "gflop_batch": ("GFLOP", "{:.2f}"),
    "mbytes": ("MB moved", "{:.0f}"),
    "flop_per_byte": ("FLOP a byte", "{:.0f}"),
    "roof_ms": ("least ms", "{:.1f}"),
    "roof_share": ("of the roof", "{:.0%}"),
    "peak_share": ("of peak", "{:.0%}"),
    "object_frames": ("objects x frames", "{}"),
    "id_switches": ("id switches", "{}"),
    "doubled": ("doubled", "{:.1%}"),
    "median_rotation_deg": ("median deg", "{:.1f}"),
    "median_translation_mm": ("median mm", "{:.1f}"),
    "jitter_deg": ("jitter deg", "{:.2f}"),
    "mean_jitter_deg": ("mean", "{:.2f}"),
    "jitter_mm": ("jitter mm", "{:.2f}"),
    "flips": ("flips", "{}"),
    "spin_deg": ("most spin deg", "{:.1f}"),
    "returns": ("returns", "{}"),
    "returned_within_3": ("in 3 frames", "{}"),
    "age_s": ("age s", "{:.2f}"),
    "median_iou": ("median IoU", "{:.3f}"),
    "p10_iou": ("a tenth below", "{:.3f}"),
    "lost_share": ("lost", "{:.1%}"),
}


@dataclass(frozen=True)
class Times:
    """Of one task, in the order of its runs."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)  # processor time of all threads of this process


def interleave(
    tasks: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 2, seed: int = 0
) -> dict[str, Times]:
    """The times of each task, `repeats` of them.

    Each round runs every task once, in a new random order: what else the machine does meets all tasks alike, which is
    the only fair comparison on a machine that is not idle.
    """
    rng = np.random.default_rng(seed)
    times = {name: Times() for name in tasks}
    for round_index in range(warm_up + repeats):
        for name in rng.permutation(list(tasks)).tolist():
            wall, cpu = time.perf_counter(), time.process_time()
            tasks[name]()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if round_index >= warm_up:
                times[name].wall_ms.append(1e3 * wall)
                times[name].cpu_ms.append(1e3 * cpu)
    return times


def timing_row(
    name: str, times_ms: Sequence[float], *, backend: str, model: str, batch: int, threads: int, memory_mb: float
) -> dict[str, Any]:
    """One row of `mkpose bench --json`; per_s counts instances (or frames) at the median."""
    median, p95, p99 = (float(np.percentile(times_ms, q)) for q in (50, 95, 99))
    return {
        "name": name, "backend": backend, "model": model, "batch": batch, "threads": threads,
        "median_ms": median, "p95_ms": p95, "p99_ms": p99, "per_s": 1e3 * batch / median, "rss_mb": memory_mb,
    }  # fmt: skip


def rss_mb() -> float:
    """This process' resident memory in MB."""
    return psutil.Process().memory_info().rss / 1e6


def rows_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table of rows; columns that no row has are left out, a missing value is a dash."""
    columns = {key: column for key, column in COLUMNS.items() if any(row.get(key) is not None for row in rows)}
    table = Table(*(heading for heading, _ in columns.values()))
    for row in rows:
        table.add_row(*("-" if row.get(key) is None else form.format(row[key]) for key, (_, form) in columns.items()))
    return table
