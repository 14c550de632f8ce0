"""One RGB-D frame to the poses of its objects: the paper's figure 2, with the stages before and after it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.mask_stream import MaskStream
from mkpose_ros.segmentation.base import Segmenter
from mkpose_ros.segmentation.postprocess import CleanConfig
from mkpose_ros.types import Instance, ObjectPose, RgbdFrame

__all__ = ["STAGES", "Pipeline", "PipelineResult", "Tracker", "check_frame"]

STAGES = ("segmentation", "crops", "engine", "poses", "tracking")  # the keys of PipelineResult.stages_ms, in order


class Tracker(Protocol):
    """Gives poses their identity and makes them steady; see tracking/."""

    def expected(self, frame: RgbdFrame) -> Mapping[str, np.ndarray]: ...

    def update(self, frame: RgbdFrame, poses: list[ObjectPose]) -> list[ObjectPose]: ...

    def reset(self) -> None: ...


@dataclass(frozen=True)
class PipelineResult:
    """What one frame gave. ``instances`` are those that were cropped, cleaned; ``objects`` may be fewer."""

    objects: list[ObjectPose]
    instances: list[Instance]
    stages_ms: dict[str, float]  # wall time of each of STAGES
    mask_age_s: float = 0.0  # since the frame that was segmented; 0: this one


class Pipeline:
    """Segmenter, pose estimator and, if wanted, tracker in a row; one frame at a time.

    ``dropped`` counts the instances lost between segmentation and pose, by reason. ``segment_every`` and
    ``mask_max_age_s`` say which frames are segmented, see `MaskStream`.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        estimator: PoseEstimator,
        tracker: Tracker | None = None,
        clean: CleanConfig | None = None,
        *,
        segment_every: int = 1,
        mask_max_age_s: float = 0.5,
    ) -> None:
        self.segmenter = segmenter
        self.estimator = estimator
        self.tracker = tracker
        self.clean = clean or CleanConfig()
        self.masks = MaskStream(segmenter, every=segment_every, max_age_s=mask_max_age_s)

    @property
    def dropped(self) -> Counter[str]:
        """Instances without a pose since the start, by reason."""
        return self.masks.dropped + self.estimator.dropped

    def process(self, frame: RgbdFrame) -> PipelineResult:
        """The objects of a frame. Raises InputError for an invalid frame, EngineError when an engine fails."""
        check_frame(frame)
        stages_ms: dict[str, float] = {}
        with _timed(stages_ms, "segmentation"):
            clean = replace(self.clean, expected=self.tracker.expected(frame)) if self.tracker else self.clean
            masks = self.masks.masks(frame, clean)
        with _timed(stages_ms, "crops"):
            batch = self.estimator.prepare(frame, masks.instances)
        with _timed(stages_ms, "engine"):
            outputs = self.estimator.run(batch)
        with _timed(stages_ms, "poses"):
            objects = self.estimator.finish(batch, outputs)
        with _timed(stages_ms, "tracking"):
            objects = self.tracker.update(frame, objects) if self.tracker else objects
        return PipelineResult(objects, masks.instances, stages_ms, masks.age_s)

    def reset(self) -> None:
        """Forget what earlier frames showed, as when time has jumped."""
        self.masks.reset()
        if self.tracker is not None:
            self.tracker.reset()

    def close(self) -> None:
        """Free the segmenter and the engine. Safe to call twice."""
        self.masks.close()
        self.estimator.engine.close()


def check_frame(frame: RgbdFrame) -> None:
    """Raise InputError that says what was got and expected unless the frame is one that the stages can take."""
    rgb, depth_m, k = frame.rgb, frame.depth_m, frame.intrinsics
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise InputError(f"frame: colour image is {rgb.dtype} {rgb.shape}, expected uint8 (H, W, 3) in RGB order")
    if depth_m.ndim != 2 or depth_m.dtype != np.float32:
        raise InputError(
            f"frame: depth image is {depth_m.dtype} {depth_m.shape}, expected float32 (H, W) in metres; "
            "divide 16-bit millimetres by 1000"
        )
    if depth_m.shape != rgb.shape[:2]:
        raise InputError(
            f"frame: depth is {depth_m.shape[1]}x{depth_m.shape[0]}, colour {rgb.shape[1]}x{rgb.shape[0]}; "
            "expected depth registered to the colour camera, pixel by pixel"
        )
    if (k.height, k.width) != depth_m.shape:
        raise InputError(
            f"frame: the camera info is for {k.width}x{k.height}, the images are {rgb.shape[1]}x{rgb.shape[0]}; "
            "scale the intrinsics with the image"
        )
    if not np.isfinite([k.fx, k.fy, k.cx, k.cy]).all() or k.fx <= 0.0 or k.fy <= 0.0:
        raise InputError(
            f"frame: intrinsics fx={k.fx}, fy={k.fy}, cx={k.cx}, cy={k.cy}; expected finite numbers and positive focal "
            "lengths; calibrate the camera"
        )


@contextmanager
def _timed(stages_ms: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages_ms[stage] = 1e3 * (time.perf_counter() - start)
