"""The evaluation: predictions and truths, image by image, to average precisions per category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.evaluation.average_precision import average_precision, published_average_precision
from mkpose_ros.evaluation.errors import exact_errors, published_errors
from mkpose_ros.evaluation.matching import match_by_iou, match_by_pose
from mkpose_ros.evaluation.overlap import exact_iou, published_iou
from mkpose_ros.evaluation.protocol import NOCS, Mode, Protocol
from mkpose_ros.evaluation.statistics import Statistics, collect_statistics, is_pose
from mkpose_ros.types import ObjectPose, ObjectTruth

__all__ = ["Curves", "Report", "average_precision_curves", "evaluate"]


@dataclass(frozen=True)
class Report:
    """What an evaluation found. Average precisions are percentages, one per category of the protocol."""

    mode: Mode
    protocol: Protocol
    images: int
    instances: np.ndarray  # (C,) true objects
    predictions: np.ndarray  # (C,)
    invalid: int  # predictions that can't be a pose; they count as false positives
    ap: dict[str, np.ndarray]  # "iou50" or "5d2cm" -> (C,) percent, as published
    recall_aware_ap: dict[str, np.ndarray]  # "5d2cm" -> (C,) percent; misses and false positives count
    statistics: Statistics

    def mean(self, metric: str) -> float:
        """The mean over all categories, absent ones counting 0, in percent."""
        return float(np.mean(self.ap[metric]))


@dataclass(frozen=True)
class Curves:
    """Average precision in percent over a threshold, per category and their mean in the last row."""

    iou: tuple[np.ndarray, np.ndarray]  # thresholds (t,) in [0, 1]; (C + 1, t)
    degrees: tuple[np.ndarray, np.ndarray]
    centimetres: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Group:
    """The predictions, by descending score, and the objects of one category in one image."""

    scores: np.ndarray  # (p,)
    overlaps: np.ndarray  # (p, g)
    errors: np.ndarray  # (p, g, 2) degrees, cm


def evaluate(
    predictions: Sequence[Sequence[ObjectPose]],
    truths: Sequence[Sequence[ObjectTruth]],
    mode: Mode | str = Mode.NOCS,
    *,
    protocol: Protocol = NOCS,
) -> Report:
    """Score predictions against truths; both hold one sequence per image, in the same order.

    Objects of categories outside the protocol are ignored. A prediction that is not a pose (NaN, an extent that is
    not positive, a reflection) matches nothing and counts as a false positive. Raises InputError for truths that
    are not poses, or when the numbers of images differ.
    """
    mode = Mode.parse(mode)
    groups, invalid = _groups(predictions, truths, mode, protocol)
    thresholds = np.array(protocol.iou_thresholds)
    pose_thresholds = np.array(protocol.pose_thresholds, dtype=np.float64)
    iou = _iou_ap(groups, thresholds, mode)
    pose = _pose_ap(groups, pose_thresholds, mode, protocol.match_iou)
    aware = _recall_aware_ap(groups, pose_thresholds)
    pose_names = [f"{degrees:g}d{cm:g}cm" for degrees, cm in protocol.pose_thresholds]
    return Report(
        mode=mode,
        protocol=protocol,
        images=len(truths),
        instances=_count(truths, protocol),
        predictions=_count(predictions, protocol),
        invalid=invalid,
        ap={f"iou{round(100 * t)}": iou[:, i] for i, t in enumerate(thresholds)}
        | {name: pose[:, i] for i, name in enumerate(pose_names)},
        recall_aware_ap={name: aware[:, i] for i, name in enumerate(pose_names)},
        statistics=collect_statistics(predictions, truths, protocol),
    )


def average_precision_curves(
    predictions: Sequence[Sequence[ObjectPose]],
    truths: Sequence[Sequence[ObjectTruth]],
    mode: Mode | str = Mode.NOCS,
    *,
    protocol: Protocol = NOCS,
) -> Curves:
    """AP over IoU 0..1, over 0..60 degrees and over 0..10 cm, the other limit open: the figure of the NOCS paper."""
    mode = Mode.parse(mode)
    groups, _ = _groups(predictions, truths, mode, protocol)
    iou, degrees, centimetres = np.linspace(0.0, 1.0, 101), np.linspace(0.0, 60.0, 61), np.linspace(0.0, 10.0, 41)
    by_degree = np.stack([degrees, np.full_like(degrees, 100.0)], axis=1)
    by_cm = np.stack([np.full_like(centimetres, 360.0), centimetres], axis=1)
    return Curves(
        iou=(iou, _with_mean(_iou_ap(groups, iou, mode))),
        degrees=(degrees, _with_mean(_pose_ap(groups, by_degree, mode, protocol.match_iou))),
        centimetres=(centimetres, _with_mean(_pose_ap(groups, by_cm, mode, protocol.match_iou))),
    )


def _with_mean(ap: np.ndarray) -> np.ndarray:
    return np.vstack([ap, ap.mean(axis=0)])


def _count(images: Sequence[Sequence[ObjectPose | ObjectTruth]], protocol: Protocol) -> np.ndarray:
    names = [item.category for image in images for item in image]
    return np.array([names.count(category) for category in protocol.categories])


def _groups(
    predictions: Sequence[Sequence[ObjectPose]], truths: Sequence[Sequence[ObjectTruth]], mode: Mode, protocol: Protocol
) -> tuple[list[list[_Group]], int]:
    """For each category the groups of the images that have it, and the number of invalid predictions."""
    if len(predictions) != len(truths):
        raise InputError(f"predictions of {len(predictions)} images, truths of {len(truths)}; expected the same images")
    pairs, shapes, invalid = [], [], 0
    for poses, objects in zip(predictions, truths, strict=True):
        for index, category in enumerate(protocol.categories):
            chosen = [p for p in poses if p.category == category]
            order = np.argsort(np.array([p.score for p in chosen]))[::-1]  # as the field sorts
            chosen = [chosen[i] for i in order]
            found = [_checked(t) for t in objects if t.category == category]
            if chosen or found:
                invalid += sum(not _is_pose(p, mode) for p in chosen)
                shapes.append((index, chosen, len(found)))
                pairs.extend((p, t) for p in chosen for t in found)
    overlaps, errors = _measure(pairs, mode, protocol)
    groups: list[list[_Group]] = [[] for _ in protocol.categories]
    start = 0
    for index, chosen, n_true in shapes:
        stop, shape = start + len(chosen) * n_true, (len(chosen), n_true)
        scores = np.array([p.score for p in chosen], dtype=np.float64)
        groups[index].append(_Group(scores, overlaps[start:stop].reshape(shape), errors[start:stop].reshape(*shape, 2)))
        start = stop
    return groups, invalid


def _measure(
    pairs: list[tuple[ObjectPose, ObjectTruth]], mode: Mode, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps (n,) and errors (n, 2) of all pairs at once; a prediction that is not a pose overlaps nothing."""
    if not pairs:
        return np.zeros(0), np.zeros((0, 2))
    T_pred, size_pred = np.stack([p.T_cam_obj for p, _ in pairs]), np.stack([p.size_m for p, _ in pairs])
    T_true, size_true = np.stack([t.T_cam_obj for _, t in pairs]), np.stack([t.size_m for _, t in pairs])
    valid = np.array([_is_pose(p, mode) for p, _ in pairs])
    T_pred, size_pred = np.where(valid[:, None, None], T_pred, np.eye(4)), np.where(valid[:, None], size_pred, 1.0)
    if mode is Mode.EXACT:
        symmetries = [t.symmetry for _, t in pairs]
        overlaps = exact_iou(T_pred, size_pred, T_true, size_true, symmetries)
        errors = exact_errors(T_pred, T_true, symmetries)
    else:
        symmetric = np.array([protocol.is_symmetric(t) for _, t in pairs])
        overlaps = published_iou(T_pred, size_pred, T_true, size_true, symmetric, mode)
        errors = published_errors(T_pred, T_true, symmetric)
    overlaps = np.where(valid, overlaps, 0.0).astype(overlaps.dtype)
    errors[~valid] = np.inf
    return overlaps, errors


