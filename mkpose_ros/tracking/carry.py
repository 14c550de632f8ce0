"""Masks carried from the frame that was segmented (the key frame) to a later one, many times cheaper than a new one.

Each object's features are followed by sparse optical flow, straight from the key frame so that nothing drifts; a
similarity is fitted to them and moves the mask; pixels whose depth is not what the object's was, moved alike, are taken
out. An object without texture is taken to move as what is around it. Where the camera's pose is given, flow starts
from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mkpose_ros.array_pool import Empty
from mkpose_ros.geometry.camera import deproject, project
from mkpose_ros.geometry.rotations import invert_pose
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["CarriedMasks", "MaskCarrier"]

_SCALE = 0.5  # flow runs on images of half the size
_FEATURES, _SCENE_FEATURES = 24, 80  # of one object and of the whole picture, at most
_NEIGHBOURS = 16  # features of the picture that stand in for those of an object without texture
_MIN_INLIERS, _INLIER_SHARE = 5, 0.4
_INLIER_PX = 1.0  # on the small image
_FLOW = {
    "winSize": (13, 13),
    "maxLevel": 3,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03),
}
_DEPTH_STEP_M, _DEPTH_SHARE = 0.015, 0.01  # a pixel's depth may differ from the object's by the sum of both
_DEPTH_SHIFT_M = 0.04  # how much nearer or farther the whole object may be than its change in size says
_SIZE_RANGE = (0.75, 1.33)  # of the similarity's scale: then the object looks different
_MIN_POINTS = 32
_UNMEASURED_M = np.float32(-1.0)


@dataclass(frozen=True)
class CarriedMasks:
    """The masks of one frame and how far they can be trusted."""

    instances: list[Instance]  # those that were found again, in the key frame's order
    lost: int  # instances of the key frame that were not
    coverage: float  # the least share of an instance's measured pixels whose depth fits; 1 without any
    age_s: float  # since the key frame


@dataclass(frozen=True)
class _Object:
    """What is kept of one instance of the key frame."""

    instance: Instance
    window: tuple[int, int, int, int]  # x0, y0, x1, y1 of its mask
    depth_m: np.ndarray  # (h, w) float32 inside the window; 0 outside the mask, _UNMEASURED_M where it has no depth
    features: np.ndarray  # (F, 2) float32 pixels of the small image
    centre: np.ndarray  # (2,) float32 pixels of the small image


class MaskCarrier:
    """Holds one key frame; `carry` may be called for any later frames."""

    def __init__(self, frame: RgbdFrame, instances: Sequence[Instance], empty: Empty = np.empty) -> None:
        """`empty` makes the masks and whatever else has the size of the image."""
        self.stamp_ns = frame.stamp_ns
        self._T_world_cam = frame.T_world_cam
        self._empty = empty
        grey = _small_grey(frame, empty)
        self._grey = grey
        self._objects = [_key_object(frame, grey, instance) for instance in instances]
        scene = _features(grey, None, _SCENE_FEATURES, 8)
        self._features = [*(thing.features for thing in self._objects), scene]  # (F, 2) of each and of the picture
        self._points_m = [_points(frame, features) for features in self._features]
        self._moves: list[np.ndarray | None] = [None] * len(self._features)  # the latest similarities (2, 3)

    def carry(self, frame: RgbdFrame) -> CarriedMasks:
        """The instances where they are in another frame of the same camera."""
        age_s = (frame.stamp_ns - self.stamp_ns) * 1e-9
        if not self._objects:
            return CarriedMasks([], 0, 1.0, age_s)
        self._follow(frame)
        found, coverage = [], 1.0
        for thing, move in zip(self._objects, self._moves[:-1], strict=True):
            instance, covered = (None, 0.0) if move is None else _moved(thing, move, frame, self._empty)
            coverage = min(coverage, covered)
            if instance is not None:
                found.append(instance)
        return CarriedMasks(found, len(self._objects) - len(found), coverage, age_s)

    def _follow(self, frame: RgbdFrame) -> None:
        """Update the similarities by one optical flow for all features."""
        start, guess = np.concatenate(self._features), np.concatenate(self._guesses(frame)).astype(np.float32)
        if not len(start):
            self._moves = [None] * len(self._moves)
            return
        end, status, _ = cv2.calcOpticalFlowPyrLK(
            self._grey,
            _small_grey(frame, self._empty),
            start,
            guess,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
            **_FLOW,
        )
        good = status.ravel().astype(bool)
        ends = np.cumsum([len(features) for features in self._features])
        for i, (features, stop) in enumerate(zip(self._features, ends, strict=True)):
            rows = np.arange(stop - len(features), stop)
            self._moves[i] = _similarity(start[rows], end[rows], good[rows])
        for i, thing in enumerate(self._objects):
            if self._moves[i] is None:
                around = np.argsort(np.linalg.norm(start - thing.centre, axis=1) + 1e6 * ~good)[:_NEIGHBOURS]
                self._moves[i] = _similarity(start[around], end[around], good[around])

    def _guesses(self, frame: RgbdFrame) -> list[np.ndarray]:
        """Where the features (F, 2) should be: by the camera's motion if it is known, else by their latest move."""
        last = [
            features if move is None else features @ move[:, :2].T + move[:, 2]
            for features, move in zip(self._features, self._moves, strict=True)
        ]
        if frame.T_world_cam is None or self._T_world_cam is None:
            return last
        T = invert_pose(frame.T_world_cam) @ self._T_world_cam
        guesses = []
        for points_m, fallback in zip(self._points_m, last, strict=True):
            pixels = _SCALE * (project(points_m @ T[:3, :3].T + T[:3, 3], frame.intrinsics) + 0.5) - 0.5
            known = (points_m[:, 2:] > 0.0) & np.isfinite(pixels)
            guesses.append(np.where(known, pixels, fallback))
        return guesses


