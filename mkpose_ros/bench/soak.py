"""`mkpose bench soak`: the recording played into a real node for long, and what the node holds meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np
import psutil

from mkpose_ros.bench.node import show_load
from mkpose_ros.bench.pipeline import Variant, load_rows, play
from mkpose_ros.commands.options import common_options, write_json
from mkpose_ros.ros.transport import use_shipped_transport

__all__ = ["RULE", "Health", "judge", "soak"]

WARM_UP_SHARE = 0.4  # of the run: runtimes keep plans for each number of objects, and learn them as these come up
RISE_SHARE = 0.01  # of the memory: more than this in the rest of the run is growth
RULE = (
    f"flat: after the first {WARM_UP_SHARE:.0%} of the run a line fitted to memory rises by less than {RISE_SHARE:.0%} "
    "of it, and the most threads and file handles are no more than at the start of that part"
)


@dataclass
class Health:
    """What a process holds, sampled while it runs."""

    time_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)

    def sample(self, process: psutil.Process, time_s: float) -> None:
        with process.oneshot():
            self.time_s.append(time_s)
            self.rss_mb.append(process.memory_info().rss / 1e6)
            self.threads.append(process.num_threads())
            self.handles.append(process.num_fds())


def judge(health: Health) -> dict[str, Any]:
    """By RULE: "flat", "sentences" that say why, and for rss_mb, threads and handles first, last, most, per_hour."""
    time_s = np.array(health.time_s)
    late = time_s >= WARM_UP_SHARE * time_s[-1]
    span_h = float(np.ptp(time_s[late])) / 3600.0
    verdict: dict[str, Any] = {}
    for name in ("rss_mb", "threads", "handles"):
        series = np.array(getattr(health, name), float)[late]
        slope = np.polyfit(time_s[late] / 3600.0, series, 1)[0] if len(series) > 2 else float("nan")
        verdict[name] = {"first": series[0], "last": series[-1], "most": series.max(), "per_hour": float(slope)}
    memory = verdict["rss_mb"]
    rise = memory["per_hour"] * span_h / memory["first"]
    flat = {"rss_mb": bool(rise < RISE_SHARE)}  # false too where there were too few samples
    flat |= {name: bool(verdict[name]["most"] <= verdict[name]["first"]) for name in ("threads", "handles")}
    grown = [name for name, is_flat in flat.items() if not is_flat]
    sentence = (
        f"{'FLAT' if not grown else 'NOT FLAT'}: memory {memory['first']:.0f} to {memory['last']:.0f} MB, "
        f"{memory['per_hour']:+.0f} MB an hour ({rise:+.2%} in {60 * span_h:.1f} minutes); threads "
        f"{verdict['threads']['first']:.0f} to {verdict['threads']['most']:.0f}, file handles "
        f"{verdict['handles']['first']:.0f} to {verdict['handles']['most']:.0f}"
    )
    return {**verdict, "flat": not grown, "sentences": [f"Rule: {RULE}.", "", sentence]}


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="How long.")
@click.option("--rate", type=click.FloatRange(min=1.0), default=30.0, show_default=True, help="Frames per second.")
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME:=VALUE", help="The node's; may be repeated.")
@common_options
def soak(minutes: float, rate: float, parameters: tuple[str, ...], json_file: str | None, seed: int) -> None:
    """Play the recording for long and judge whether the node's memory, threads and file handles stay what they are."""
    use_shipped_transport()
    health, frames = Health(), round(60.0 * minutes * rate)
    count = iter(range(frames))

    def watch(process: psutil.Process) -> None:
        index = next(count)
        if index % round(rate) == 0:
            health.sample(process, index / rate)

    variant = Variant("this", parameters)
    rows = load_rows(variant, rate, [play(variant, rate, frames, watch)])
    verdict = judge(health)
    rows[0] |= {"minutes": minutes, "health": vars(health), "verdict": verdict}
    show_load(rows[:1], None)
    for sentence in filter(None, verdict["sentences"]):
        click.echo(sentence, err=True)
    write_json(rows, json_file)
