"""Depth images: closing small holes without inventing surfaces."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["fill_holes"]


def fill_holes(depth_m: np.ndarray, *, width_px: int = 6, max_step: float = 0.03) -> np.ndarray:
    """A copy of a depth image (H, W) float32 metres in which narrow holes (0) inside a surface are closed.

    A pixel is filled when it lies in a gap of at most width_px along its row or its column (of half as many at the
    image's border), and the measurements around it along both (within width_px) differ by less than max_step of their
    depth: across an object's border nothing is filled. It gets their mean. Measured pixels never change, at whatever
    distance.
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
    padded = cv2.copyMakeBorder(depth_m, *[width_px] * 4, cv2.BORDER_CONSTANT, value=0.0)
    near, stride = np.r_[:width_px, width_px + 1 : 2 * width_px + 1], padded.shape[1]
    shifted = [padded.ravel()[step:] for step in np.r_[near + width_px * stride, near * stride + width_px]]
    for some in np.split(gaps, range(_CHUNK, len(gaps), _CHUNK)):
        corner = some + some // depth_m.shape[1] * (2 * width_px)  # of each gap's neighbourhood, in the padded image
        around = np.empty((4 * width_px, len(some)), np.float32)
        for values, shift in zip(around, shifted, strict=True):
            shift.take(corner, out=values, mode="clip")  # "raise", the default, would make a copy
        count = (around > 0.0).sum(axis=0, dtype=np.uint16)
        # Positive floats sort as their bits do; those of a hole, 0, wrap round to the largest number.
        nearest = ((around.view(np.uint32) - np.uint32(1)).min(axis=0) + np.uint32(1)).view(np.float32)
        smooth = around.max(axis=0) - nearest < max_step * nearest
        filled.ravel()[some[smooth]] = (around.sum(axis=0) / count)[smooth]
    return filled


_CHUNK = 4096  # gaps whose surroundings fit the processor's cache