def _is_pose(pose: ObjectPose, mode: Mode) -> bool:
    """Whether a prediction can be scored; the published evaluators take reflections for rotations."""
    T = pose.T_cam_obj
    if mode is not Mode.EXACT and np.isfinite(T).all() and np.linalg.det(T[:3, :3]) < 0.0:
        pose = replace(pose, T_cam_obj=T @ np.diag([-1.0, -1.0, -1.0, 1.0]))
    return is_pose(pose)


def _checked(truth: ObjectTruth) -> ObjectTruth:
    if not (np.isfinite(truth.T_cam_obj).all() and np.isfinite(truth.size_m).all() and (truth.size_m > 0.0).all()):
        raise InputError(
            f"truth of object {truth.instance_id} ({truth.category} {truth.model}): pose or size is not finite and "
            "positive; leave it out before evaluating"
        )
    return truth


def _ap(hits: list[np.ndarray], scores: list[np.ndarray], n_true: np.ndarray, mode: Mode) -> np.ndarray:
    """AP (t,) in percent of hits [(t, p), ...] with scores [(p,), ...] against n_true (t,) objects."""
    if not hits:
        return np.zeros(len(n_true))
    area = average_precision if mode is Mode.EXACT else published_average_precision
    all_hits, all_scores = np.concatenate(hits, axis=1), np.concatenate(scores)
    return np.array([100.0 * area(row, all_scores, int(n)) for row, n in zip(all_hits, n_true, strict=True)])


