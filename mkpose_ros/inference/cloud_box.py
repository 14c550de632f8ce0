"""The box of an object that is known by its cloud alone: for categories that the network was not trained on.

Of such an object the network's size and centre are guesses, but its box can be seen: most things lie close to the
faces of the box they fill. `tight_axes` looks for that box; what the camera can't see of it, a perceptron completes
that was fitted to the categories trained on and is told of none. The category's typical size, where it has one, and
the network's rotation then say which axis is x, y and z.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mkpose_ros.geometry.rotations import rotations_of
from mkpose_ros.geometry.symmetry import AXES, finite_rotations
from mkpose_ros.inference.perceptron import Perceptron
from mkpose_ros.inference.refinement import BoxPose
from mkpose_ros.types import Symmetry

__all__ = [
    "LARGEST",
    "OUTPUTS",
    "CloudBoxes",
    "CloudFrame",
    "cloud_frame",
    "completed",
    "completion_features",
    "named_box",
    "tight_axes",
]

OUTPUTS = 6  # shift in half-sizes and log growth along the three axes
LARGEST = 1.5  # of an output
_TAIL = 0.02  # of the points may lie beyond either face while axes are sought, 0.01 where they are measured
_VOLUME_WEIGHT = 0.15  # of the box's mean side beside the mean distance from its faces
_SIZE_WEIGHT = 4.0  # of the squared log ratios to the typical sides, beside the trace that compares rotations
_LEAST_SIDE_M = 0.008
_SOUGHT_POINTS = 128  # enough to tell axes by
_QUANTILES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)
_CELLS = 6
_VIEWS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # the planes of the grids, and the axis across each
_CUBE = finite_rotations(Symmetry(orders=(4, 4, 4)))  # the 24 ways to name a box's axes


def _turns(rng: np.random.Generator, count: int, most_rad: float) -> np.ndarray:
    """Rotations (count, 3, 3) by up to an angle, spread about evenly."""
    direction = rng.normal(size=(count, 3))
    radius = most_rad * np.cbrt(rng.random((count, 1)))
    return rotations_of(direction / np.linalg.norm(direction, axis=1, keepdims=True) * radius).astype(np.float32)


_RNG = np.random.default_rng(0)
# Two boxes' axes are never further apart than 63 degrees; then closer and closer to the best so far.
_SEARCH = (_turns(_RNG, 400, 1.1), *(_turns(_RNG, 60, most_rad) for most_rad in (0.4, 0.18, 0.08)))


def tight_axes(points_m: np.ndarray) -> np.ndarray:
    """The axes (3, 3), columns, of the box to whose faces points (N, 3) lie closest, the smaller box preferred.

    0.8 ms. The same points give the same axes.
    """
    points = points_m[:: max(1, len(points_m) // _SOUGHT_POINTS)].astype(np.float32)
    best = np.eye(3, dtype=np.float32)
    for turns in _SEARCH:
        candidates = np.concatenate([best[None], best @ turns])
        best = candidates[np.argmin(_looseness(points, candidates))]
    return best.astype(np.float64)


def _looseness(points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(K,) how far points (N, 3) lie inside boxes with axes (K, 3, 3), metres."""
    local = np.einsum("ni,kij->kjn", points, axes, optimize=True)
    tail = round(_TAIL * (len(points) - 1))
    ordered = np.sort(local, axis=2)
    low, high = ordered[:, :, tail, None], ordered[:, :, -1 - tail, None]
    inside = np.minimum(np.abs(local - low), np.abs(high - local)).min(axis=1).mean(axis=1)
    return inside + _VOLUME_WEIGHT * np.cbrt(np.prod(np.maximum(high - low, 0.005), axis=1)[:, 0])


class CloudFrame(NamedTuple):
    """The tight boxes of B clouds, seen from the camera."""

    axes: np.ndarray  # (B, 3, 3) columns that lead away from the camera, most along the view first; some are mirrored
    centre_m: np.ndarray  # (B, 3) along these axes
    sides_m: np.ndarray  # (B, 3)
    points: np.ndarray  # (B, N, 3) in half-sides from the centre
    view: np.ndarray  # (B, 3) the direction from the camera, along these axes
    distance_m: np.ndarray  # (B, 1) from the camera


def cloud_frame(points_m: np.ndarray, centroid_m: np.ndarray) -> CloudFrame:
    """The tight boxes of points (B, N, 3) relative to centroids (B, 3) in the camera's frame."""
    axes = np.array([tight_axes(cloud) for cloud in points_m]).reshape(-1, 3, 3)
    distance_m = np.linalg.norm(centroid_m, axis=1, keepdims=True)
    view = np.einsum("bi,bij->bj", centroid_m / distance_m, axes)
    order = np.argsort(-np.abs(view), axis=1)
    axes = np.take_along_axis(axes * np.where(view < 0.0, -1.0, 1.0)[:, None], order[:, None], axis=2)
    view = np.take_along_axis(np.abs(view), order, axis=1)
    local_m = points_m @ axes
    ordered = np.sort(local_m, axis=1)
    tail = round(0.5 * _TAIL * (points_m.shape[1] - 1))
    low_m, high_m = ordered[:, tail], ordered[:, -1 - tail]
    centre_m, sides_m = 0.5 * (low_m + high_m), np.maximum(high_m - low_m, _LEAST_SIDE_M)
    points = (local_m - centre_m[:, None]) * (2.0 / sides_m)[:, None]
    return CloudFrame(axes, centre_m, sides_m, points, view, distance_m)


