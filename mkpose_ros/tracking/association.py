"""Which detection belongs to which track: what may be one thing, and one assignment over all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from mkpose_ros.tracking.config import TrackerConfig
from mkpose_ros.tracking.filter import FilterBank
from mkpose_ros.tracking.silhouette import mask_overlap
from mkpose_ros.tracking.track import Measured, Track

__all__ = ["Matches", "associate", "box_iou", "match"]

# Of a pair, beside a distance of up to 1:
_OVERLAP_COST = 2.0  # of one whose masks or boxes have nothing in common: these tell more than centres
_OTHER_CATEGORY_COST = 0.5
_FEW_COST = 0.7  # by the frames in which the track was seen: what is known for long goes on rather than a glimpse
_YOUNG_COST = 0.5  # with a track seen less often than another at its place: of the two the older one goes on
_NO_MASK_COST = 1.0  # instead of the overlap, of a track without a mask or whose mask is old
_ALONE_COST = 2.5  # of a track and a detection that find nothing; a pair that costs more is none
_FRESH_NS = 1_000_000_000  # a mask is compared with the next one for this long; then the camera may have moved on


@dataclass(frozen=True)
class Matches:
    """What a frame's D detections have to do with T tracks."""

    rows: np.ndarray  # (D,) the track of each detection, -1 for none
    far: np.ndarray  # (D,) bool: its track's only by the pixels; the depth is another's
    part: np.ndarray  # (D,) bool: only a part of what its track's mask was
    taken: np.ndarray  # (T, D) bool: the track stands in its place, or had its pixels


def match(
    tracks: Sequence[Track],
    filters: FilterBank,
    beside: np.ndarray,
    measured: Measured,
    pixels: np.ndarray,
    stamp_ns: int,
    config: TrackerConfig,
) -> Matches:
    """The best pairs of tracks and detections.

    beside (T, T): in how many frames two tracks were seen both; pixels (T, 2): where the tracks' centres are now.
    """
    rows = np.full(len(measured.objects), -1)
    far, part = np.zeros((2, len(rows)), bool)
    if not tracks:
        return Matches(rows, far, part, np.zeros((0, len(rows)), bool))
    poses, sizes_m = filters.poses, filters.sizes_m
    fresh = np.array([[stamp_ns - track.last_seen_ns <= _FRESH_NS] for track in tracks])
    shown = fresh & np.array([[track.shape.area > 0] for track in tracks])
    distances, surely = _distances(filters, sizes_m, measured)
    near = surely <= np.where(fresh, config.gate_distance, config.return_gate_distance)
    categories = [o.category for o in measured.objects]
    likeness = np.array([track.likeness(categories) for track in tracks])
    shifts_px = np.nan_to_num(pixels - [track.pixel for track in tracks]).tolist()
    shapes = [track.shape.moved(*shift) for track, shift in zip(tracks, shifts_px, strict=True)]
    overlaps, inside = mask_overlap(shapes, measured.shapes, np.broadcast_to(fresh, near.shape))
    fits = overlaps >= config.same_mask_iou
    whole = np.array([[stamp_ns - track.whole_ns <= 1e9 * config.part_memory_s] for track in tracks])
    parts = whole & (inside >= config.part_inside) & ~fits
    only = parts & ~fits.any(axis=1)[:, None] & ~fits.any(axis=0)  # nothing shows more; it is no other's whole
    places = box_iou(poses, sizes_m, measured.poses, measured.sizes_m)
    stands = places >= config.same_place_iou
    possible = (near & (likeness > 0.0)) | fits | only | stands
    common = np.maximum(np.maximum(overlaps, places), inside * only)
    apart = np.where(shown, _OVERLAP_COST * (1.0 - common), _NO_MASK_COST)
    likeness = np.where(shown, likeness > 0.0, likeness)  # how often it was taken for that counts where no pixels tell
    hits = np.array([track.hits for track in tracks])
    costs = np.minimum(distances, 1.0) + apart + _OTHER_CATEGORY_COST * (1.0 - likeness) + _FEW_COST / hits[:, None]
    if (possible.sum(axis=0) > 1).any() or (costs[possible] > _ALONE_COST - _YOUNG_COST).any():
        young = box_iou(poses, sizes_m, poses, sizes_m) >= config.same_place_iou
        young &= (hits > hits[:, None]) & (beside < config.side_by_side)
        costs += _YOUNG_COST * young.any(axis=1)[:, None]
    for row, i in associate(costs, possible, _ALONE_COST):
        rows[i], part[i], far[i] = row, parts[row, i], parts[row, i] or not near[row, i]
    return Matches(rows, far, part, stands | parts)


def associate(costs: np.ndarray, possible: np.ndarray, most: float) -> list[tuple[int, int]]:
    """Pairs (track, detection) among the possible ones (T, D) bool, of least total cost (T, D).

    To leave a track and a detection alone costs `most`, so that no pair is broken up only to make two poor ones.
    """
    gains = np.where(possible, costs - most, 0.0)
    rows, columns = linear_sum_assignment(np.minimum(gains, 0.0))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if gains[r, c] < 0.0]


def box_iou(poses_a: np.ndarray, sizes_a_m: np.ndarray, poses_b: np.ndarray, sizes_b_m: np.ndarray) -> np.ndarray:
    """About the IoU (A, B) of boxes with poses (A, 4, 4), (B, 4, 4) and extents (A, 3), (B, 3) in one frame.

    Each b is taken as parallel to a, with the extents that it has along a's axes: exact for quarter turns, and like the
    poses themselves the better the less they differ.
    """
    turns = np.einsum("aji,bjk->abik", poses_a[:, :3, :3], poses_b[:, :3, :3])
    shifts_m = np.abs(np.einsum("aji,abj->abi", poses_a[:, :3, :3], poses_b[:, :3, 3] - poses_a[:, None, :3, 3]))
    along_m = np.einsum("abik,bk->abi", turns**2, sizes_b_m)  # squares blend the extents as a turn does
    sizes_m = np.broadcast_to(sizes_a_m[:, None], along_m.shape)
    overlap_m = np.minimum(np.minimum(sizes_m, along_m), (sizes_m + along_m) / 2 - shifts_m)
    common = np.maximum(overlap_m, 0.0).prod(axis=-1)
    return common / (sizes_m.prod(axis=-1) + along_m.prod(axis=-1) - common)


def _distances(filters: FilterBank, sizes_m: np.ndarray, measured: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Between centres (T, D), in the larger one's largest extent; and what is sure of it: less two sigma."""
    extents_m = np.maximum(sizes_m.max(axis=1)[:, None], measured.sizes_m.max(axis=1))
    shifts_m = np.linalg.norm(filters.centres_m[:, None] - measured.poses[:, :3, 3], axis=-1)
    sigmas_m = np.sqrt(filters.covariances[:, [0, 1, 2], [0, 1, 2]].max(axis=1))[:, None]
    return shifts_m / extents_m, (shifts_m - 2.0 * sigmas_m) / extents_m