def _small_grey(frame: RgbdFrame, empty: Empty) -> np.ndarray:
    height, width = (round(side * _SCALE) for side in frame.rgb.shape[:2])  # as OpenCV rounds
    small = empty((height, width, 3), np.uint8)
    small = cv2.resize(frame.rgb, None, small, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY, dst=empty((height, width), np.uint8))


def _key_object(frame: RgbdFrame, grey: np.ndarray, instance: Instance) -> _Object:
    x0, y0, width, height = cv2.boundingRect(instance.mask.view(np.uint8))
    window = np.s_[y0 : y0 + height, x0 : x0 + width]
    mask, depth_m = instance.mask[window], frame.depth_m[window]
    depth_m = np.where(mask, np.where(depth_m > 0.0, depth_m, _UNMEASURED_M), np.float32(0.0))
    small = np.s_[int(y0 * _SCALE) : int((y0 + height) * _SCALE) + 1, int(x0 * _SCALE) : int((x0 + width) * _SCALE) + 1]
    part = grey[small]
    inside = cv2.resize(mask.astype(np.uint8), part.shape[::-1], interpolation=cv2.INTER_NEAREST)
    features = _features(part, inside, _FEATURES, 3, (small[1].start, small[0].start))
    centre = np.float32([x0 + width / 2, y0 + height / 2]) * np.float32(_SCALE)
    return _Object(instance, (x0, y0, x0 + width, y0 + height), depth_m, features, centre)


