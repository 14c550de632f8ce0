"""The tables of docs/performance.md and docs/tracking.md, made of the rows that the benches wrote as JSON.

A page holds regions between `<!-- bench NAME -->` and `<!-- /bench NAME -->`, which are rewritten and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mkpose_ros.bench.goals import goals_table
from mkpose_ros.evaluation.card import put_section

__all__ = ["REGIONS", "write_pages"]

Rows = Sequence[Mapping[str, Any]]
STAGES = ("wait", "convert", "segmentation", "crops", "engine", "poses", "tracking", "without networks")


def write_pages(results: Path, docs: Path) -> list[str]:
    """Rewrite the regions of the pages in `docs` whose results are in the folder `results`; their names.

    ``results`` holds NAME.json, rows of the bench of that name, and NAME.machine.json, on what they were measured.
    Raises InputError when a page is missing.
    """
    rows = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json")) if "." not in path.stem}
    written = []
    for region, (page, sources, table) in REGIONS.items():
        found = {name: rows[name] for name in sources if name in rows}
        if not found:
            continue
        where = dict.fromkeys(_machine_line(results / f"{name}.machine.json") for name in found)
        body = "\n".join([*(line for line in where if line), "", table(found)])
        put_section(docs / page, f"<!-- bench {region} -->\n{body}\n<!-- /bench {region} -->")
        written.append(region)
    return written


def _machine_line(path: Path) -> str:
    if not path.is_file():
        return ""
    machine = json.loads(path.read_text())
    return (
        f"`{machine['command']}` on {machine['day']}, revision {machine['revision']}: {machine['cores']} cores of "
        f"{machine['cpu']}; other programs used {machine['others_percent']:.0f} % of them before it ran and "
        f"{machine['during_percent']:.0f} % while it ran."
    )


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _whole(rows: Rows) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["name"].startswith("pipeline")]


def _segment_every(row: Mapping[str, Any]) -> str:
    return "`auto`" if row["backend"] == "this" else f"`{row['backend'].split(':=')[-1]}`"


def _pipeline(results: Mapping[str, Rows]) -> str:
    heads = ("sent", "segment_every", "median, p95, p99 ms", "p99 over median", "oldest ms", "frames/s", "poses/s")
    lines = [
        (
            f"{row['rate_hz']:.0f} Hz",
            _segment_every(row),
            f"{row['median_ms']:.0f}, {row['p95_ms']:.0f}, {row['p99_ms']:.0f}",
            f"{row['p99_ms'] / row['median_ms']:.1f}",
            f"{row['oldest_ms']:.0f}",
            f"{row['per_s']:.1f}",
            f"{row['objects_per_s']:.0f}",
            f"{row['skipped']} of {row['sent']}, {row['lost']}",
            f"{row['cpu_percent']:.0f} %",
            f"{row['rss_mb']:.0f} MB",
        )
        for row in _whole(results["pipeline"])
    ]
    return _table((*heads, "replaced by newer, lost", "CPU, of a core", "memory"), lines)


def _stages(results: Mapping[str, Rows]) -> str:
    rows = results["pipeline"]
    lines = []
    for whole in _whole(rows):
        same = [r for r in rows if (r["backend"], r["rate_hz"]) == (whole["backend"], whole["rate_hz"])]
        times = {r["name"].strip(): f"{r['median_ms']:.1f} ({r['p99_ms']:.0f})" for r in same}
        name = f"{whole['rate_hz']:.0f} Hz, {_segment_every(whole)}"
        lines.append((name, *(times.get(stage, "-") for stage in STAGES)))
    return _table(("sent, segment_every", *STAGES), lines)


def _node(results: Mapping[str, Rows]) -> str:
    return _table(("", "median ms", "p95 ms", "p99 ms"), [(r["name"].strip(), *_times(r)) for r in results["node"]])


def _engine(results: Mapping[str, Rows]) -> str:
    heads = ("model", "engine", "batch", "threads", "median ms", "p95 ms", "p99 ms", "CPU ms", "instances/s", "of peak")
    lines = [
        (
            *(str(row[key]) for key in ("model", "backend", "batch", "threads")),
            *_times(row),
            f"{row['cpu_ms']:.1f}",
            f"{row['per_s']:.0f}",
            f"{row['peak_share']:.0%}" if "peak_share" in row else "-",
        )
        for row in results["engine"]
    ]
    return _table(heads, lines)


def _segmentation(results: Mapping[str, Rows]) -> str:
    heads = ("stage", "runtime", "median ms", "p95 ms", "p99 ms")
    rows = results["segmentation"]
    return _table(heads, [(r["name"].removeprefix("segmentation "), r["backend"], *_times(r)) for r in rows])


def _roofline(results: Mapping[str, Rows]) -> str:
    heads = ("model, batch", "engine", "M param.", "GFLOP", "MB moved", "FLOP a byte", "peaks", "least ms", "median ms")
    lines = [
        (
            f"{row['model']}, {row['batch']}",
            f"{row['backend']}, {row['threads']} threads",
            f"{row['mparameters']:.1f}",
            f"{row['gflop_batch']:.2f}",
            f"{row['mbytes']:.0f}",
            f"{row['flop_per_byte']:.0f}",
            f"{row['peak_gflops']:.0f} GFLOP/s, {row['peak_gbs']:.0f} GB/s",
            f"{row['roof_ms']:.1f}",
            f"{row['median_ms']:.1f}",
            f"{row['roof_share']:.0%}",
        )
        for row in results["roofline"]
    ]
    return _table((*heads, "of the roof"), lines)


def _steadiness(results: Mapping[str, Rows]) -> str:
    heads = ("masks, scene", "objects x frames", "id switches", "doubled", "rotation, centre error")
    heads += ("jitter (mean)", "centre jitter", "flips", "most spin", "back within 3 frames")
    lines = [
        (
            row["name"],
            str(row["object_frames"]),
            "-" if row["name"].endswith("raw") else str(row["id_switches"]),
            f"{row['doubled']:.1%}",
            f"{row['median_rotation_deg']:.1f} deg, {row['median_translation_mm']:.1f} mm",
            f"{row['jitter_deg']:.2f} deg ({row['mean_jitter_deg']:.1f})",
            f"{row['jitter_mm']:.2f} mm",
            str(row["flips"]),
            f"{row['spin_deg']:.1f} deg",
            f"{row['returned_within_3']} of {row['returns']}" if "returns" in row else "-",
        )
        for row in results["tracking"]
        if "jitter_deg" in row
    ]
    return _table(heads, lines)


def _carried(results: Mapping[str, Rows]) -> str:
    heads = ("age s", "masks", "median IoU", "a tenth below", "lost", "ms a frame, median, p99")
    lines = [
        (
            f"{row['age_s']:.2f}",
            str(row["object_frames"]),
            f"{row['median_iou']:.3f}",
            f"{row['p10_iou']:.3f}",
            f"{row['lost_share']:.1%}",
            f"{row['median_ms']:.1f}, {row['p99_ms']:.1f}",
        )
        for row in results["tracking"]
        if "median_iou" in row
    ]
    return _table(heads, lines)


def _soak(results: Mapping[str, Rows]) -> str:
    (row,) = [r for r in results["soak"] if "verdict" in r]
    sent = f"{row['minutes']:.0f} minutes at {row['rate_hz']:.0f} Hz: {row['sent']} frames sent, {row['per_s']:.1f}"
    counts = f"{row['skipped']} replaced by newer ones, {row['lost']} lost by the transport"
    heads = ("", "after the warm-up", "at the end", "most", "an hour")
    lines = [
        (
            {"rss_mb": "memory, MB", "threads": "threads", "handles": "file handles"}[name],
            *(f"{row['verdict'][name][key]:.0f}" for key in ("first", "last", "most")),
            f"{row['verdict'][name]['per_hour']:+.1f}",
        )
        for name in ("rss_mb", "threads", "handles")
    ]
    ages = f"latency median {row['median_ms']:.0f}, p99 {row['p99_ms']:.0f}, oldest {row['oldest_ms']:.0f} ms"
    text = "\n".join(row["verdict"]["sentences"])
    return f"{sent} a second answered, {counts}; {ages}.\n\n{_table(heads, lines)}\n\n{text}"


def _times(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{row['median_ms']:.1f}", f"{row['p95_ms']:.1f}", f"{row['p99_ms']:.1f}"


# Name of the region: its page, the benches whose rows it needs or takes, its table.
REGIONS: dict[str, tuple[str, tuple[str, ...], Callable[[Mapping[str, Rows]], str]]] = {
    "goals": ("performance.md", ("pipeline", "tracking", "soak"), goals_table),
    "pipeline": ("performance.md", ("pipeline",), _pipeline),
    "stages": ("performance.md", ("pipeline",), _stages),
    "node": ("performance.md", ("node",), _node),
    "engine": ("performance.md", ("engine",), _engine),
    "segmentation": ("performance.md", ("segmentation",), _segmentation),
    "roofline": ("performance.md", ("roofline",), _roofline),
    "steadiness": ("performance.md", ("tracking",), _steadiness),
    "carried": ("tracking.md", ("tracking",), _carried),
    "soak": ("performance.md", ("soak",), _soak),
}
