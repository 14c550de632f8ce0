"""A second look at a pose: how the observed points lie in the estimated box says how the box is wrong.

The pose network learns its translation and size from scratch, in camera axes. In the axes of its own estimate the
same question is far easier: the cloud should fill the box, its near faces should touch the near sides, and a turn
shows as a slope. A small perceptron on statistics of the points in that frame answers it within microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mkpose_ros.errors import ModelError
from mkpose_ros.geometry.rotations import rotations_of
from mkpose_ros.inference.perceptron import Perceptron

__all__ = ["BoxPose", "Refiner", "Seen", "box_features", "brightness_of", "corrected", "mean_token"]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
CELLS, REACH = 6, 1.5  # of each projection's grid, which spans -REACH .. REACH half-sizes
MOST = 4.0  # half-sizes, beyond which a statistic says no more
LARGEST_CORRECTION = 1.5  # half-sizes, log ratio, radians
TEXT_LENGTH = 4.0  # of text features, so that each counts like the other statistics
_ACROSS, _DOWN = [0, 0, 1], [1, 2, 2]  # the axes of each of the three projections


class BoxPose(NamedTuple):
    """B boxes relative to the cloud's origin, metres."""

    rotation: np.ndarray  # (B, 3, 3)
    translation_m: np.ndarray  # (B, 3)
    size_m: np.ndarray  # (B, 3)


class Seen(NamedTuple):
    """What is known of the same B objects besides; camera axes, metres."""

    points_m: np.ndarray  # (B, N, 3)
    brightness: np.ndarray  # (B, N) of the pixel under each point, by `brightness_of`
    keypoints_m: np.ndarray  # (B, K, 3)
    nocs: np.ndarray  # (B, K, 3)
    head_rotation: np.ndarray  # (B, 3, 3) of the pose head alone
    head_translation_m: np.ndarray  # (B, 3)
    log_variance: np.ndarray  # (B, 6)
    disagreement: np.ndarray  # (B, 2)
    text: np.ndarray  # (B, D) mean token of the category's description


def box_features(pose: BoxPose, seen: Seen) -> np.ndarray:
    """(B, F) float32, all free of the object's place and, but for one, of its scale."""
    R, size_m = pose.rotation.astype(np.float32), pose.size_m.astype(np.float32)
    t = pose.translation_m.astype(np.float32)
    diagonal = np.linalg.norm(size_m, axis=1, keepdims=True)
    points = _in_box(seen.points_m, R, t, size_m)
    ranks = np.rint(np.array(QUANTILES) * (points.shape[1] - 1)).astype(int)
    keypoints, model = _in_box(seen.keypoints_m, R, t, size_m), 2.0 * seen.nocs * (diagonal / size_m)[:, None]
    both = np.stack([keypoints.swapaxes(1, 2), model.swapaxes(1, 2)])  # (2, B, 3, K): few calls, along memory
    ends = np.stack([both.min(axis=-1), both.max(axis=-1), both.mean(axis=-1)], axis=1)  # (2, 3, B, 3)
    spread = both.std(axis=-1)
    parts = [
        *np.sort(points.swapaxes(1, 2))[..., ranks].transpose(2, 0, 1),
        *ends.reshape(6, -1, 3),
        spread[0] / (spread[1] + 0.05),
        2.0 * ((seen.head_translation_m - t)[:, None] @ R)[:, 0] / size_m,
        np.einsum("bij,bij->bj", R, seen.head_rotation),
        R[:, 2],  # the camera's axis as the object sees it
        np.abs(R[:, 2]),
        np.log(size_m / diagonal),
        np.log(diagonal / 0.2),
        seen.log_variance / 5.0,
        np.log1p(seen.disagreement / (0.01, 0.1)),
        _projections(points, seen.brightness),
        seen.text / np.maximum(np.linalg.norm(seen.text, axis=1, keepdims=True), 1e-6) * TEXT_LENGTH,
    ]
    features = np.concatenate(parts, axis=1, dtype=np.float32)
    return np.clip(features, -MOST, MOST, out=features)