def _features(
    grey: np.ndarray, mask: np.ndarray | None, most: int, apart_px: float, corner: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Corners (F, 2) float32 of a picture, inside a mask of its size; `corner` is its top left in the small image."""
    found = cv2.goodFeaturesToTrack(grey, most, 0.005, apart_px, mask=mask, blockSize=3)
    return np.zeros((0, 2), np.float32) if found is None else found[:, 0] + np.float32(corner)


def _points(frame: RgbdFrame, features: np.ndarray) -> np.ndarray:
    """The points (F, 3) of features (F, 2) in the camera frame; z is 0 where nothing was measured."""
    u, v = np.rint((features + 0.5) / _SCALE - 0.5).astype(int).T
    u, v = np.clip(u, 0, frame.depth_m.shape[1] - 1), np.clip(v, 0, frame.depth_m.shape[0] - 1)
    return deproject(u, v, frame.depth_m[v, u], frame.intrinsics)


def _similarity(start: np.ndarray, end: np.ndarray, good: np.ndarray) -> np.ndarray | None:
    """The similarity (2, 3) between pixels (F, 2) that most agree on; None where too few do."""
    wanted = max(_MIN_INLIERS, int(_INLIER_SHARE * len(good)))
    if np.count_nonzero(good) < wanted:
        return None
    move, inliers = cv2.estimateAffinePartial2D(start[good], end[good], ransacReprojThreshold=_INLIER_PX, maxIters=60)
    if move is None or np.count_nonzero(inliers) < wanted:
        return None
    size = float(np.hypot(move[0, 0], move[1, 0]))
    return move if _SIZE_RANGE[0] < size < _SIZE_RANGE[1] else None


def _moved(thing: _Object, move: np.ndarray, frame: RgbdFrame, empty: Empty) -> tuple[Instance | None, float]:
    """The instance with its mask moved, None when it is lost, and the share of its pixels whose depth fits."""
    x0, y0, x1, y1 = thing.window
    A = move[:, :2]
    # From small to full pixels: p_full = (p_small + 0.5) / scale - 0.5.
    shift = (move[:, 2] + 0.5 - A @ [0.5, 0.5]) / _SCALE - 0.5 + A @ [0.5, 0.5]
    corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) @ A.T + shift
    height, width = frame.depth_m.shape
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, [width, height]).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, [width, height]).tolist()
    if right - left < 4 or bottom - top < 4:
        return None, 0.0
    inside = np.hstack([A, (A @ [x0, y0] + shift - [left, top])[:, None]])  # window to window
    size = (right - left, bottom - top)
    expected_m = cv2.warpAffine(thing.depth_m, inside, size, flags=cv2.INTER_NEAREST)
    mask = expected_m != 0.0
    expected_m /= np.float32(np.hypot(A[0, 0], A[1, 0]))  # twice as large is half as far
    depth_m = frame.depth_m[top:bottom, left:right]
    both = (expected_m > 0.0) & (depth_m > 0.0)
    measured = np.count_nonzero(both)
    if measured < _MIN_POINTS:
        return None, 0.0
    difference_m = np.subtract(depth_m, expected_m, out=expected_m)
    shift_m = _median(difference_m.take(np.flatnonzero(both)))
    difference_m -= np.clip(shift_m, -_DEPTH_SHIFT_M, _DEPTH_SHIFT_M)
    allowed_m = _DEPTH_SHARE * depth_m
    allowed_m += _DEPTH_STEP_M
    wrong = both & (np.abs(difference_m, out=difference_m) > allowed_m)
    covered = 1.0 - np.count_nonzero(wrong) / measured
    mask ^= wrong
    if covered < 0.5 or measured * covered < _MIN_POINTS:
        return None, covered
    whole = empty((height, width), bool)
    whole[...] = False
    whole[top:bottom, left:right] = mask
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    box = np.array([left + x, top + y, left + x + w, top + y + h], np.float32)
    return replace(thing.instance, mask=whole, box2d=box), covered


def _median(values: np.ndarray) -> np.float32:
    """That of float32 values (n,), n > 0, which come out in another order; np.median takes ten times as long."""
    middle = len(values) // 2
    values.partition(middle)
    return values[middle] if len(values) % 2 else (values[:middle].max() + values[middle]) / np.float32(2.0)
