"""Running the pose estimator over a data set, as the node runs it over a camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from mkpose_ros.datasets import Dataset
from mkpose_ros.errors import InputError
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.segmentation import (
    CleanConfig,
    Segmenter,
    calibrated_thresholds,
    clean_instances,
    instances_from_label_image,
)
from mkpose_ros.types import FrameSample, Instance, ObjectPose, ObjectTruth

__all__ = [
    "EvaluationRun",
    "Masks",
    "calibrated_cleaning",
    "predicted_instances",
    "run_estimator",
    "true_instances",
]


class Masks(str, Enum):
    """Where the instance masks come from: the ground truth (score 1), or a segmenter's results."""

    GT = "gt"
    PREDICTED = "predicted"


@dataclass(frozen=True)
class EvaluationRun:
    """Predictions and truths of the frames that could be read, by position; frames holds their dataset indices."""

    frames: tuple[int, ...]
    predictions: tuple[tuple[ObjectPose, ...], ...]
    truths: tuple[tuple[ObjectTruth, ...], ...]
    unreadable: int


def run_estimator(
    dataset: Dataset,
    estimator: PoseEstimator,
    masks: Masks = Masks.GT,
    *,
    segmenter: Segmenter | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationRun:
    """Estimate every frame (or `limit` of them, evenly spread). Frames that can't be read are counted and left out.

    Predicted masks are those published with the frame, else the segmenter's; InputError when there are neither.
    """
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(limit or len(dataset), len(dataset))).astype(int))
    frames, predictions, truths, unreadable = [], [], [], 0
    for done, index in enumerate(indices, start=1):
        try:
            sample = dataset[int(index)]
        except InputError as error:
            dataset.faults.note(dataset.frames[index].name, str(error))
            unreadable += 1
        else:
            instances = true_instances(sample) if masks is Masks.GT else predicted_instances(sample, segmenter)
            frames.append(int(index))
            predictions.append(tuple(replace(p, mask=None) for p in estimator.estimate(sample.frame, instances)))
            truths.append(sample.objects)
        if progress:
            progress(done, len(indices))
    return EvaluationRun(tuple(frames), tuple(predictions), tuple(truths), unreadable)


def true_instances(sample: FrameSample) -> list[Instance]:
    """The ground-truth masks of a frame as instances of score 1."""
    return instances_from_label_image(sample.instance_ids, {t.instance_id: t.category for t in sample.objects})


def predicted_instances(sample: FrameSample, segmenter: Segmenter | None) -> Sequence[Instance]:
    """A frame's published detections, else a segmenter's masks as the node takes them: cleaned, by its thresholds.

    Raises InputError when there is neither.
    """
    if sample.detections:
        return sample.detections
    if segmenter is None:
        raise InputError(f"{sample.name}: no published detections, no segmenter; give one, or use --masks gt")
    return clean_instances(sample.frame, segmenter.segment(sample.frame), calibrated_cleaning(segmenter))


def calibrated_cleaning(segmenter: Segmenter) -> CleanConfig:
    """How the node, with its defaults, cleans a segmenter's masks: by the thresholds that its file holds."""
    return CleanConfig(class_thresholds=calibrated_thresholds(segmenter, CleanConfig.score_threshold))
