"""How well carried masks agree with the true ones, the older they get, on recordings with known truth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mkpose_ros.bench.timing import rss_mb, timing_row
from mkpose_ros.segmentation import instances_from_label_image
from mkpose_ros.segmentation.masks import mask_iou
from mkpose_ros.tracking.carry import CarriedMasks, MaskCarrier
from mkpose_ros.types import FrameSample

__all__ = ["CarryBench"]

AGES_S = (0.0, 1 / 3, 0.5)  # the latest frame that is no older than this, at least the next one
MIN_PIXELS = 200  # of an object's true mask, in both frames


@dataclass
class _Sums:
    age_s: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)  # of the masks that were found again
    lost: int = 0
    times_ms: list[float] = field(default_factory=list)  # of one frame's masks


class CarryBench:
    """Takes a recording frame by frame; every so often one is a key frame, whose true masks are carried on.

    As in the node every frame is carried to, and the camera's pose is not used.
    """

    def __init__(self, rate_hz: float) -> None:
        self._steps = tuple(max(int(age * rate_hz + 1e-9), 1) for age in AGES_S)
        self._sums = {step: _Sums() for step in self._steps}
        self._carrier: MaskCarrier | None = None
        self._since = 0

    def restart(self) -> None:
        """Another recording begins."""
        self._carrier = None

    def add(self, sample: FrameSample) -> None:
        """The next frame."""
        frame = replace(sample.frame, T_world_cam=None)
        self._since += 1
        if self._carrier is not None:
            start = time.perf_counter()
            carried = self._carrier.carry(frame)
            took_ms = 1e3 * (time.perf_counter() - start)
            if self._since in self._sums:
                self._count(self._sums[self._since], carried, sample, took_ms)
        if self._carrier is None or self._since >= max(self._steps):
            # Named by their numbers, to be known again.
            names = {truth.instance_id: str(truth.instance_id) for truth in sample.objects}
            masks = instances_from_label_image(sample.instance_ids, names)
            self._key = {i.category for i in masks if np.count_nonzero(i.mask) >= MIN_PIXELS}
            self._carrier = MaskCarrier(frame, [i for i in masks if i.category in self._key])
            self._since = 0

    def rows(self, **who: Any) -> list[dict[str, Any]]:
        """A row for each age: `timing_row` of carrying a frame's masks, age_s, object_frames, median_iou, the tenth
        percentile p10_iou, and lost_share, of masks that were not found again."""
        rows = []
        for step in dict.fromkeys(self._steps):
            sums = self._sums[step]
            if not sums.times_ms:
                continue
            n = len(sums.ious) + sums.lost
            row = timing_row(f"carried {step} frames", sums.times_ms, batch=1, memory_mb=rss_mb(), **who)
            row |= {"age_s": float(np.mean(sums.age_s)), "object_frames": n, "lost_share": sums.lost / max(n, 1)}
            tenth, median = np.percentile(sums.ious, (10, 50)) if sums.ious else (float("nan"),) * 2
            rows.append(row | {"median_iou": float(median), "p10_iou": float(tenth)})
        return rows

    def _count(self, sums: _Sums, carried: CarriedMasks, sample: FrameSample, took_ms: float) -> None:
        sums.times_ms.append(took_ms)
        sums.age_s.append(carried.age_s)
        found = {instance.category: instance.mask for instance in carried.instances}
        for name in self._key:
            truth = sample.instance_ids == int(name)
            if np.count_nonzero(truth) < MIN_PIXELS:
                continue  # it is hidden now
            if name in found:
                sums.ious.append(mask_iou(found[name], truth))
            else:
                sums.lost += 1
