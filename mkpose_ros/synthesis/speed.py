"""What a frame costs, step by step, on one core: ``LP_NUM_THREADS=0 python -m mkpose_ros.synthesis.speed``.

Each frame is a scene that was never drawn before, so uploads count; fill_holes is what readers of such depth pay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from mkpose_ros.geometry.depth import fill_holes
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import SENSORS, SceneConfig
from mkpose_ros.synthesis.sensor import Dice, expose, measure_depth

__all__ = ["time_stages"]


def time_stages(frames: int, objects: int, seed: int = 0, warm_up: int = 10) -> dict[str, np.ndarray]:
    """Milliseconds of processor time by stage, (frames,) each, after ``warm_up`` frames that fill caches."""
    generator = SceneGenerator(ShapeLibrary("train", seed), SceneConfig(objects=(objects, objects)), seed)
    times: dict[str, list[float]] = {}

    def timed(stage: str, work: Callable[..., Any], *args: Any) -> Any:
        start = time.process_time()
        result = work(*args)
        times.setdefault(stage, []).append(1e3 * (time.process_time() - start))
        return result

    for index in range(warm_up + frames):
        scene = timed("scene", generator.scene, index)
        rendering = timed("render", generator.renderer.render, scene)
        dice = Dice(*(np.random.default_rng([seed, index, stream]) for stream in (101, 102)))
        timed("expose", expose, rendering, dice)
        for kind in SENSORS[:3]:
            depth_m = timed(kind, measure_depth, rendering, kind, dice)
            timed("fill_holes", fill_holes, depth_m)
    generator.close()
    return {stage: np.array(values[len(values) * warm_up // (warm_up + frames) :]) for stage, values in times.items()}


@click.command()
@click.option("--frames", type=click.IntRange(min=1), default=40)
@click.option("--objects", type=click.IntRange(min=0, max=60), default=6)
@click.option("--seed", type=int, default=0)
def main(frames: int, objects: int, seed: int) -> None:
    """Processor time of the stages of making a frame of 640x480."""
    cv2.setNumThreads(1)
    table = Table("stage", "median ms", "90 % below", "95 % below", "at most", "a second")
    for stage, values in time_stages(frames, objects, seed).items():
        median, *rest = (float(ms) for ms in np.quantile(values, [0.5, 0.9, 0.95, 1.0]))
        table.add_row(stage, *(f"{value:.1f}" for value in (median, *rest, 1e3 / median)))
    Console().print(table)


if __name__ == "__main__":
    main()
