"""`mkpose bench pipeline`: the recording played into a real node over DDS, at a camera's rates."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from mkpose_ros.bench.load import Load, own_context, run_load
from mkpose_ros.bench.node import load_row, own_ms, show_load
from mkpose_ros.commands.options import common_options
from mkpose_ros.errors import InputError, MkposeError
from mkpose_ros.ros.demo_camera import DemoCamera
from mkpose_ros.ros.transport import use_shipped_transport

__all__ = ["Variant", "bench_pipeline", "load_rows", "parse_variant", "pipeline", "play"]

NODE = "mkpose_ros.ros.node"
RECORDED_HZ = 12.0  # of the shipped recording
WARM_UP = 10  # frames at each rate that do not count


@dataclass(frozen=True)
class Variant:
    """One of the things compared: a configuration, or another revision of the code."""

    name: str
    parameters: tuple[str, ...] = ()  # NAME:=VALUE
    checkout: Path | None = None  # None: the code that runs this


def bench_pipeline(
    variants: Sequence[Variant], *, rates_hz: Sequence[float], seconds: float, repeats: int = 1
) -> list[dict[str, Any]]:
    """For each variant and rate a row of the image's stamp to the detections received in this process, and its stages.

    Each repeat starts a node for each rate and variant in turn, so that what else the machine does meets all alike.
    Rows carry rate_hz, sent, lost (by the transport), skipped (replaced by a newer frame), per_s, cpu_percent (of one
    core), oldest_ms (the greatest age on arrival), objects_per_s.
    """
    use_shipped_transport()
    loads: dict[tuple[str, float], list[Load]] = {}
    for repeat in range(repeats):
        for rate_hz in rates_hz:
            for variant in variants if repeat % 2 == 0 else variants[::-1]:
                load = play(variant, rate_hz, round(rate_hz * seconds))
                loads.setdefault((variant.name, rate_hz), []).append(load)
    rows = []
    for variant in variants:
        for rate_hz in rates_hz:
            rows += load_rows(variant, rate_hz, loads[variant.name, rate_hz])
    return rows


def parse_variant(text: str) -> Variant:
    """A configuration from "NAME:=VALUE NAME:=VALUE", or else a git revision; the latter has no checkout yet."""
    words = text.split()
    if not words:
        raise InputError("--compare: got nothing, expected NAME:=VALUE or a git revision")
    return Variant(text, tuple(words)) if ":=" in text else Variant(text)


@contextmanager
def _checked_out(variants: Sequence[Variant]) -> Iterator[list[Variant]]:
    """The variants with a worktree for each that is a revision; they are gone afterwards."""
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        ready, made = [], []
        try:
            for number, variant in enumerate(variants):
                if variant.parameters or variant.name == "this":
                    ready.append(variant)
                    continue
                path = Path(folder) / str(number)
                _git(root, "worktree", "add", "--detach", str(path), variant.name)
                made.append(path)
                ready.append(Variant(variant.name, checkout=path))
            yield ready
        finally:
            for path in made:
                _git(root, "worktree", "remove", "--force", str(path))


def _git(root: Path, *words: str) -> None:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"git {' '.join(words)}: {done.stderr.strip()}; give a revision of a checkout's history")


def play(
    variant: Variant, rate_hz: float, frames: int, watch: Callable[[psutil.Process], object] = lambda _: None
) -> Load:
    """Play so many frames of the recording into a node of its own. Raises MkposeError when it answers none."""
    context = own_context()
    camera = DemoCamera(paced_by_hand=True, context=context)
    # To and fro, so that nothing jumps where the recording ends, and at its own pace whatever the rate: frames are
    # repeated rather than the hand that held the camera sped up.
    times = max(round(rate_hz / RECORDED_HZ), 1)
    camera.frames = [frame for frame in camera.frames + camera.frames[-2:0:-1] for _ in range(times)]
    try:
        load = run_load(
            NODE,
            camera,
            lambda: camera.publish_next()[0],
            rate_hz=rate_hz,
            frames=frames,
            parameters=variant.parameters,
            warm_up=WARM_UP,
            checkout=variant.checkout,
            watch=watch,
        )
    finally:
        camera.destroy_node()
        context.try_shutdown()
    if not load.messages:
        raise MkposeError(f"bench: the node ({variant.name}) answered no frame at {rate_hz:.0f} Hz; see its log above")
    return load


def load_rows(variant: Variant, rate_hz: float, loads: Sequence[Load]) -> list[dict[str, Any]]:
    """The rows of `bench_pipeline` of one variant at one rate."""
    all_of = Load(ready_s=loads[0].ready_s, rss_mb=max(load.rss_mb for load in loads))
    for load in loads:
        all_of.sent_at |= load.sent_at
        all_of.received_at |= load.received_at
        all_of.latencies_ms += load.latencies_ms
        all_of.messages += load.messages
        all_of.reached += load.reached
        all_of.cpu_s += load.cpu_s
        all_of.page_faults += load.page_faults
        all_of.span_s += load.span_s
    objects = [len(message.objects) for message in all_of.messages]
    given = dict(parameter.split(":=", 1) for parameter in variant.parameters)
    fixed = {"backend": variant.name, "model": given.get("model", "small"), "rate_hz": rate_hz}
    fixed["objects"] = round(float(np.mean(objects)))
    row = load_row(f"pipeline at {rate_hz:.0f} Hz", all_of.latencies_ms, all_of, **fixed)
    row |= {
        "per_s": len(all_of.received_at) / all_of.span_s,
        "objects_per_s": sum(objects) / all_of.span_s,
        "cpu_percent": 100.0 * all_of.cpu_s / all_of.span_s,
        "oldest_ms": max(all_of.latencies_ms),
    }
    rows = [row, load_row("  without networks", [own_ms(m) for m in all_of.messages], all_of, **fixed)]
    for stage in [s.name for s in all_of.messages[-1].stages]:
        times = [s.duration_ms for m in all_of.messages for s in m.stages if s.name == stage]
        rows.append(load_row(f"  {stage}", times, all_of, **fixed))
    return rows


@click.command()
@click.option("--rates", default="10,30,60", show_default=True, help="Frames per second, separated by commas.")
@click.option("--seconds", type=click.FloatRange(min=1.0), default=15.0, show_default=True, help="At each rate.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Runs of each, interleaved.")
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME:=VALUE", help="The node's; may be repeated.")
@click.option(
    "--compare",
    "others",
    multiple=True,
    metavar="WHAT",
    help='Against "NAME:=VALUE NAME:=VALUE" or a git revision, taking turns; may be repeated.',
)
@click.option("--plot", type=click.Path(path_type=Path), default=None, help="Write stages and latencies as a picture.")
@common_options
def pipeline(
    rates: str,
    seconds: float,
    repeats: int,
    parameters: tuple[str, ...],
    others: tuple[str, ...],
    plot: Path | None,
    json_file: str | None,
    seed: int,
) -> None:
    """Play the recording into the whole node at several rates: latency, throughput, losses, CPU and memory."""
    rates_hz = tuple(float(rate) for rate in rates.split(","))
    with _checked_out([Variant("this", parameters), *(parse_variant(text) for text in others)]) as variants:
        rows = bench_pipeline(variants, rates_hz=rates_hz, seconds=seconds, repeats=repeats)
    show_load(rows, json_file)
    if plot:
        from mkpose_ros.bench.plots import plot_pipeline

        plot_pipeline(rows, plot)
