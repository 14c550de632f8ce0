"""What tracking does to poses: rendered recordings with a moving camera and known truth, raw beside tracked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.bench.timing import rss_mb, timing_row
from mkpose_ros.errors import InputError
from mkpose_ros.evaluation.steadiness import Seen, Steadiness, follow, measure, recoveries
from mkpose_ros.inference.engine import open_engine, physical_cores
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.segmentation import CleanConfig, clean_instances, instances_from_label_image, open_segmenter
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import SceneConfig
from mkpose_ros.synthesis.sequence import Sequence as Recording
from mkpose_ros.synthesis.sequence import SequenceConfig
from mkpose_ros.tracking import Tracker
from mkpose_ros.types import FrameSample, ObjectPose

__all__ = ["bench_tracking"]

SCENES = SceneConfig(
    categories=("bottle", "bowl", "can", "mug", "camera", "laptop", "box", "cup"), objects=(5, 6), distractors=(1, 1)
)
PASSAGE_S = 16.0  # a board takes this long to cross the view, so that it hides each object for about two seconds
START_S = 2.0
MIN_SCORE = 0.3


def bench_tracking(
    *,
    scenes: Sequence[int],
    frames: int,
    rate_hz: float,
    model: Path,
    backend: str = "auto",
    masks: str = "gt",
    camera_known: bool = True,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:
    """Two rows for each scene, "raw" and "tracked", and two of all together: times as `timing_row`, and Steadiness.

    ``frames`` of each scene, shapes of the validation split, five objects and more; a board passes before them.
    ``masks``: gt or predicted (the shipped segmenter). ``camera_known``: the tracker is given the camera's pose.
    Times are of the pose stage (raw) and of the tracker (tracked). Both rows count the objects that both have.
    """
    if masks not in ("gt", "predicted"):
        raise InputError(f"bench tracking: masks are {masks!r}, expected gt or predicted")
    engine = open_engine(model, backend)
    estimator = PoseEstimator(engine, load_text_features(), unknown_category="skip")
    segmenter = open_segmenter() if masks == "predicted" else None
    generator = SceneGenerator(ShapeLibrary("val", seed=0), SCENES, seed)
    rows, histories, times = [], ({}, {}), ([], [])
    returns: list[int] = []
    for scene in scenes:
        samples, found, pose_ms = [], [], []
        for sample in _shots(generator, scene, frames, rate_hz):
            if segmenter is None:
                names = {truth.instance_id: truth.category for truth in sample.objects}
                instances = instances_from_label_image(sample.instance_ids, names)
            else:
                instances = segmenter.segment(sample.frame)
            instances = clean_instances(sample.frame, instances, CleanConfig(score_threshold=MIN_SCORE))
            start = time.perf_counter()
            found.append(estimator.estimate(sample.frame, instances))
            pose_ms.append(1e3 * (time.perf_counter() - start))
            samples.append(sample)
            progress()
        tracked, track_ms = _track(samples, found, camera_known)
        both = follow(samples, found), follow(samples, tracked)
        again = recoveries(samples, *both)
        returns += again
        for k, (history, ms) in enumerate(zip(both, (pose_ms, track_ms), strict=True)):
            histories[k].update({f"{scene}/{name}": seen for name, seen in history.items()})
            times[k].extend(ms)
        rows += _rows(f"scene {scene}", both, (pose_ms, track_ms), again, engine.name, model.name)
    rows += _rows("all", histories, times, returns, engine.name, model.name)
    engine.close()
    return rows


def _shots(generator: SceneGenerator, scene: int, frames: int, rate_hz: float) -> Iterator[FrameSample]:
    start = round(START_S * rate_hz)
    passage = (start, start + round(PASSAGE_S * rate_hz))
    recording = Recording(generator, SequenceConfig(rate_hz=rate_hz, scene=scene, occluder=passage))
    for index in range(frames):
        shot = recording.shot(index)
        yield replace(shot.sample, frame=replace(shot.sample.frame, T_world_cam=shot.T_world_cam))


def _track(
    samples: Sequence[FrameSample], found: Sequence[list[ObjectPose]], camera_known: bool
) -> tuple[list[list[ObjectPose]], list[float]]:
    tracker, tracked, times_ms = Tracker(), [], []
    for sample, objects in zip(samples, found, strict=True):
        frame = sample.frame if camera_known else replace(sample.frame, T_world_cam=None)
        start = time.perf_counter()
        tracked.append(tracker.update(frame, objects))
        times_ms.append(1e3 * (time.perf_counter() - start))
    return tracked, times_ms


def _rows(
    name: str,
    histories: tuple[dict[str, list[Seen]], dict[str, list[Seen]]],
    times_ms: Sequence[Sequence[float]],
    returns: Sequence[int],
    backend: str,
    model: str,
) -> list[dict[str, Any]]:
    sets = [{(thing, s.frame) for thing, seen in history.items() for s in seen} for history in histories]
    rows = []
    for kind, history, ms in zip(("raw", "tracked"), histories, times_ms, strict=True):
        figures: Steadiness = measure(history, sets[0] & sets[1])
        batch = max(round(figures.object_frames / max(len(ms), 1)), 1)
        row = timing_row(
            f"{name}, {kind}",
            ms,
            backend=backend,
            model=model,
            batch=batch,
            threads=physical_cores(),
            memory_mb=rss_mb(),
        )
        row |= figures.as_dict()
        if kind == "tracked":
            row |= {"returns": len(returns), "returned_within_3": int(np.sum([1 <= n <= 3 for n in returns]))}
        rows.append(row)
    return rows
