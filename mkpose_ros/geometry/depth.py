"""Depth images: closing small holes without inventing surfaces."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["fill_holes"]


def fill_holes(depth_m: np.ndarray, *, width_px: int = 6, max_step: float = 0.03) -> np.ndarray:
    """A copy of a depth image (H, W) float32 metres in which narrow holes (0) inside a surface are closed.

    A pixel is filled when it lies in a gap of at most width_px along its row or its column, and the measurements
    around it along both (within width_px) differ by less than max_step of their depth: across an object's border
    nothing is filled. It gets their mean. Measured pixels never change, at whatever distance.
    """
    depth_m = np.asarray(depth_m, dtype=np.float32)
    measured = (depth_m > 0.0).view(np.uint8)
    closed = np.zeros_like(measured)
    for shape in ((1, width_px + 1), (width_px + 1, 1)):
        closed |= cv2.morphologyEx(measured, cv2.MORPH_CLOSE, np.ones(shape, np.uint8))
    gaps = np.flatnonzero(closed != measured)
    filled = depth_m.copy()
    if len(gaps) == 0:
        return filled
    padded = np.pad(depth_m, width_px)
    stride = padded.shape[1]
    row, column = np.divmod(gaps, depth_m.shape[1])
    centre = (row + width_px) * stride + column + width_px
    steps = np.r_[-width_px:0, 1 : width_px + 1]
    around = padded.ravel()[np.r_[steps, steps * stride][:, None] + centre]  # (4 width_px, n)
    count = np.count_nonzero(around, axis=0)
    nearest = np.where(around > 0.0, around, np.float32(np.inf)).min(axis=0)
    smooth = around.max(axis=0) - nearest < max_step * nearest
    filled.ravel()[gaps[smooth]] = (around.sum(axis=0) / count)[smooth]
    return filled
