"""What an evaluation costs on one core: ``OMP_NUM_THREADS=1 python -m mkpose_ros.evaluation.speed``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.datasets.base import view_symmetry
from mkpose_ros.evaluation.evaluator import evaluate
from mkpose_ros.evaluation.protocol import Mode
from mkpose_ros.geometry.boxes import oriented_iou
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.types import ObjectPose, ObjectTruth

__all__ = ["random_boxes", "random_images", "seconds"]


def seconds(work: Callable[[], object], repeats: int = 1) -> np.ndarray:
    """Processor time (repeats,) of calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return np.array(times)


def random_boxes(rng: np.random.Generator, count: int, spread_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Poses (count, 4, 4), turned anyhow, and sizes (count, 3) of 5 to 30 cm."""
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = Rotation.random(count, random_state=rng).as_matrix()
    T[:, :3, 3] = rng.normal(0.0, spread_m, (count, 3))
    return T, rng.uniform(0.05, 0.3, (count, 3))


def random_images(
    rng: np.random.Generator, count: int
) -> tuple[Sequence[Sequence[ObjectPose]], Sequence[Sequence[ObjectTruth]]]:
    """Predictions and truths of images with one to five objects of the six categories, each found with some error."""
    predictions, truths = [], []
    for _ in range(count):
        number = int(rng.integers(1, 6))
        T, sizes_m = random_boxes(rng, number, 0.3)
        T[:, 2, 3] += 1.2
        turns = Rotation.from_rotvec(rng.normal(0.0, 0.1, (number, 3))).as_matrix()
        names = rng.choice(NOCS_CATEGORIES, number)
        truths.append([
            ObjectTruth(i + 1, name, "any", T[i], sizes_m[i], view_symmetry(name, True)) for i, name in enumerate(names)
        ])  # fmt: skip
        predictions.append([
            ObjectPose(
                category=name,
                score=float(rng.random()),
                T_cam_obj=compose_pose(T[i, :3, :3] @ turns[i], T[i, :3, 3] + rng.normal(0.0, 0.02, 3)),
                size_m=sizes_m[i] * rng.uniform(0.8, 1.2, 3),
                covariance=np.eye(6) * 1e-3,
                symmetry=view_symmetry(name, True),
                box2d=np.zeros(4, np.float32),
                keypoints_m=np.zeros((0, 3), np.float32),
            )
            for i, name in enumerate(names)
        ])  # fmt: skip
    return predictions, truths


@click.command()
@click.option("--images", type=click.IntRange(min=1), default=2750)
@click.option("--pairs", type=click.IntRange(min=1), default=20_000)
@click.option("--seed", type=int, default=0)
def main(images: int, pairs: int, seed: int) -> None:
    """Processor time of the evaluator and of oriented overlaps."""
    rng, console = np.random.default_rng(seed), Console()
    table = Table("spread of the boxes", "pairs that overlap", "pairs a second", "at best")
    for spread_m in (0.02, 0.08, 0.25):
        boxes = (*random_boxes(rng, pairs, spread_m), *random_boxes(rng, pairs, spread_m))
        share = float((oriented_iou(*boxes) > 0.0).mean())
        rates = pairs / seconds(lambda boxes=boxes: oriented_iou(*boxes), 5)
        table.add_row(f"{100 * spread_m:.0f} cm", f"{share:.0%}", f"{np.median(rates):,.0f}", f"{rates.max():,.0f}")
    console.print(table)
    predictions, truths = random_images(rng, images)
    objects = sum(map(len, truths))
    for mode in Mode:
        (cost,) = seconds(lambda mode=mode: evaluate(predictions, truths, mode))
        console.print(f"{mode.value}: {images} images with {objects} objects in {cost:.1f} s")


if __name__ == "__main__":
    main()
