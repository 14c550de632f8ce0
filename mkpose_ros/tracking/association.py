"""Which detection belongs to which track: what may be one thing, and one assignment over all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from mkpose_ros.types import ObjectPose

__all__ = ["Silhouette", "associate", "box_iou", "mask_iou"]


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


class Silhouette:
    """A detection's mask, every second pixel of every second row, inside its box alone."""

    __slots__ = ("area", "box", "pixels")

    def __init__(self, detection: ObjectPose) -> None:
        x0, y0, x1, y1 = (int(v) for v in detection.box2d)
        x0, y0 = x0 - x0 % 2, y0 - y0 % 2  # the same pixels for all
        mask = detection.mask
        self.pixels = np.zeros((0, 0), bool) if mask is None else mask[y0:y1:2, x0:x1:2].copy()
        height, width = self.pixels.shape
        self.box = (x0 // 2, y0 // 2, x0 // 2 + width, y0 // 2 + height)
        self.area = int(np.count_nonzero(self.pixels))

    def moved(self, right_px: float, down_px: float) -> Silhouette:
        """The same mask elsewhere in the picture."""
        right, down = round(right_px / 2), round(down_px / 2)
        result = Silhouette.__new__(Silhouette)
        result.pixels, result.area = self.pixels, self.area
        result.box = (self.box[0] + right, self.box[1] + down, self.box[2] + right, self.box[3] + down)
        return result

    def iou(self, other: Silhouette) -> float:
        """0 where either has no mask."""
        x0, y0 = max(self.box[0], other.box[0]), max(self.box[1], other.box[1])
        x1, y1 = min(self.box[2], other.box[2]), min(self.box[3], other.box[3])
        if x1 <= x0 or y1 <= y0:
            return 0.0
        common = np.count_nonzero(self._part(x0, y0, x1, y1) & other._part(x0, y0, x1, y1))
        return common / max(self.area + other.area - common, 1)

    def _part(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        return self.pixels[y0 - self.box[1] : y1 - self.box[1], x0 - self.box[0] : x1 - self.box[0]]


def mask_iou(a: Sequence[Silhouette], b: Sequence[Silhouette], wanted: np.ndarray) -> np.ndarray:
    """IoU (A, B) of masks where it is wanted (A, B) bool; 0 elsewhere."""
    boxes_a, boxes_b = np.array([s.box for s in a])[:, None], np.array([s.box for s in b])
    meet = (np.maximum(boxes_a, boxes_b)[..., :2] < np.minimum(boxes_a, boxes_b)[..., 2:]).all(axis=-1)
    iou = np.zeros(wanted.shape)
    for i, j in zip(*np.nonzero(meet & wanted), strict=True):
        iou[i, j] = a[i].iou(b[j])
    return iou
