"""From instances to 9-DoF poses: crops, one batch through the engine, checks, covariance."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mkpose_ros.array_pool import ArrayPool
from mkpose_ros.categories import Category, load_categories
from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.geometry.rotations import compose_pose, project_to_rotation
from mkpose_ros.geometry.sampling import farthest_point_order
from mkpose_ros.inference.base import PoseEngine
from mkpose_ros.inference.cloud_box import CloudBoxes
from mkpose_ros.inference.covariance import Calibration, pose_covariances
from mkpose_ros.inference.crops import CropBatch, make_crops
from mkpose_ros.inference.fusion import fuse_poses, seen_symmetry
from mkpose_ros.inference.refinement import BoxPose, Refiner, Seen, brightness_of, mean_token
from mkpose_ros.inference.text_features import TextFeatures
from mkpose_ros.types import Instance, ObjectPose, RgbdFrame, Symmetry

__all__ = ["UNKNOWN_CATEGORY", "PoseEstimator", "PreparedBatch"]

UNKNOWN_CATEGORY = ("error", "skip")  # what may happen to an instance whose category has no text features
ORTHONORMAL_TOLERANCE = 0.02  # on R^T R; half-precision engines stay ten times below
MOST_SIZE_M = 10.0  # an object larger than this is no object

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedBatch:
    """The engine's inputs and the instances they stand for, in the same order."""

    inputs: dict[str, np.ndarray]
    crops: CropBatch
    instances: list[Instance]


