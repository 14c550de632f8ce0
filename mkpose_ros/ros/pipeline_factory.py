"""Where the node's settings meet the pipeline: building it, and what changes from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mkpose_ros.errors import InputError, MkposeError, ModelError
from mkpose_ros.inference.engine import open_engine, physical_cores
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.mask_stream import AUTO
from mkpose_ros.pipeline import Pipeline
from mkpose_ros.resources import share_path
from mkpose_ros.ros.conversions import is_publishable
from mkpose_ros.ros.frames import FrameMessages
from mkpose_ros.ros.images import labels_from_msg
from mkpose_ros.ros.lists import category_names, category_thresholds
from mkpose_ros.ros.outside import instances_of_detections, instances_of_labels, needs_detections
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.segmentation import CleanConfig, OutsideMasks, calibrated_thresholds, open_segmenter
from mkpose_ros.tracking.tracker import Tracker
from mkpose_ros.types import CameraIntrinsics, ObjectPose, RgbdFrame

__all__ = [
    "build_pipeline",
    "check_classes",
    "choose_objects",
    "known_categories",
    "prepare_pipeline",
    "shared_threads",
]


def build_pipeline(settings: Settings) -> Pipeline:
    """Load the segmenter, the pose model and the tracker, and run each once. Raises MkposeError."""
    segmenter_threads, pose_threads = shared_threads(settings)
    engine = open_engine(
        _model_path(settings.model),
        settings.backend,
        threads=pose_threads,
        precision=settings.precision,
        device_index=settings.device_index,
    )
    features = load_text_features()
    estimator = PoseEstimator(engine, features, unknown_category="skip")
    segmenter = open_segmenter(
        settings.segmenter,
        settings.segmenter_model or None,
        device=settings.segmenter_device,
        threads=segmenter_threads,
        precision=settings.segmenter_precision,
        config_path=settings.segmenter_config or None,
        class_map=settings.segmenter_class_map,
    )
    engine.warm_up(features.shape)
    segmenter.segment(_grey_frame())
    outside = isinstance(segmenter, OutsideMasks)  # whose masks come with each frame
    return Pipeline(
        segmenter,
        estimator,
        Tracker() if settings.tracking else None,
        segment_every=1 if outside else AUTO if settings.segment_every == "auto" else int(settings.segment_every),
        mask_max_age_s=settings.mask_max_age,
    )


def shared_threads(settings: Settings) -> tuple[int, int]:
    """CPU threads of the segmenter and of the pose network: all cores for each where they take turns.

    With `segment_every: auto` both work at once, each on its own half of the cores: a pose that shares its cores with
    the segmenter takes up to three times as long.
    """
    cores = settings.threads or physical_cores()
    if settings.segment_every != "auto" or settings.segmenter_device != "cpu" or settings.segmenter == "outside":
        return cores, cores
    return max(cores // 2, 1), max(cores - cores // 2, 1)


def known_categories(pipeline: Pipeline) -> tuple[str, ...]:
    """The categories that the pose model can estimate."""
    return tuple(pipeline.estimator.text_features.names)


def check_classes(classes: Sequence[str], known: Sequence[str]) -> None:
    """Raise InputError for a class that the model does not know."""
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise InputError(f"classes: {', '.join(unknown)} unknown; the model knows {', '.join(known)}")


def prepare_pipeline(pipeline: Pipeline, settings: Settings, frame: RgbdFrame, messages: FrameMessages) -> None:
    """Give the pipeline what applies to this frame: thresholds, classes and the user's own masks."""
    pipeline.clean = CleanConfig(
        score_threshold=settings.min_score,
        class_thresholds=_thresholds(settings, pipeline),
        categories=category_names(settings.classes) or None,
        max_instances=settings.max_objects,
    )
    if messages.masks is not None and isinstance(pipeline.segmenter, OutsideMasks):
        labels = labels_from_msg(messages.masks)
        if messages.mask_detections is not None and needs_detections(settings):
            instances = instances_of_detections(labels, messages.mask_detections)
        else:
            instances = instances_of_labels(labels, settings.mask_classes)
        pipeline.segmenter.put(frame.stamp_ns, instances)


def _thresholds(settings: Settings, pipeline: Pipeline) -> dict[str, float]:
    if settings.class_thresholds == "calibrated":
        return calibrated_thresholds(pipeline.segmenter, settings.min_score)
    wanted = category_thresholds(settings.class_thresholds)
    return {name: max(score, settings.min_score) for name, score in wanted.items()}


def choose_objects(objects: Sequence[ObjectPose], settings: Settings) -> tuple[list[ObjectPose], int]:
    """The objects to publish, best first, and how many were invalid (not finite, not rigid, without extent)."""
    valid = [pose for pose in objects if is_publishable(pose)]
    wanted = category_names(settings.classes)
    chosen = [pose for pose in valid if pose.score >= settings.min_score and (not wanted or pose.category in wanted)]
    chosen.sort(key=lambda pose: -pose.score)
    return chosen[: settings.max_objects], len(objects) - len(valid)


def _model_path(model: str) -> Path:
    """The folder or file of a shipped size or of the user's own model."""
    if "/" in model or model.endswith(".onnx"):
        return Path(model).expanduser()
    try:
        return share_path("models", model)
    except MkposeError as error:
        raise ModelError(
            f"pose model '{model}': {error}. Expected small, base (if shipped) or the path of a model.onnx"
        ) from error


def _grey_frame() -> RgbdFrame:
    camera = CameraIntrinsics(600.0, 600.0, 319.5, 239.5, 640, 480)
    return RgbdFrame(np.full((480, 640, 3), 128, np.uint8), np.ones((480, 640), np.float32), camera)
