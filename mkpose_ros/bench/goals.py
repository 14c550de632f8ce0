"""What was asked for, beside what was measured: the first table of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["goals_table"]

Rows = Sequence[Mapping[str, Any]]
OBJECTS = 5  # in the shipped recording


def goals_table(results: Mapping[str, Rows]) -> str:
    """Markdown: each goal, the measured figure and whether it is met. ``results``: rows by bench, as far as at hand."""
    lines = [*_speed(results.get("pipeline", ())), *_steadiness(results.get("tracking", ()))]
    for row in results.get("soak", ()):
        if "verdict" in row:
            lines.append(
                (
                    f"memory, threads, file handles flat over {row['minutes']:.0f} minutes",
                    row["verdict"]["sentences"][-1],
                    row["verdict"]["flat"],
                )
            )
    rows = [f"| {goal} | {figure} | {'met' if met else '**not met**'} |" for goal, figure, met in lines]
    return "\n".join(["| goal | measured | |", "|---|---|---|", *rows])


def _speed(rows: Rows) -> Iterator[tuple[str, str, bool]]:
    whole = {(row["backend"], row["rate_hz"]): row for row in rows if row["name"].startswith("pipeline")}
    for (variant, rate_hz), row in whole.items():
        if rate_hz != 30.0:
            continue
        how = "carried masks" if variant == "this" else "each frame segmented" if variant.endswith("=1") else variant
        ratio = row["p99_ms"] / row["median_ms"]
        if variant == "this":
            poses = min(row["per_s"], row["objects_per_s"] / OBJECTS)
            yield "15 poses/s of each object, 30 Hz sent, carried masks", f"{poses:.1f}", poses >= 15.0
            text = f"{row['oldest_ms']:.0f} ms, the frames between replaced"
            yield "at 30 Hz the age of poses bounded, no queue", f"at most {text}", row["oldest_ms"] < 500.0
        else:
            yield f"5 full frames/s, 30 Hz sent, {how}", f"{row['per_s']:.1f}", row["per_s"] >= 5.0
        yield f"p99 under twice the median, {how}", f"{ratio:.2f} times", ratio < 2.0


def _steadiness(rows: Rows) -> Iterator[tuple[str, str, bool]]:
    named = {row["name"]: row for row in rows}
    for masks in ("gt", "predicted"):
        raw, tracked = (named.get(f"{masks} masks, all, {kind}") for kind in ("raw", "tracked"))
        if raw is None or tracked is None:
            continue
        of = {"gt": "true masks", "predicted": "predicted masks"}[masks]
        switches = f"{tracked['id_switches']} in {tracked['object_frames']}"
        yield f"id switches under 1 in 1000 object-frames, {of}", switches, tracked["switches_per_1000"] < 1.0
        before, after = raw["median_rotation_deg"], tracked["median_rotation_deg"]
        yield (
            f"median rotation error no worse tracked than raw, {of}",
            f"{before:.1f} to {after:.1f} deg",
            after <= before,
        )
        before, after = raw["jitter_deg"], tracked["jitter_deg"]
        yield f"jitter at most a third, {of}", f"{before:.2f} to {after:.2f} deg", after <= before / 3.0
        back, returns = tracked["returned_within_3"], tracked["returns"]
        yield f"back within 3 frames after 2 s out of sight, {of}", f"{back} of {returns}", back == returns
        if masks == "gt":
            spin = tracked["spin_deg"]
            yield "a bottle never spins: most turn about its axis in a frame", f"{spin:.1f} deg", spin < 10.0
