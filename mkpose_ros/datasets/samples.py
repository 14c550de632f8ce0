"""From frames with ground truth to training samples: noisy masks, the node's own crops, targets.

A sample is one instance as the node would see it: the mask is spoiled the way a segmenter spoils it, then
`mkpose_ros.inference.crops.make_crops` cuts it, so that training and the robot share every pixel operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from mkpose_ros.inference.crops import make_crops
from mkpose_ros.segmentation.masks import mask_box
from mkpose_ros.types import FrameSample, Instance, ObjectTruth

__all__ = ["MASK_NOISE", "CropSamples", "SampleConfig", "concatenate", "spoil_mask", "training_samples"]


@dataclass(frozen=True)
class SampleConfig:
    """How instances become samples."""

    crop_px: int = 128
    n_points: int = 1024  # more than the network takes: training draws a fresh subset each time
    min_visible_px: int = 64  # instances with fewer true mask pixels are no training examples
    views: int = 1  # differently spoiled copies of each instance
    clean_share: float = 0.25  # of the masks stay the ground truth
    categories: tuple[str, ...] | None = None  # None: every category


@dataclass(frozen=True)
class CropSamples:
    """B training samples; every array's first dimension is B."""

    image: np.ndarray  # (B, S, S, 3) uint8 RGB
    points_m: np.ndarray  # (B, N, 3) float16 camera axes, centroid subtracted (0.2 mm steps at 0.4 m)
    pixels: np.ndarray  # (B, N, 2) float16 in [-1, 1], grid_sample's x, y without aligned corners
    centroid_m: np.ndarray  # (B, 3) float32 camera frame
    rotation: np.ndarray  # (B, 3, 3) float32, object to camera
    translation_m: np.ndarray  # (B, 3) float32, object centre minus centroid
    size_m: np.ndarray  # (B, 3) float32 full extents
    infinite: np.ndarray  # (B, 3) bool, continuous axes x, y, z, in this view
    orders: np.ndarray  # (B, 3) uint8, n-fold turns about x, y, z
    category: np.ndarray  # (B,) str
    source: np.ndarray  # (B,) str, the frame's name and the instance

    def __len__(self) -> int:
        return len(self.image)

    def take(self, index: np.ndarray | slice) -> CropSamples:
        """The samples at `index`, in that order."""
        return CropSamples(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def concatenate(parts: Sequence[CropSamples]) -> CropSamples:
    """All samples of `parts` (at least one), in order."""
    return CropSamples(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(CropSamples)})


def training_samples(sample: FrameSample, config: SampleConfig, rng: np.random.Generator) -> CropSamples | None:
    """Every usable instance of a frame as training samples; None when the frame has none."""
    truths, instances = [], []
    for truth in sample.objects:
        if config.categories is not None and truth.category not in config.categories:
            continue
        mask = sample.instance_ids == truth.instance_id
        if np.count_nonzero(mask) < config.min_visible_px:
            continue
        others = (sample.instance_ids > 0) & ~mask
        for _ in range(config.views):
            noisy = mask if rng.random() < config.clean_share else spoil_mask(mask, others, rng)
            if not noisy.any():
                continue
            truths.append(truth)
            instances.append(Instance(noisy, mask_box(noisy), truth.category, 1.0))
    if not instances:
        return None
    crops = make_crops(sample.frame, instances, crop_px=config.crop_px, n_points=config.n_points, rng=rng)
    if len(crops.kept) == 0:
        return None
    return _with_targets(sample.name, crops, [truths[i] for i in crops.kept])


def _with_targets(name: str, crops, truths: Sequence[ObjectTruth]) -> CropSamples:
    poses = np.stack([t.T_cam_obj for t in truths])
    symmetries = [t.symmetry for t in truths]
    return CropSamples(
        image=crops.image,
        points_m=crops.points_m.astype(np.float16),
        pixels=crops.pixels.astype(np.float16),
        centroid_m=crops.centroid_m.astype(np.float32),
        rotation=poses[:, :3, :3].astype(np.float32),
        translation_m=(poses[:, :3, 3] - crops.centroid_m).astype(np.float32),
        size_m=np.stack([t.size_m for t in truths]).astype(np.float32),
        infinite=np.array([[a in s.infinite_axes for a in "xyz"] for s in symmetries]),
        orders=np.array([s.orders for s in symmetries], dtype=np.uint8),
        category=np.array([t.category for t in truths]),
        source=np.array([f"{name}#{t.instance_id}:{t.model}" for t in truths]),
    )


