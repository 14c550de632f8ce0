"""The real node with an engine that answers at once and a segmenter with fixed masks: what the node itself costs.

Crops, point sampling, checks, tracking, messages and transport are the real ones; only the two networks are missing.
"""

from __future__ import annotations

import sys

import numpy as np

from mkpose_ros.inference.base import PoseEngine
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.metadata import ModelMetadata
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.pipeline import Pipeline
from mkpose_ros.ros.node import MkposeNode
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.ros.process import run_process
from mkpose_ros.tracking.tracker import Tracker
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["CATEGORIES", "CROP_PX", "N_POINTS", "OBJECT_PX", "bare_pipeline", "object_corners"]

CROP_PX, N_POINTS, N_CENTRES, KEYPOINTS = 96, 256, 64, 32  # of the small model
CATEGORIES = ("mug", "bottle", "bowl", "can", "box")
OBJECT_PX = 80  # side of each mask


class _NoEngine(PoseEngine):
    name = "none"
    metadata = ModelMetadata(1, "none", CROP_PX, N_POINTS, CATEGORIES, "", {}, {}, N_CENTRES)

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        n = len(inputs["points"])
        return {
            "rotation": np.tile(np.diag([1.0, -1.0, -1.0]).astype(np.float32), (n, 1, 1)),
            "translation": np.zeros((n, 3), np.float32),
            "size": np.full((n, 3), 0.1, np.float32),
            "keypoints": inputs["points"][:, :KEYPOINTS],
            "nocs": inputs["points"][:, :KEYPOINTS],
            "log_variance": np.full((n, 6), -9.0, np.float32),
            "axis_symmetric": np.zeros(n, np.float32),
        }

    def close(self) -> None:
        """Nothing to free."""


class _FixedMasks:
    name = "none"

    def segment(self, frame: RgbdFrame) -> list[Instance]:
        instances = []
        for (x, y), category in zip(object_corners(frame.rgb.shape[1]), CATEGORIES, strict=True):
            mask = np.zeros(frame.depth_m.shape, bool)
            mask[y : y + OBJECT_PX, x : x + OBJECT_PX] = True
            box = np.array([x, y, x + OBJECT_PX, y + OBJECT_PX], np.float32)
            instances.append(Instance(mask, box, category, 0.9))
        return instances

    def close(self) -> None:
        """Nothing to free."""


def object_corners(width: int) -> list[tuple[int, int]]:
    """Top left corners (x, y) of the masks, in a row."""
    pitch = width // len(CATEGORIES)
    return [(pitch * i + (pitch - OBJECT_PX) // 2, 200) for i in range(len(CATEGORIES))]


def bare_pipeline(settings: Settings) -> Pipeline:
    """The pipeline without networks."""
    estimator = PoseEstimator(_NoEngine(), load_text_features())
    return Pipeline(_FixedMasks(), estimator, Tracker() if settings.tracking else None)


if __name__ == "__main__":
    sys.exit(run_process(lambda **options: MkposeNode(pipeline_factory=bare_pipeline, **options), sys.argv))
