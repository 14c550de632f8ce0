"""Masks for every frame of a stream: segmented, or carried forward while the segmenter works on a newer frame."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mkpose_ros.array_pool import ArrayPool
from mkpose_ros.segmentation.base import Segmenter
from mkpose_ros.segmentation.postprocess import CleanConfig, clean_instances
from mkpose_ros.tracking.carry import CarriedMasks, MaskCarrier
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["AUTO", "MaskStream", "Masks"]

AUTO = 0  # of `segment_every`
_LEAST_COVERAGE = 0.75  # a carried mask whose depths fit worse calls for a new segmentation


@dataclass(frozen=True)
class Masks:
    """The cleaned instances of one frame and the age of the segmentation that they come from, 0 for its own."""

    instances: list[Instance]
    age_s: float = 0.0


class MaskStream:
    """Runs a segmenter on every frame (``every`` 1), on every n-th, or when it is needed (AUTO).

    In between, masks are carried forward from the segmented frame. With AUTO the segmenter works in a thread of its
    own: no frame waits for it while carried masks are at hand that are not older than max_age_s. It is called when
    those are half that old, when an object was lost or has changed its look, and all the time while nothing is seen. A
    new object is seen max_age_s after it appeared, or one run of the segmenter later, whichever is later.
    """

    def __init__(self, segmenter: Segmenter, *, every: int = 1, max_age_s: float = 0.5) -> None:
        self._segmenter, self._every, self._max_age_s = segmenter, every, max_age_s
        self._carrier: MaskCarrier | None = None
        self._arrays = ArrayPool()  # for the masks and their carriers
        self._since = 0  # frames since the key frame
        self._thread = ThreadPoolExecutor(1, "segmentation") if every == AUTO else None
        self._pending: Future[tuple[MaskCarrier, list[Instance]]] | None = None
        self.dropped: Counter[str] = Counter()  # instances, by the reason why they were cleaned away
        self.segmented = 0  # frames
        self.lost = 0  # masks that could not be carried on

    def masks(self, frame: RgbdFrame, clean: CleanConfig) -> Masks:
        """The masks of the next frame. Raises what the segmenter raises."""
        if self._carrier is not None and frame.stamp_ns <= self._carrier.stamp_ns:
            self.reset()  # time went back
        if self._every == 1:
            return Masks(self._segment(frame, clean))
        return self._as_needed(frame, clean) if self._thread else self._every_nth(frame, clean)

    def reset(self) -> None:
        """Forget what was seen: the next frame is segmented."""
        self._await()
        self._carrier = None

    def close(self) -> None:
        """End the thread and free the segmenter. Safe to call twice."""
        self._await()
        if self._thread:
            self._thread.shutdown()
        self._segmenter.close()

    def _every_nth(self, frame: RgbdFrame, clean: CleanConfig) -> Masks:
        self._since += 1
        if self._carrier is not None and self._since < self._every:
            carried = self._carry(frame)
            if self._is_good(carried, self._max_age_s):
                return Masks(carried.instances, carried.age_s)
        self._carrier, instances = self._key(frame, clean)
        self._since = 0
        return Masks(instances)

    def _as_needed(self, frame: RgbdFrame, clean: CleanConfig) -> Masks:
        if self._pending is not None and self._pending.done():
            self._adopt()
        carried = self._carry(frame) if self._carrier is not None else None
        if self._pending is None and not (carried and self._is_good(carried, self._max_age_s / 2)):
            self._pending = self._thread.submit(self._key, frame, clean)
        if carried is not None and carried.age_s <= self._max_age_s:
            return Masks(carried.instances, carried.age_s)
        return self._wait_for(frame, clean)

    def _wait_for(self, frame: RgbdFrame, clean: CleanConfig) -> Masks:
        """The masks of the run under way, carried on, or of this frame if that is too old as well."""
        instances = self._adopt()
        if self._carrier.stamp_ns != frame.stamp_ns:
            carried = self._carry(frame)
            if carried.age_s <= self._max_age_s:
                return Masks(carried.instances, carried.age_s)
            self._carrier, instances = self._key(frame, clean)
        return Masks(instances)

    def _adopt(self) -> list[Instance]:
        """Take the result of the run under way as the key frame."""
        pending, self._pending = self._pending, None
        self._carrier, instances = pending.result()
        return instances

    def _await(self) -> None:
        """Let the run under way end and throw its result away."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.exception()

    def _carry(self, frame: RgbdFrame) -> CarriedMasks:
        carried = self._carrier.carry(frame)
        self.lost += carried.lost
        return carried

    def _is_good(self, carried: CarriedMasks, max_age_s: float) -> bool:
        seen = bool(carried.instances) and not carried.lost
        return seen and carried.coverage >= _LEAST_COVERAGE and carried.age_s < max_age_s

    def _key(self, frame: RgbdFrame, clean: CleanConfig) -> tuple[MaskCarrier, list[Instance]]:
        instances = self._segment(frame, clean)
        return MaskCarrier(frame, instances, self._arrays.empty), instances

    def _segment(self, frame: RgbdFrame, clean: CleanConfig) -> list[Instance]:
        self.segmented += 1
        return clean_instances(frame, self._segmenter.segment(frame), clean, self.dropped, self._arrays.empty)