def _iou_ap(groups: list[list[_Group]], thresholds: np.ndarray, mode: Mode) -> np.ndarray:
    """AP (C, t) at IoU thresholds (t,), in percent."""
    result = []
    for members in groups:
        hits = [match_by_iou(group.overlaps, thresholds) > -1 for group in members]
        n_true = np.full(len(thresholds), sum(group.overlaps.shape[1] for group in members))
        result.append(_ap(hits, [group.scores for group in members], n_true, mode))
    return np.stack(result)


def _pose_ap(groups: list[list[_Group]], thresholds: np.ndarray, mode: Mode, match_iou: float) -> np.ndarray:
    """AP (C, t) at thresholds (t, 2) of degrees and cm among the pairs that overlap, in percent, as published.

    What nobody found and what is nowhere does not count.
    """
    result = []
    for members in groups:
        hits, scores, n_true = [], [], 0
        for group in members:
            taken = match_by_iou(group.overlaps, np.array([match_iou]))[0]
            kept = np.flatnonzero(taken > -1)
            found = np.sort(taken[kept])
            hits.append(match_by_pose(group.errors[np.ix_(kept, found)], thresholds) > -1)
            scores.append(group.scores[kept])
            n_true += len(kept)
        result.append(_ap(hits, scores, np.full(len(thresholds), n_true), mode))
    return np.stack(result)


def _recall_aware_ap(groups: list[list[_Group]], thresholds: np.ndarray) -> np.ndarray:
    """AP (C, t) at thresholds (t, 2) of degrees and cm over all predictions and all objects, in percent."""
    result = []
    for members in groups:
        errors = [np.where(np.isnan(group.errors), np.inf, group.errors) for group in members]
        hits = [match_by_pose(e, thresholds) > -1 for e in errors]
        n_true = np.full(len(thresholds), sum(group.errors.shape[1] for group in members))
        result.append(_ap(hits, [group.scores for group in members], n_true, Mode.EXACT))
    return np.stack(result)