class PoseEstimator:
    """Estimates the poses of all instances of a frame in one batch.

    ``dropped`` counts, since it was made, the instances that got no pose, by reason: "points" (too little depth),
    "category" (no text features), "not finite", "rotation", "size", "behind" (the network's answer is no pose).
    """

    def __init__(
        self,
        engine: PoseEngine,
        text_features: TextFeatures,
        categories: Mapping[str, Category] | None = None,
        *,
        unknown_category: str = "error",
        calibration: Calibration | None = None,
        seed: int = 0,
    ) -> None:
        """``categories``: None for the shipped ones. ``unknown_category``: one of UNKNOWN_CATEGORY.

        ``calibration``: None for the model's own; it also says whether the pose is the head's, fused or refined.
        """
        if unknown_category not in UNKNOWN_CATEGORY:
            raise InputError(f"unknown_category is {unknown_category!r}, expected {' or '.join(UNKNOWN_CATEGORY)}")
        self.engine = engine
        self.text_features = text_features
        self.dropped: Counter[str] = Counter()
        self._categories = load_categories() if categories is None else categories
        self._unknown_category = unknown_category
        self._seed = seed
        self._arrays = ArrayPool()  # for the crops
        self._calibration = calibration or Calibration.from_metadata(engine.metadata.calibration)
        self._refiner = self._own_refiner() if self._calibration.pose_source == "refined" else None
        self._cloud_boxes = CloudBoxes.from_metadata(engine.metadata.calibration.get("completion"))
        self._compare_text_with_training()

    def estimate(self, frame: RgbdFrame, instances: Sequence[Instance]) -> list[ObjectPose]:
        """The poses of the instances that have one, in their order; the same arguments give the same result.

        Raises InputError for a category without text features (unless skipped), EngineError when the engine fails.
        """
        batch = self.prepare(frame, instances)
        return self.finish(batch, self.run(batch))

    def prepare(self, frame: RgbdFrame, instances: Sequence[Instance]) -> PreparedBatch:
        """First third of `estimate`: crops, points in the order that the network wants, text features."""
        known = [i for i in instances if self._unknown_category == "error" or i.category in self.text_features]
        metadata = self.engine.metadata
        # Every frame starts the same generator anew: its result must not hang on the frames before it.
        rng = np.random.default_rng(self._seed)
        crops = make_crops(
            frame, known, crop_px=metadata.crop_px, n_points=metadata.n_points, rng=rng, empty=self._arrays.empty
        )
        kept = [known[i] for i in crops.kept]
        self.dropped["category"] += len(instances) - len(known)
        self.dropped["points"] += len(known) - len(kept)
        text, text_mask = self.text_features.batch([i.category for i in kept])
        order = farthest_point_order(crops.points_m, metadata.n_centres)
        order += np.arange(len(kept))[:, None] * metadata.n_points  # among the points of all crops
        inputs = {
            "image": crops.image,
            "points": crops.points_m.reshape(-1, 3).take(order, axis=0),
            "pixels": crops.pixels.reshape(-1, 2).take(order, axis=0),
            "text": text,
            "text_mask": text_mask,
        }
        return PreparedBatch(inputs, crops, kept)

    def run(self, batch: PreparedBatch) -> dict[str, np.ndarray]:
        """Second third of `estimate`: the engine."""
        return self.engine.infer(batch.inputs) if batch.instances else {}

    def finish(self, batch: PreparedBatch, outputs: Mapping[str, np.ndarray]) -> list[ObjectPose]:
        """Last third of `estimate`: the network's answers, checked, as poses in the camera frame."""
        values = {name: np.asarray(value, np.float64) for name, value in outputs.items()}
        centroids_m = batch.crops.centroid_m.astype(np.float64)
        if not batch.instances:
            return []
        faults = _faults(values, centroids_m)
        self.dropped.update(fault for fault in faults if fault)
        if not any(faults):  # nearly always: nothing to copy
            return self._poses(batch.instances, batch.inputs, values, centroids_m)
        good = [row for row, fault in enumerate(faults) if not fault]
        if not good:
            return []
        rows = {name: value[good] for name, value in values.items()}
        inputs = {name: value[good] for name, value in batch.inputs.items()}
        return self._poses([batch.instances[i] for i in good], inputs, rows, centroids_m[good])

    def _own_refiner(self) -> Refiner:
        refiner = Refiner.from_metadata(self.engine.metadata.calibration.get("refiner"))
        if refiner is None:
            raise ModelError(f"model {self.engine.metadata.size} has no refiner: run `mkpose train --ship` again")
        return refiner

    def _boxes(
        self,
        instances: Sequence[Instance],
        inputs: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray],
        centroids_m: np.ndarray,
        symmetries: Sequence[Symmetry],
    ) -> tuple[BoxPose, np.ndarray]:
        """The boxes by the calibration's pose source, and how far (B, 2) the network's two answers are apart."""
        rotation, t, size_m = project_to_rotation(values["rotation"]), values["translation"], values["size"]
        if self._calibration.pose_source == "head":
            return BoxPose(rotation, t, size_m), np.zeros((len(instances), 2))
        fused = fuse_poses(rotation, t, size_m, values["keypoints"], values["nocs"], symmetries)
        pose = BoxPose(fused.rotation, fused.translation_m, size_m)
        if self._refiner is not None:
            seen = Seen(
                inputs["points"], brightness_of(inputs["image"], inputs["pixels"]), values["keypoints"], values["nocs"],
                rotation, t, values["log_variance"], fused.disagreement,
                mean_token(inputs["text"], inputs["text_mask"]),
            )  # fmt: skip
            known = np.array([i.category in self.engine.metadata.categories for i in instances])
            pose = self._refiner(pose, seen, known)
            if self._cloud_boxes is not None and not known.all():
                pose = self._boxes_of_clouds(
                    pose, ~known, instances, inputs["points"], centroids_m, rotation, symmetries
                )
        return pose, fused.disagreement

    def _boxes_of_clouds(
        self,
        pose: BoxPose,
        unknown: np.ndarray,
        instances: Sequence[Instance],
        points_m: np.ndarray,
        centroids_m: np.ndarray,
        rotation: np.ndarray,
        symmetries: Sequence[Symmetry],
    ) -> BoxPose:
        """The pose with boxes from the clouds of instances (B,) of an `unknown` category, which was not trained on."""
        rows = np.flatnonzero(unknown)
        categories = [self._categories.get(instances[i].category) for i in rows]
        boxes = self._cloud_boxes(
            points_m[rows].astype(np.float64), centroids_m[rows], rotation[rows],
            [symmetries[i] for i in rows], [c.mean_size_m if c else None for c in categories],
        )  # fmt: skip
        pose = BoxPose(*(np.array(part, np.float64) for part in pose))
        for whole, part in zip(pose, boxes, strict=True):
            whole[rows] = part
        return pose

    def _compare_text_with_training(self) -> None:
        metadata = self.engine.metadata
        known = [name for name in metadata.categories if name in self.text_features]
        if len(known) < len(metadata.categories) or not metadata.text_hash:
            return  # nothing to compare
        if self.text_features.fingerprint(known) != metadata.text_hash:
            logger.warning(
                "the text features of %s are not those that model %s was trained with: expect worse poses, or take the "
                "text_features.safetensors that came with it",
                ", ".join(known),
                metadata.size,
            )

    def _poses(
        self,
        instances: Sequence[Instance],
        inputs: Mapping[str, np.ndarray],
        values: Mapping[str, np.ndarray],
        centroids_m: np.ndarray,
    ) -> list[ObjectPose]:
        """Poses of checked answers, all arrays with one row per instance."""
        categories = [self._categories.get(i.category) for i in instances]
        symmetries = [seen_symmetry(c, p) for c, p in zip(categories, values["axis_symmetric"].tolist(), strict=True)]
        pose, apart = self._boxes(instances, inputs, values, centroids_m, symmetries)
        variances = self._calibration.variance(values["log_variance"], apart)
        covariances = pose_covariances(variances, pose.rotation, symmetries)
        T_cam_obj = compose_pose(pose.rotation, centroids_m + pose.translation_m)
        keypoints_m = (values["keypoints"] + centroids_m[:, None]).astype(np.float32)
        return [
            ObjectPose(
                category=instance.category,
                score=instance.score,
                T_cam_obj=T_cam_obj[i],
                size_m=pose.size_m[i],
                covariance=covariances[i],
                symmetry=symmetries[i],
                box2d=instance.box2d,
                keypoints_m=keypoints_m[i],
                mask=instance.mask,
            )
            for i, instance in enumerate(instances)
        ]


def _faults(values: Mapping[str, np.ndarray], centroids_m: np.ndarray) -> list[str]:
    """Why the network's answer for each instance (one a row) is no pose; empty for those that are one."""
    rotation, size_m, n = values["rotation"], values["size"], len(centroids_m)
    with np.errstate(invalid="ignore"):  # what is not finite is found first
        tests = {
            "not finite": ~np.isfinite(np.concatenate([v.reshape(n, -1) for v in values.values()], axis=1)).all(axis=1),
            "rotation": (np.linalg.det(rotation) < 0.0)
            | (np.abs(rotation.swapaxes(1, 2) @ rotation - np.eye(3)).max(axis=(1, 2)) > ORTHONORMAL_TOLERANCE),
            "size": (size_m.min(axis=1) <= 0.0) | (size_m.max(axis=1) > MOST_SIZE_M),
            "behind": centroids_m[:, 2] + values["translation"][:, 2] <= 0.0,
        }
    rows = zip(*(found.tolist() for found in tests.values()), strict=True)
    return [next((fault for fault, found in zip(tests, row, strict=True) if found), "") for row in rows]
