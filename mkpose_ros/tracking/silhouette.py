"""Masks as association compares them: coarse, inside their boxes, moved with the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mkpose_ros.types import ObjectPose

__all__ = ["Silhouette", "mask_overlap"]


class Silhouette:
    """A detection's mask, every second pixel of every second row, inside its box alone."""

    __slots__ = ("area", "box", "pixels")

    def __init__(self, pixels: np.ndarray, x0: int, y0: int) -> None:
        self.pixels = pixels
        height, width = pixels.shape
        self.box = (x0, y0, x0 + width, y0 + height)
        self.area = int(np.count_nonzero(pixels))

    @classmethod
    def of(cls, detection: ObjectPose) -> Silhouette:
        """Without pixels where it has no mask."""
        x0, y0, x1, y1 = (int(v) for v in detection.box2d)
        x0, y0 = x0 - x0 % 2, y0 - y0 % 2  # the same pixels for all
        mask = detection.mask
        return cls(np.zeros((0, 0), bool) if mask is None else mask[y0:y1:2, x0:x1:2].copy(), x0 // 2, y0 // 2)

    def moved(self, right_px: float, down_px: float) -> Silhouette:
        """The same mask elsewhere in the picture."""
        right, down = round(right_px / 2), round(down_px / 2)
        result = Silhouette.__new__(Silhouette)
        result.pixels, result.area = self.pixels, self.area
        result.box = (self.box[0] + right, self.box[1] + down, self.box[2] + right, self.box[3] + down)
        return result

    def common(self, other: Silhouette) -> int:
        """How many pixels both have."""
        x0, y0 = max(self.box[0], other.box[0]), max(self.box[1], other.box[1])
        x1, y1 = min(self.box[2], other.box[2]), min(self.box[3], other.box[3])
        if x1 <= x0 or y1 <= y0:
            return 0
        return int(np.count_nonzero(self._part(x0, y0, x1, y1) & other._part(x0, y0, x1, y1)))

    def _part(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        return self.pixels[y0 - self.box[1] : y1 - self.box[1], x0 - self.box[0] : x1 - self.box[0]]


def mask_overlap(a: Sequence[Silhouette], b: Sequence[Silhouette], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU (A, B) of masks where it is wanted (A, B) bool, and the share (A, B) of each b that lies in a.

    0 elsewhere, and where either has no mask.
    """
    boxes_a, boxes_b = np.array([s.box for s in a])[:, None], np.array([s.box for s in b])
    meet = (np.maximum(boxes_a, boxes_b)[..., :2] < np.minimum(boxes_a, boxes_b)[..., 2:]).all(axis=-1)
    iou, inside = np.zeros((2, *wanted.shape))
    for i, j in zip(*np.nonzero(meet & wanted), strict=True):
        common = a[i].common(b[j])
        iou[i, j] = common / max(a[i].area + b[j].area - common, 1)
        inside[i, j] = common / max(b[j].area, 1)
    return iou, inside