def corrected(pose: BoxPose, correction: np.ndarray) -> BoxPose:
    """The pose after corrections (B, 9): shift in half-sizes and log growth along the box's axes, and a turn in rad."""
    correction = np.clip(correction, -LARGEST_CORRECTION, LARGEST_CORRECTION)
    shift, growth, turn = correction[:, :3], correction[:, 3:6], correction[:, 6:]
    moved = (pose.rotation @ (0.5 * shift * pose.size_m)[..., None])[..., 0]
    return BoxPose(pose.rotation @ rotations_of(turn), pose.translation_m + moved, pose.size_m * np.exp(growth))


@dataclass(frozen=True)
class Refiner:
    """A perceptron from box_features to corrections, applied `rounds` times."""

    perceptron: Perceptron
    rounds: int = 2

    def __call__(self, pose: BoxPose, seen: Seen, known: np.ndarray) -> BoxPose:
        """The corrected pose of those of B objects that are `known` (B,): of a category that it was fitted to."""
        start = pose
        for _ in range(self.rounds):
            pose = corrected(pose, self.perceptron(box_features(pose, seen)))
        rows = known[:, None]
        return BoxPose(
            np.where(rows[..., None], pose.rotation, start.rotation),
            np.where(rows, pose.translation_m, start.translation_m),
            np.where(rows, pose.size_m, start.size_m),
        )

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any] | None) -> Refiner | None:
        """Of `to_metadata`; None of None. Raises ModelError for values that are none."""
        if values is None:
            return None
        perceptron = Perceptron.from_metadata(values, what="refiner", outputs=9)
        try:
            return cls(perceptron, int(values["rounds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"model refiner: {error}; run `mkpose train --ship` again") from error

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for `from_metadata`; numbers lose what half precision does not hold."""
        return {"rounds": self.rounds, **self.perceptron.to_metadata()}


def brightness_of(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(B, N) brightness of crops (B, S, S, 3) uint8 at pixels (B, N, 2) in [-1, 1], in standard deviations from the
    object's mean."""
    side = image.shape[1]
    column, row = np.moveaxis(np.clip((pixels + 1.0) * (side / 2), 0, side - 1).astype(int), -1, 0)
    red, green, blue = np.moveaxis(image[np.arange(len(row))[:, None], row, column].astype(np.float32), -1, 0)
    value = red + green + blue
    value -= value.mean(axis=1, keepdims=True)
    return value / (np.sqrt((value * value).mean(axis=1, keepdims=True)) + 15.0)


def mean_token(text: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean (B, D) of the tokens (B, T, D) whose mask (B, T) is 1."""
    return np.einsum("bt,btd->bd", mask, text) / np.maximum(mask.sum(axis=1, keepdims=True), 1.0)


def _in_box(points_m: np.ndarray, R: np.ndarray, t: np.ndarray, size_m: np.ndarray) -> np.ndarray:
    """Points (B, N, 3) in the box's axes and half-sizes: its faces are at -1 and 1."""
    return (points_m - t[:, None]).astype(np.float32) @ (R * (2.0 / size_m)[:, None])


def _projections(points: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """(B, 6 CELLS^2): how many of the points each cell of three grids holds, and how bright they are."""
    b, n = points.shape[:2]
    cell = np.clip((points + REACH) * (CELLS / (2 * REACH)), 0, CELLS - 1).astype(np.int32)
    columns = np.ascontiguousarray(cell.transpose(2, 0, 1))  # (3, B, N)
    grids = np.arange(3 * b, dtype=np.int32).reshape(3, b, 1) * CELLS**2  # where those of each view and cloud begin
    index = (columns[_ACROSS] * CELLS + columns[_DOWN] + grids).ravel()
    total = 3 * b * CELLS**2
    share = np.bincount(index, minlength=total) / n
    light = np.bincount(index, np.tile(brightness, (3, 1)).ravel(), minlength=total) / n
    both = np.stack([np.sqrt(share), np.sign(light) * np.sqrt(np.abs(light))])  # small counts matter too
    return both.reshape(2, 3, b, CELLS**2).transpose(2, 0, 1, 3).reshape(b, 6 * CELLS**2)
