"""`mkpose bench all`: every bench one after the other, and the pages that show their figures."""

from __future__ import annotations

import datetime
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import psutil

from mkpose_ros.errors import MkposeError

__all__ = ["BENCHES", "everything"]

# In about ten minutes on two idle cores. The soak takes its own: mkpose bench soak --json out/bench/soak.json
BENCHES = {
    "pipeline": 'pipeline --seconds 15 --compare "segment_every:=1"',
    "node": "node",
    "engine": "engine --models small,base --repeats 10",
    "roofline": "roofline --models small,base --repeats 10",
    "segmentation": "segmentation --repeats 12",
    "tracking": "tracking --scenes 1,2,3 --seed 7 --masks both",
}
OTHER_BENCHES = ("soak",)  # whose figures have a place as well, but that run only where they are named


@click.command()
@click.option("--only", default=",".join(BENCHES), show_default=True, help="Which, separated by commas; also soak.")
@click.option("--run/--no-run", default=True, show_default=True, help="Measure, or only write the pages again.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True, help="For JSON.")
@click.option("--docs", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, help="The pages.")
def everything(only: str, run: bool, out: Path, docs: Path) -> None:
    """Run the benches, each in a process of its own, and write their tables and pictures into the pages of docs/."""
    from mkpose_ros.bench.report import write_pages  # its pictures need an extra, of which `--help` knows nothing

    names = [name for name in only.split(",") if name]
    unknown = set(names) - {*BENCHES, *OTHER_BENCHES}
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; expected some of {', '.join(BENCHES)}, soak")
    if not docs.is_dir():
        raise click.BadParameter(f"--docs {docs} is no folder; run this in a checkout or name its docs folder")
    out.mkdir(parents=True, exist_ok=True)
    failed = [name for name in names if run and not _run(name, out, docs)]
    written = write_pages(out, docs)
    click.echo(f"written into {docs}: {', '.join(written) or 'nothing'}", err=True)
    if failed:
        raise MkposeError(f"bench: {', '.join(failed)} failed; the output above says why, the others are written")


def _run(name: str, out: Path, docs: Path) -> bool:
    """Run one bench and keep its rows and what the machine did; False when it failed, with nothing kept."""
    words = shlex.split(BENCHES.get(name, name))
    machine = {"command": f"mkpose bench {BENCHES.get(name, name)}", **_machine(), "others_percent": _busy_percent(1.0)}
    target = out / f"{name}.json"
    part = target.with_suffix(".part")
    command = [sys.executable, "-m", "mkpose_ros.cli", "bench", *words, "--json", str(part)]
    if name == "pipeline":
        command += ["--plot", str(docs / "images" / "performance.png")]
    click.echo(f"{machine['command']} ...", err=True)
    before, start = psutil.cpu_times(), time.monotonic()
    process = psutil.Popen(command)
    own_s = _watch(process)
    took_s, busy_s = time.monotonic() - start, _busy_s(psutil.cpu_times()) - _busy_s(before)
    if process.returncode:
        part.unlink(missing_ok=True)
        return False
    machine |= {"seconds": took_s, "during_percent": _percent(busy_s - own_s, took_s)}
    part.replace(target)
    (out / f"{name}.machine.json").write_text(json.dumps(machine, indent=2) + "\n")
    click.echo(f"{name}: {took_s:.0f} s", err=True)
    return True


def _watch(process: psutil.Popen) -> float:
    """Wait for a process; the processor time in seconds of it and what it started."""
    spent: dict[int, float] = {}
    while True:
        for member in [process, *_children(process)]:
            try:
                times = member.cpu_times()
            except psutil.Error:
                continue  # it has ended
            spent[member.pid] = times.user + times.system
        try:
            process.wait(1.0)
            return sum(spent.values())
        except psutil.TimeoutExpired:
            continue


def _children(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _busy_percent(seconds: float) -> float:
    before = psutil.cpu_times()
    time.sleep(seconds)
    return _percent(_busy_s(psutil.cpu_times()) - _busy_s(before), seconds)


def _percent(busy_s: float, span_s: float) -> float:
    return max(100.0 * busy_s / (span_s * (psutil.cpu_count() or 1)), 0.0)


def _busy_s(times: Any) -> float:
    """Of all cores, by anybody, another guest of the same computer included."""
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))


def _machine() -> Mapping[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"cpu": cpu, "cores": psutil.cpu_count(), "day": datetime.date.today().isoformat(), "revision": _revision()}


def _revision() -> str:
    root = Path(__file__).resolve().parents[2]
    words = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    try:
        return version("mkpose_ros")
    except PackageNotFoundError:
        return "unknown"