def completion_features(frame: CloudFrame) -> np.ndarray:
    """(B, F) float32 of how the points lie in their tight box, and how it is looked at."""
    b, n = frame.points.shape[:2]
    ranks = np.rint(np.array(_QUANTILES) * (n - 1)).astype(int)
    diagonal_m = np.linalg.norm(frame.sides_m, axis=1, keepdims=True)
    parts = [
        np.sort(frame.points, axis=1)[:, ranks].reshape(b, 3 * len(ranks)),
        frame.view,
        frame.view**2,
        np.log(frame.sides_m / diagonal_m),
        np.log(diagonal_m / 0.2),
        frame.distance_m,
        *_grids(frame.points),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _grids(points: np.ndarray) -> list[np.ndarray]:
    """Along each axis, how many of the points lie in each cell across it (a root: few count too), and how far along."""
    (b, n), cells = points.shape[:2], _CELLS**2
    cell = np.clip((points + 1.0) * (_CELLS / 2), 0, _CELLS - 1).astype(int)
    first, total = (np.arange(b) * cells)[:, None], b * cells
    grids = []
    for u, v, along in _VIEWS:
        index = (first + cell[..., u] * _CELLS + cell[..., v]).ravel()
        share = np.bincount(index, minlength=total) / n
        level = np.bincount(index, points[..., along].ravel(), minlength=total) / n
        level = (level / np.maximum(share, 1e-9)).clip(-2.0, 2.0)
        grids += [np.sqrt(share).reshape(b, cells), level.reshape(b, cells)]
    return grids


def completed(frame: CloudFrame, outputs: np.ndarray) -> BoxPose:
    """The boxes after shifts and growths (B, 6), their axes made right-handed and not yet named."""
    shift, growth = np.split(np.clip(outputs, -LARGEST, LARGEST), 2, axis=1)
    centre_m = frame.centre_m + 0.5 * shift * frame.sides_m
    axes = frame.axes.copy()
    axes[:, :, 2] *= np.sign(np.linalg.det(axes))[:, None]
    return BoxPose(axes, np.einsum("bij,bj->bi", frame.axes, centre_m), frame.sides_m * np.exp(growth))


def named_box(
    box: BoxPose, rotation: np.ndarray, symmetries: Sequence[Symmetry], typical_m: Sequence[Sequence[float] | None]
) -> BoxPose:
    """The same boxes with x, y and z so that the sides are most like the category's typical ones, where it has any, and
    the axes like those of rotations (B, 3, 3); sides about a continuous axis become equal."""
    likeness = np.einsum("bij,bik,gkj->bg", rotation, box.rotation, _CUBE)  # traces of rotation^T R g
    sides_m = np.einsum("gij,bi->bgj", np.abs(_CUBE), box.size_m)
    for row, sides, typical in zip(likeness, sides_m, typical_m, strict=True):
        if typical is not None:
            row -= _SIZE_WEIGHT * (np.log(sides / np.asarray(typical)) ** 2).sum(axis=1)
    best = np.argmax(likeness, axis=1)
    size_m = sides_m[np.arange(len(best)), best]
    for row, symmetry in zip(size_m, symmetries, strict=True):
        if len(symmetry.infinite_axes) == 1:
            across = AXES[symmetry.infinite_axes[0]] == 0.0
            row[across] = row[across].mean()
    return BoxPose(box.rotation @ _CUBE[best], box.translation_m, size_m)


@dataclass(frozen=True)
class CloudBoxes:
    """Boxes from clouds, completed by a perceptron from `completion_features`."""

    completion: Perceptron

    def __call__(
        self,
        points_m: np.ndarray,
        centroid_m: np.ndarray,
        rotation: np.ndarray,
        symmetries: Sequence[Symmetry],
        typical_m: Sequence[Sequence[float] | None],
    ) -> BoxPose:
        """Of points (B, N, 3) relative to centroids (B, 3) in the camera's frame; the rest is for `named_box`."""
        frame = cloud_frame(points_m, centroid_m)
        box = completed(frame, self.completion(completion_features(frame)))
        return named_box(box, rotation, symmetries, typical_m)

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any] | None) -> CloudBoxes | None:
        """Of `to_metadata`; None of None. Raises ModelError for values that are none."""
        return None if values is None else cls(Perceptron.from_metadata(values, what="completion", outputs=OUTPUTS))

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for `from_metadata`."""
        return self.completion.to_metadata()
