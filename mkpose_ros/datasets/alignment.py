"""Poses from a NOCS map and depth: the similarity between the canonical points and the points that the camera saw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.errors import InputError
from mkpose_ros.geometry.camera import camera_matrix, deproject
from mkpose_ros.types import CameraIntrinsics

__all__ = ["Similarity", "align_nocs_map", "fit_similarity", "handle_visible_in_map"]

MIN_POINTS = 20
HYPOTHESES = 128
SAMPLE_SIZE = 4
SCORED_POINTS = 1000


@dataclass(frozen=True)
class Similarity:
    """camera = scale * rotation @ (nocs - 0.5) + translation_m."""

    scale: float  # metres per NOCS unit: the diagonal of the tight box
    rotation: np.ndarray  # (3, 3)
    translation_m: np.ndarray  # (3,)
    inliers: float  # share of the points that agree
    residual_m: float  # median distance of those points


def align_nocs_map(
    nocs: np.ndarray,
    depth_m: np.ndarray,
    mask: np.ndarray,
    intrinsics: CameraIntrinsics,
    *,
    scale: float | None = None,
    rng: np.random.Generator | None = None,
) -> Similarity:
    """The pose of the object under mask (H, W) bool from its NOCS map (H, W, 3) and the depth (H, W).

    scale fixes the metric diagonal where the extents of the model are known; the pose is then refined on the pixels
    alone, because a sensor's depth is off by several millimetres where a rendered map is off by half a pixel.
    Raises InputError when there are fewer than 20 pixels or no consistent pose.
    """
    v, u = np.nonzero(mask & (depth_m > 0.0))
    if len(u) < MIN_POINTS:
        raise InputError(f"{len(u)} pixels with depth; a pose needs at least {MIN_POINTS}")
    source = nocs[v, u].astype(np.float64) - 0.5
    target = deproject(u, v, depth_m[v, u], intrinsics).astype(np.float64)
    fit = _ransac(source, target, scale, rng or np.random.default_rng(0))
    if scale is None:
        return fit
    return _refine_on_pixels(fit, source * scale, np.stack([u, v], axis=1).astype(np.float64), intrinsics)


def _refine_on_pixels(
    fit: Similarity, points_m: np.ndarray, pixels: np.ndarray, intrinsics: CameraIntrinsics
) -> Similarity:
    """The rigid pose that reprojects points (n, 3) of the object frame best onto their pixels (n, 2)."""
    K = camera_matrix(intrinsics)
    rotation = Rotation.from_matrix(fit.rotation).as_rotvec()[:, None]
    translation = fit.translation_m[:, None].copy()
    for tolerance_px in (12.0, 4.0):
        projected, _ = cv2.projectPoints(points_m, rotation, translation, K, None)
        near = np.linalg.norm(projected[:, 0] - pixels, axis=1) < tolerance_px
        if near.sum() < MIN_POINTS:
            return fit
        rotation, translation = cv2.solvePnPRefineLM(points_m[near], pixels[near], K, None, rotation, translation)
    return replace(fit, rotation=Rotation.from_rotvec(rotation[:, 0]).as_matrix(), translation_m=translation[:, 0])


def _ransac(source: np.ndarray, target: np.ndarray, scale: float | None, rng: np.random.Generator) -> Similarity:
    """RANSAC over minimal samples, then refits on inliers with a tolerance that follows their residual."""
    subset = rng.permutation(len(source))[:SCORED_POINTS]
    picks = rng.integers(len(source), size=(HYPOTHESES, SAMPLE_SIZE))
    scales, rotations, translations = fit_similarity(source[picks], target[picks], scale)
    spread = float(np.median(np.linalg.norm(target - np.median(target, axis=0), axis=1)))
    tolerance = max(0.005, 0.1 * spread)
    moved = scales[:, None, None] * source[subset] @ np.swapaxes(rotations, 1, 2) + translations[:, None]
    votes = (np.linalg.norm(moved - target[subset], axis=2) < tolerance).sum(axis=1)
    best = int(np.argmax(votes))
    s, R, t = scales[best], rotations[best], translations[best]
    for _ in range(5):
        errors = np.linalg.norm(s * source @ R.T + t - target, axis=1)
        inside = errors < tolerance
        if inside.sum() < MIN_POINTS:
            raise InputError("NOCS map and depth agree on no pose; is the depth registered to the colour image?")
        s, R, t = fit_similarity(source[inside], target[inside], scale)
        tolerance = max(0.002, 3.0 * float(np.median(errors[inside])))
    errors = np.linalg.norm(s * source @ R.T + t - target, axis=1)
    inside = errors < tolerance
    return Similarity(float(s), R, t, float(inside.mean()), float(np.median(errors[inside])))


def fit_similarity(
    source: np.ndarray, target: np.ndarray, scale: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least-squares s (...), R (..., 3, 3), t (..., 3) with target = s R source + t (Umeyama, 1991).

    source, target: (..., n, 3). A given scale is kept.
    """
    source_mean, target_mean = source.mean(axis=-2, keepdims=True), target.mean(axis=-2, keepdims=True)
    a, b = source - source_mean, target - target_mean
    U, D, Vt = np.linalg.svd(np.swapaxes(b, -1, -2) @ a)
    signs = np.ones(D.shape)
    signs[..., 2] = np.sign(np.linalg.det(U @ Vt))
    R = (U * signs[..., None, :]) @ Vt
    if scale is None:
        variance = np.maximum((a**2).sum(axis=(-2, -1)), 1e-18)
        s = (D * signs).sum(axis=-1) / variance
    else:
        s = np.full(D.shape[:-1], float(scale))
    t = (target_mean - s[..., None, None] * source_mean @ np.swapaxes(R, -1, -2))[..., 0, :]
    return s, R, t


def handle_visible_in_map(nocs: np.ndarray, mask: np.ndarray, size_m: np.ndarray, min_pixels: int = 20) -> bool:
    """Whether a mug's handle (beyond the round body towards +x) is seen under mask (H, W) in its NOCS map."""
    x_m = (nocs[..., 0][mask] - 0.5) * float(np.linalg.norm(size_m))
    body_end_m = -0.5 * size_m[0] + size_m[2]  # the body is as wide in x as in z
    return int((x_m > body_end_m + 0.05 * size_m[0]).sum()) >= min_pixels
