"""What tracking does to poses: rendered recordings with a moving camera and known truth, raw beside tracked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.bench.carry import CarryBench
from mkpose_ros.bench.timing import rss_mb, timing_row
from mkpose_ros.errors import InputError
from mkpose_ros.evaluation.runner import calibrated_cleaning, true_instances
from mkpose_ros.evaluation.steadiness import Seen, follow_frame, measure, recoveries
from mkpose_ros.inference.engine import open_engine, physical_cores
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.segmentation import CleanConfig, Segmenter, clean_instances, open_segmenter
from mkpose_ros.synthesis.generate import SceneGenerator
from mkpose_ros.synthesis.library import ShapeLibrary
from mkpose_ros.synthesis.scene import SceneConfig
from mkpose_ros.synthesis.sequence import Sequence as Recording
from mkpose_ros.synthesis.sequence import SequenceConfig
from mkpose_ros.tracking import Tracker
from mkpose_ros.types import FrameSample, Instance

__all__ = ["bench_tracking"]

SCENES = SceneConfig(
    categories=("bottle", "bowl", "can", "mug", "camera", "laptop", "box", "cup"), objects=(5, 6), distractors=(1, 1)
)
PASSAGE_S = 16.0  # a board takes this long to cross the view, so that it hides each object for about two seconds
START_S = 2.0
MASKS = ("gt", "predicted", "both")
KINDS = ("raw", "tracked", "tracked, camera unknown")


def bench_tracking(
    *,
    scenes: Sequence[int],
    frames: int,
    rate_hz: float,
    model: Path,
    backend: str = "auto",
    masks: str = "gt",
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:
    """Rows for each scene and for all together: "raw", "tracked" (the camera's pose given) and "tracked, camera
    unknown", each times as `timing_row`, and Steadiness; then those of CarryBench.

    ``frames`` of each scene, shapes of the validation split, five objects and more; a board passes before them.
    ``masks``: gt, predicted (the shipped segmenter) or both, whose rows follow one another. Times are of the pose stage
    (raw) and of the tracker. All rows of a scene count the objects that raw and tracked have.
    """
    if masks not in MASKS:
        raise InputError(f"bench tracking: masks are {masks!r}, expected {', '.join(MASKS)}")
    engine = open_engine(model, backend)
    estimator = PoseEstimator(engine, load_text_features(), unknown_category="skip")
    segmenter = open_segmenter() if masks != "gt" else None
    generator = SceneGenerator(ShapeLibrary("val", seed=0), SCENES, seed)
    kinds = [kind for kind in MASKS[:2] if masks in (kind, "both")]
    carry, results = CarryBench(rate_hz), {kind: [] for kind in kinds}
    for scene in scenes:
        runs = {kind: _Run() for kind in kinds}
        carry.restart()
        for sample in _shots(generator, scene, frames, rate_hz):
            carry.add(sample)
            for kind, run in runs.items():
                run.add(sample, *_found(sample, segmenter if kind == "predicted" else None), estimator)
            progress()
        for kind, run in runs.items():
            results[kind].append(run.figures(str(scene)))
    who = {"backend": engine.name, "model": model.name, "threads": physical_cores()}
    rows = []
    for kind, parts in results.items():
        for scene, part in zip(scenes, parts, strict=True):
            rows += _rows(f"{kind} masks, scene {scene}", part, who)
        rows += _rows(f"{kind} masks, all", _together(parts), who)
    engine.close()
    return rows + carry.rows(**who)


@dataclass
class _Figures:
    """Of one recording or several: for each of KINDS what was seen of each object, and times; and the returns."""

    histories: list[dict[str, list[Seen]]]
    times_ms: list[list[float]]
    returns: list[list[int]]


class _Run:
    """One recording with masks of one kind: poses, tracked with and without the camera's pose as they come."""

    def __init__(self) -> None:
        self._stamps_ns: list[int] = []
        self._histories: list[dict[str, list[Seen]]] = [{} for _ in KINDS]
        self._times_ms: list[list[float]] = [[] for _ in KINDS]
        self._trackers = (None, Tracker(), Tracker())

    def add(
        self, sample: FrameSample, instances: Sequence[Instance], clean: CleanConfig, estimator: PoseEstimator
    ) -> None:
        """The next frame: raw instances, and how the node cleans them."""
        frames = (sample.frame, sample.frame, replace(sample.frame, T_world_cam=None))
        for kind, (tracker, frame) in enumerate(zip(self._trackers, frames, strict=True)):
            config = replace(clean, expected=tracker.expected(frame)) if tracker else clean
            cleaned = clean_instances(frame, instances, config)
            start = time.perf_counter()
            objects = estimator.estimate(frame, cleaned)
            if tracker:
                start = time.perf_counter()
                objects = tracker.update(frame, objects)
            self._times_ms[kind].append(1e3 * (time.perf_counter() - start))
            follow_frame(self._histories[kind], len(self._stamps_ns), sample, objects)
        self._stamps_ns.append(sample.frame.stamp_ns)

    def figures(self, scene: str) -> _Figures:
        returns = [recoveries(self._stamps_ns, self._histories[0], history) for history in self._histories]
        named = [{f"{scene}/{name}": seen for name, seen in history.items()} for history in self._histories]
        return _Figures(named, self._times_ms, returns)


def _together(parts: Sequence[_Figures]) -> _Figures:
    histories = [{name: seen for part in parts for name, seen in part.histories[k].items()} for k in range(len(KINDS))]
    times_ms, returns = (
        [[x for part in parts for x in getattr(part, name)[k]] for k in range(len(KINDS))]
        for name in ("times_ms", "returns")
    )
    return _Figures(histories, times_ms, returns)


def _found(sample: FrameSample, segmenter: Segmenter | None) -> tuple[Sequence[Instance], CleanConfig]:
    """What a segmenter finds, or the true masks, and how the node cleans them."""
    if segmenter is None:
        return true_instances(sample), CleanConfig()
    return segmenter.segment(sample.frame), calibrated_cleaning(segmenter)


def _shots(generator: SceneGenerator, scene: int, frames: int, rate_hz: float) -> Iterator[FrameSample]:
    start = round(START_S * rate_hz)
    passage = (start, start + round(PASSAGE_S * rate_hz))
    recording = Recording(generator, SequenceConfig(rate_hz=rate_hz, scene=scene, occluder=passage))
    for index in range(frames):
        shot = recording.shot(index)
        yield replace(shot.sample, frame=replace(shot.sample.frame, T_world_cam=shot.T_world_cam))


def _rows(name: str, figures: _Figures, who: dict[str, Any]) -> list[dict[str, Any]]:
    frames = [{(thing, s.frame) for thing, seen in history.items() for s in seen} for history in figures.histories]
    rows = []
    for k, kind in enumerate(KINDS):
        steadiness = measure(figures.histories[k], set.intersection(*frames))
        batch = max(round(steadiness.object_frames / max(len(figures.times_ms[k]), 1)), 1)
        row = timing_row(f"{name}, {kind}", figures.times_ms[k], batch=batch, memory_mb=rss_mb(), **who)
        row |= steadiness.as_dict()
        if k:
            returns = figures.returns[k]
            row |= {"returns": len(returns), "returned_within_3": int(np.sum([1 <= n <= 3 for n in returns]))}
        rows.append(row)
    return rows
