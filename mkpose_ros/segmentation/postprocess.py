"""From a segmenter's raw instances to the ones worth a pose: thresholds, duplicates, depth, counts.

The order matters: cheap tests first, and the depth clean-up only for instances that survive them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from mkpose_ros.array_pool import Empty, parts
from mkpose_ros.errors import InputError
from mkpose_ros.segmentation.masks import mask_box
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["CleanConfig", "clean_instances", "main_depth_cluster", "without_flying_pixels"]

SPARSE_CATEGORIES = {"glass": 17}  # what depth cameras look through; 17 is the fewest that a pose is estimated from


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """What an instance must be to be kept. Lengths in metres."""

    score_threshold: float = 0.3  # the node's min_score
    class_thresholds: Mapping[str, float] = field(default_factory=dict)  # a category's own threshold
    # Where known objects of a category are, (N, 2) pixels: what lies around one needs no more than score_threshold, if
    # nothing more certain lies there.
    expected: Mapping[str, np.ndarray] = field(default_factory=dict)
    categories: Collection[str] | None = None  # only these; None: all
    max_instances: int = 16  # the most certain ones
    min_points: int = 32  # pixels with depth that must remain
    class_min_points: Mapping[str, int] = field(default_factory=lambda: dict(SPARSE_CATEGORIES))  # a category's own
    duplicate_iou: float = 0.6  # of two masks, whatever their categories
    duplicate_cover: float = 0.85  # part of the smaller mask that lies in the larger one
    depth_gap_m: float = 0.04  # an empty gap this wide along depth separates two things
    edge_step_m: float = 0.015  # neighbours further apart in depth (plus 1 % of the depth) do not support each other

    def __post_init__(self) -> None:
        for name in ("score_threshold", "duplicate_iou", "duplicate_cover"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"segmentation: {name} is {getattr(self, name)}, expected a number from 0 to 1")
        for name in ("max_instances", "min_points", "depth_gap_m", "edge_step_m"):
            if not getattr(self, name) > 0:
                raise InputError(f"segmentation: {name} is {getattr(self, name)}, expected a positive number")

    def threshold_of(self, category: str) -> float:
        """The score that an instance of this category needs."""
        return self.class_thresholds.get(category, self.score_threshold)

    def points_of(self, category: str) -> int:
        """The fewest measured pixels that an instance of this category needs."""
        return min(self.class_min_points.get(category, self.min_points), self.min_points)


def clean_instances(
    frame: RgbdFrame,
    instances: Sequence[Instance],
    config: CleanConfig | None = None,
    dropped: Counter[str] | None = None,
    empty: Empty = np.empty,
) -> list[Instance]:
    """The instances to estimate poses of, with cleaned masks and tight boxes: the most certain first, but those below
    their category's threshold last.

    A pixel belongs to one instance only: the earlier one. `dropped` counts the rest by reason: "class", "score",
    "duplicate", "points", "cap". `empty` makes the masks, and what is needed on the way.
    """
    config = config or CleanConfig()
    dropped = Counter() if dropped is None else dropped
    kept: list[_Candidate] = []
    taken = empty(frame.depth_m.shape, bool)
    taken.fill(False)
    for instance in sorted(instances, key=lambda i: (not i.score >= config.threshold_of(i.category), -i.score)):
        reason = _unwanted(instance, config, taken)
        candidate = None if reason else _Candidate(instance)
        if not reason and any(_same_object(candidate, other, config) for other in kept):
            reason = "duplicate"
        if not reason and len(kept) == config.max_instances:
            reason = "cap"
        if not reason:
            found = _clean_mask(candidate, frame.depth_m, taken, config, empty)
            reason = "points" if found is None else ""
        if reason:
            dropped[reason] += 1
            continue
        kept.append(_Candidate(found, found.box2d))
    return [candidate.instance for candidate in kept]


def without_flying_pixels(
    depth_m: np.ndarray, mask: np.ndarray, edge_step_m: float, empty: Empty = np.empty
) -> np.ndarray:
    """A (H, W) bool mask less the pixels that float between two surfaces.

    A pixel on a surface has neighbours, in the mask or not, at nearly its depth: at least a third of the measured
    ones (a corner has 3 of 8). Pixels without a measurement stay. `empty` makes what is needed on the way.
    """
    height, width = depth_m.shape
    valid = depth_m > 0
    padded = empty((height + 2, width + 2), np.float32)
    padded.fill(np.inf)
    np.copyto(padded[1:-1, 1:-1], depth_m, where=valid)
    tolerance = np.multiply(depth_m, 0.01, out=empty(depth_m.shape, np.float32))
    tolerance += edge_step_m
    apart, near = empty(depth_m.shape, np.float32), empty(depth_m.shape, np.uint8)
    supporters = np.zeros(depth_m.shape, np.uint8)
    for dy in range(3):
        for dx in range(3):
            if (dy, dx) != (1, 1):
                cv2.absdiff(padded[dy : dy + height, dx : dx + width], depth_m, apart)
                supporters -= cv2.compare(apart, tolerance, cv2.CMP_LT, near)  # 255 is one, backwards, in eight bits
    around = cv2.boxFilter(valid.view(np.uint8), -1, (3, 3), near, normalize=False, borderType=cv2.BORDER_CONSTANT)
    around -= valid
    return mask & ~(valid & (3 * supporters < np.maximum(around, 1, out=around)))


def main_depth_cluster(depth_m: np.ndarray, mask: np.ndarray, gap_m: float) -> np.ndarray:
    """A (H, W) bool mask less the measured pixels that an empty gap in depth separates from its largest part.

    Working on the values and not on the image keeps an object whole that something in front of it cuts in two.
    Pixels without a measurement stay.
    """
    valid = mask & (depth_m > 0)
    values = depth_m[valid]
    if values.size == 0:
        return mask
    near = values.min()
    bin_m = gap_m / 4
    values -= near
    values /= bin_m
    counts = np.bincount(np.minimum(values, 5000, out=values).astype(np.intp))  # a wild value costs no memory
    occupied = np.flatnonzero(counts > 0.002 * values.size)
    cluster_of_occupied = np.cumsum(np.diff(occupied, prepend=occupied[0]) > 4)
    weight = np.bincount(cluster_of_occupied, weights=counts[occupied])
    members = occupied[cluster_of_occupied == weight.argmax()]
    low, high = near + members[0] * bin_m, near + (members[-1] + 1) * bin_m
    return mask & ~(valid & ((depth_m < low) | (depth_m >= high)))


def _unwanted(instance: Instance, config: CleanConfig, taken: np.ndarray) -> str:
    category, score = instance.category, instance.score
    if config.categories is not None and category not in config.categories:
        return "class"
    if score >= config.threshold_of(category):
        return ""
    x0, y0, x1, y1 = instance.box2d
    places = config.expected.get(category, ())
    known = any(x0 <= u < x1 and y0 <= v < y1 and not taken[int(v), int(u)] for u, v in places)
    return "" if known and score >= config.score_threshold else "score"  # of a NaN score too


class _Candidate:
    """An instance with the window of its mask, so that no further step looks at the whole image."""

    def __init__(self, instance: Instance, box: np.ndarray | None = None) -> None:
        """`box`: the tight box of the mask, where it is known."""
        self.instance = instance
        if box is None:
            x, y, width, height = cv2.boundingRect(instance.mask.view(np.uint8))
            box = (x, y, x + width, y + height)
        self.x0, self.y0, self.x1, self.y1 = (int(value) for value in box)
        self.area = int(np.count_nonzero(instance.mask[self.y0 : self.y1, self.x0 : self.x1]))


def _same_object(a: _Candidate, b: _Candidate, config: CleanConfig) -> bool:
    x0, y0, x1, y1 = max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)
    if x1 <= x0 or y1 <= y0:
        return False
    common = int(np.count_nonzero(a.instance.mask[y0:y1, x0:x1] & b.instance.mask[y0:y1, x0:x1]))
    iou = common / (a.area + b.area - common)
    return iou >= config.duplicate_iou or common >= config.duplicate_cover * min(a.area, b.area)


def _clean_mask(
    candidate: _Candidate, depth_m: np.ndarray, taken: np.ndarray, config: CleanConfig, empty: Empty
) -> Instance | None:
    """The instance with its cleaned mask, whose pixels are then taken; None when too few measured pixels remain."""
    window = np.s_[max(candidate.y0 - 1, 0) : candidate.y1 + 1, max(candidate.x0 - 1, 0) : candidate.x1 + 1]
    instance, least = candidate.instance, config.points_of(candidate.instance.category)
    scratch = parts(empty, (taken.shape[0] + 2) * (taken.shape[1] + 2))  # for all of the image, and a border
    depth = scratch(taken[window].shape, np.float32)
    depth.fill(0)
    np.copyto(depth, depth_m[window], where=np.isfinite(depth_m[window]))
    measured, part = depth > 0, instance.mask[window] & ~taken[window]
    if np.count_nonzero(part & measured) < least:
        return None
    part = without_flying_pixels(depth, part, config.edge_step_m, scratch)
    part = main_depth_cluster(depth, part, config.depth_gap_m)
    part = _without_islands(part, scratch)
    if np.count_nonzero(part & measured) < least:
        return None
    taken[window] |= part
    mask = empty(instance.mask.shape, bool)
    mask.fill(False)
    mask[window] = part
    return replace(instance, mask=mask, box2d=mask_box(part) + np.float32([window[1].start, window[0].start] * 2))


def _without_islands(mask: np.ndarray, empty: Empty, min_share: float = 0.1) -> np.ndarray:
    """Drops islands smaller than `min_share` of the largest one; larger ones may be an occluded object's other half."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), empty(mask.shape, np.int32))
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # the background
    return (areas >= min_share * areas.max())[labels] & mask