def spoil_mask(mask: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A (H, W) bool mask as a segmenter might give it; never empty, and itself when the noise would erase it.

    `others` (H, W) bool holds the pixels of the other instances, for masks that merge neighbours.
    """
    names = list(MASK_NOISE)
    chosen = rng.choice(len(names), size=rng.integers(1, 3), replace=False, p=[0.35, 0.15, 0.2, 0.1, 0.1, 0.1])
    x0, y0, x1, y1 = mask_box(mask).astype(int)
    pad = max(8, max(x1 - x0, y1 - y0) // 4)
    top, left = max(0, y0 - pad), max(0, x0 - pad)
    window = (slice(top, y1 + pad), slice(left, x1 + pad))  # noise is local: work on the object's window only
    spoiled = mask[window]
    for index in sorted(chosen):
        candidate = MASK_NOISE[names[index]](spoiled, others[window], rng)
        if np.count_nonzero(candidate) >= max(17, 0.2 * np.count_nonzero(mask)):
            spoiled = candidate
    result = np.zeros_like(mask)
    result[window] = spoiled
    return result


def _low_resolution(mask: np.ndarray, _others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Mask R-CNN head's look: a soft 28x28 map of the box, resized and cut at 0.5."""
    x0, y0, x1, y1 = mask_box(mask).astype(int)
    soft = cv2.resize(mask[y0:y1, x0:x1].astype(np.float32), (28, 28), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(soft, (0, 0), rng.uniform(0.3, 1.2)) + rng.normal(0.0, 0.08, soft.shape).astype(np.float32)
    result = np.zeros_like(mask)
    result[y0:y1, x0:x1] = cv2.resize(soft, (x1 - x0, y1 - y0)) > rng.uniform(0.35, 0.65)
    return result


def _morphology(mask: np.ndarray, rng: np.random.Generator, operation: int) -> np.ndarray:
    reach = max(1, round(np.sqrt(np.count_nonzero(mask)) * rng.uniform(0.01, 0.07)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.morphologyEx(mask.astype(np.uint8), operation, kernel).astype(bool)


def _erode(mask: np.ndarray, _others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _morphology(mask, rng, cv2.MORPH_ERODE)


def _dilate(mask: np.ndarray, _others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Background bleeds in."""
    return _morphology(mask, rng, cv2.MORPH_DILATE)


def _partial(mask: np.ndarray, _others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random half-plane takes 5 to 45 % of the mask away."""
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    keep = along < np.quantile(along, rng.uniform(0.55, 0.95))
    result = np.zeros_like(mask)
    result[rows[keep], columns[keep]] = True
    return result


def _merge(mask: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels of neighbours within reach of a random point of the border join."""
    rows, columns = np.nonzero(mask)
    pick = rng.integers(len(rows))
    radius = np.sqrt(len(rows)) * rng.uniform(0.3, 0.9)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    near = (y - rows[pick]) ** 2 + (x - columns[pick]) ** 2 < radius**2
    return mask | (others & near)


def _holes(mask: np.ndarray, _others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    result = mask.astype(np.uint8)
    for pick in rng.integers(len(rows), size=rng.integers(1, 5)):
        radius = max(1, round(np.sqrt(len(rows)) * rng.uniform(0.03, 0.15)))
        cv2.circle(result, (int(columns[pick]), int(rows[pick])), radius, 0, -1)
    return result.astype(bool)


# name -> (mask, others, rng) -> mask; applied in this order when several are drawn
MASK_NOISE = {
    "low_resolution": _low_resolution,
    "eroded": _erode,
    "dilated": _dilate,
    "merged": _merge,
    "partial": _partial,
    "holes": _holes,
}
