"""How much a predicted box and a true box overlap, in each of the three readings that the field has."""

from __future__ import annotations

import numpy as np

from mkpose_ros.evaluation.protocol import Mode
from mkpose_ros.geometry.boxes import box_corners, oriented_iou
from mkpose_ros.geometry.symmetry import AXES, align_to_reference, finite_rotations
from mkpose_ros.types import Symmetry

__all__ = ["TURNS", "exact_iou", "published_iou", "turns_about_y"]

TURNS = 20  # of a symmetric prediction about y, of which the best counts


def turns_about_y(count: int = TURNS) -> np.ndarray:
    """Rotations (count, 3, 3) by equal steps about y."""
    angle = 2.0 * np.pi * np.arange(count) / count
    turns = np.zeros((count, 3, 3))
    turns[:, 0, 0] = turns[:, 2, 2] = np.cos(angle)
    turns[:, 0, 2], turns[:, 2, 0] = np.sin(angle), -np.sin(angle)
    turns[:, 1, 1] = 1.0
    return turns


def published_iou(
    T_pred: np.ndarray,
    size_pred_m: np.ndarray,
    T_true: np.ndarray,
    size_true_m: np.ndarray,
    symmetric: np.ndarray,
    mode: Mode,
) -> np.ndarray:
    """The overlaps (n,) float32 of n pairs in mode nocs or corners; poses (n, 4, 4), sizes (n, 3), symmetric (n,) bool.

    In mode nocs the "box" of eight corners has eight dimensions, one for each corner, from its smallest to its
    largest coordinate. Not a sensible measure, but the one behind the published tables.
    """
    overlaps = np.zeros(len(T_pred), dtype=np.float32)
    plain = np.flatnonzero(~symmetric)
    overlaps[plain] = _extent_iou(T_pred[plain], size_pred_m[plain], T_true[plain], size_true_m[plain], mode)
    for turn in turns_about_y():
        free = np.flatnonzero(symmetric)
        T_turned = T_pred[free].copy()
        T_turned[:, :3, :3] = T_turned[:, :3, :3] @ turn
        iou = _extent_iou(T_turned, size_pred_m[free], T_true[free], size_true_m[free], mode)
        overlaps[free] = np.fmax(overlaps[free], iou)  # a NaN loses, as it does in the field's max()
    return overlaps


def _extent_iou(T_1: np.ndarray, size_1: np.ndarray, T_2: np.ndarray, size_2: np.ndarray, mode: Mode) -> np.ndarray:
    axis = -1 if mode is Mode.NOCS else -2  # of (n, 8, 3): each corner's coordinates, or each coordinate's corners
    corners_1, corners_2 = box_corners(T_1, size_1), box_corners(T_2, size_2)
    low_1, high_1 = corners_1.min(axis=axis), corners_1.max(axis=axis)
    low_2, high_2 = corners_2.min(axis=axis), corners_2.max(axis=axis)
    shared = np.minimum(high_1, high_2) - np.maximum(low_1, low_2)
    intersection = np.where(shared.min(axis=-1) < 0.0, 0.0, shared.prod(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        union = (high_1 - low_1).prod(axis=-1) + (high_2 - low_2).prod(axis=-1) - intersection
        return intersection / union


def exact_iou(
    T_pred: np.ndarray,
    size_pred_m: np.ndarray,
    T_true: np.ndarray,
    size_true_m: np.ndarray,
    symmetries: list[Symmetry],
) -> np.ndarray:
    """The oriented overlaps (n,) of n pairs, the largest over the turns that the symmetry of the truth allows.

    About a continuous axis the prediction is first turned as near to the truth as it gets, then by steps of 18 degrees.
    """
    overlaps = oriented_iou(T_pred, size_pred_m, T_true, size_true_m)
    owners, turned = [], []
    for index, symmetry in enumerate(symmetries):
        if (symmetry.infinite_axes or max(symmetry.orders) > 2) and np.isfinite(overlaps[index]):
            aligned = align_to_reference(T_pred[index, :3, :3], T_true[index, :3, :3], symmetry)
            rotations = _equal_rotations(aligned, symmetry)
            T = np.tile(T_pred[index], (len(rotations), 1, 1))
            T[:, :3, :3] = rotations
            owners.append(np.full(len(T), index))
            turned.append(T)
    if owners:
        i = np.concatenate(owners)
        iou = oriented_iou(np.concatenate(turned), size_pred_m[i], T_true[i], size_true_m[i])
        np.maximum.at(overlaps, i, iou)
    return overlaps


def _equal_rotations(rotation: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """Rotations (m, 3, 3) that look the same; half a turn about a box's axis gives the same box and is left out."""
    if not symmetry.infinite_axes:
        return rotation @ finite_rotations(symmetry)
    axis = AXES[symmetry.infinite_axes[0]]
    cross = np.cross(np.eye(3), axis)
    angle = 2.0 * np.pi * np.arange(TURNS // 2)[:, None, None] / TURNS
    return rotation @ (np.eye(3) - np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)
