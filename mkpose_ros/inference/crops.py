"""From an RGB-D frame and its masks to the network's input: one square crop and N points for each instance.

Training, evaluation and the node all use this function, so that the network is trained on what it will see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mkpose_ros.array_pool import Empty
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.camera import deproject
from mkpose_ros.types import Instance, RgbdFrame

__all__ = ["MIN_VALID_PIXELS", "CropBatch", "crop_window", "make_crops"]

MIN_VALID_PIXELS = 16  # an instance with this many pixels of depth or fewer is dropped, as in AG-Pose
WINDOW_STEPS = 12  # window sides come in twelfths of the image's short side: 40 px at 480, as in AG-Pose
GAP_SHARE = 0.5  # of the instance's own width: a wider hole in its depths separates it from the background
SPARSE_SHARE = 0.03  # of the instance's pixels: fewer than this within one gap is a hole, smeared or not
GATE_SAMPLES = 4096  # depths looked at to find the holes; more change nothing but the time


@dataclass(frozen=True)
class CropBatch:
    """The kept instances of one frame, ready for the network; B may be 0."""

    image: np.ndarray  # (B, S, S, 3) uint8, R G B
    points_m: np.ndarray  # (B, N, 3) float32, camera axes, the centroid subtracted
    centroid_m: np.ndarray  # (B, 3) float32, camera frame
    pixels: np.ndarray  # (B, N, 2) float32, x and y in the crop, [-1, 1], pixel edges at +-1 (align_corners=False)
    kept: np.ndarray  # (B,) int64, indices into the instances given; the others have too little depth


def make_crops(
    frame: RgbdFrame,
    instances: Sequence[Instance],
    *,
    crop_px: int,
    n_points: int,
    rng: np.random.Generator,
    empty: Empty = np.empty,
) -> CropBatch:
    """Crop each instance to (crop_px, crop_px) and draw n_points of its measured surface points.

    Points are drawn without replacement; an instance with fewer gives each of its points at least once.
    Instances with MIN_VALID_PIXELS valid pixels or fewer are left out (see CropBatch.kept). The result depends on
    the arguments and on the state of ``rng`` alone; ``empty`` makes the array of the crops. Raises InputError for a
    mask that is not of the frame's size.

    >>> from mkpose_ros.types import CameraIntrinsics
    >>> frame = RgbdFrame(np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32),
    ...                   CameraIntrinsics(60, 60, 32, 24, 64, 48))
    >>> mask = np.zeros((48, 64), bool)
    >>> mask[10:20, 30:44] = True
    >>> instance = Instance(mask, np.float32([30, 10, 44, 20]), "mug", 1.0)
    >>> make_crops(frame, [instance], crop_px=32, n_points=64, rng=np.random.default_rng(0)).points_m.shape
    (1, 64, 3)
    """
    kept, boxes, drawn = [], [], []
    for index, instance in enumerate(instances):
        if instance.mask.shape != frame.depth_m.shape:
            raise InputError(
                f"instance {index} ({instance.category}): its mask is {instance.mask.shape}, the frame is "
                f"{frame.depth_m.shape}; expected masks of the whole image"
            )
        box = _mask_box(instance)
        surface = _surface_pixels(frame, instance.mask, box)
        if len(surface) <= MIN_VALID_PIXELS:
            continue
        kept.append(index)
        boxes.append(box)
        drawn.append(surface[_draw(len(surface), n_points, rng)])
    if not kept:
        return _empty_batch(crop_px, n_points)
    windows = [crop_window(box, frame.depth_m.shape) for box in boxes]
    x0, y0, x1, _ = np.array(boxes).T[..., None]  # (B, 1) pixels
    v, u = np.divmod(np.array(drawn), x1 - x0)  # (B, N)
    u, v = u + x0, v + y0
    points_m = deproject(u, v, frame.depth_m[v, u], frame.intrinsics)
    centroid_m = points_m.mean(axis=1)
    left, top, side = np.array(windows).T[..., None]  # (B, 1) pixels
    scale, offset = (2.0 / side).astype(np.float32), (1.0 / side - 1.0).astype(np.float32)
    pixels = np.stack([(u - left) * scale + offset, (v - top) * scale + offset], axis=-1)
    return CropBatch(
        image=_crop_images(frame.rgb, windows, empty((len(windows), crop_px, crop_px, 3), np.uint8)),
        points_m=points_m - centroid_m[:, None],
        centroid_m=centroid_m,
        pixels=pixels.astype(np.float32),
        kept=np.array(kept),
    )


def crop_window(box: tuple[int, int, int, int], image_shape: tuple[int, int]) -> tuple[int, int, int]:
    """The square (x0, y0, side) in pixels around a box (x0, y0, x1, y1) in an image of (height, width).

    The side is the box's longer side rounded up to the next step (a twelfth of the image's short side), at least one
    pixel more than the box. The window is centred on the box and moved inside the image along each direction in
    which it fits; in the other it stands out equally on both sides.
    """
    height, width = image_shape
    step = max(min(height, width) // WINDOW_STEPS, 1)
    side = (max(box[2] - box[0], box[3] - box[1]) // step + 1) * step
    return (*(_place(low, high, side, size) for low, high, size in _spans(box, width, height)), side)


def _spans(box: tuple[int, int, int, int], width: int, height: int) -> tuple[tuple[int, int, int], ...]:
    return (box[0], box[2], width), (box[1], box[3], height)


def _place(low: int, high: int, side: int, size: int) -> int:
    if side >= size:
        return (size - side) // 2
    return min(max((low + high - side) // 2, 0), size - side)


def _mask_box(instance: Instance) -> tuple[int, int, int, int]:
    """The tight box of a mask, sought inside the instance's box2d where that has an area."""
    height, width = instance.mask.shape
    x0, y0, x1, y1 = np.asarray(instance.box2d, dtype=np.float64).tolist()
    left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
    right, bottom = min(math.ceil(x1), width), min(math.ceil(y1), height)
    if right <= left or bottom <= top:
        left, top, right, bottom = 0, 0, width, height
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(instance.mask[top:bottom, left:right]).view(np.uint8))
    return left + x, top + y, left + x + width, top + y + height


def _surface_pixels(frame: RgbdFrame, mask: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The pixels (n,) int64 in the mask whose depth belongs to the object, numbered row by row inside the box."""
    x0, y0, x1, y1 = box
    depth_m = np.where(mask[y0:y1, x0:x1], frame.depth_m[y0:y1, x0:x1], np.float32(0.0)).reshape(-1)
    flat = np.flatnonzero((depth_m > 0.0) & (depth_m < np.inf))
    if len(flat) <= MIN_VALID_PIXELS:
        return flat
    z, width = depth_m[flat], max(x1 - x0, y1 - y0) / frame.intrinsics.fx  # of the object at 1 m, in metres
    if z.max() - z.min() <= GAP_SHARE * width * z.min():
        return flat  # too thin for a hole
    near, far = _depth_limits(z, width)
    return np.flatnonzero((depth_m >= max(near, np.finfo(np.float32).tiny)) & (depth_m <= far))


def _depth_limits(z: np.ndarray, width: float) -> tuple[float, float]:
    """The nearest and farthest depth in metres of the object that holds the median of depths z (n,), width x z wide.

    A mask that spills over an edge takes in background: depths behind a hole that is wide compared with the
    object, crossed by nothing but a few smeared pixels. Walking from the median outwards, the object ends where less
    than SPARSE_SHARE of the pixels fill GAP_SHARE of its width. A fixed multiple of the spread would cut the
    base off a laptop whose screen faces the camera.
    """
    z = np.sort(z[:: len(z) // GATE_SAMPLES + 1])
    middle = len(z) // 2
    gap = GAP_SHARE * width * z[middle]
    step = int(SPARSE_SHARE * len(z)) + 1
    edge = np.full(step, np.inf, z.dtype)
    thin_behind = np.concatenate([z[step:], edge]) - z > gap  # (n,), true at the last
    thin_before = z - np.concatenate([-edge, z[:-step]]) > gap  # (n,), true at the first
    last = middle + np.argmax(thin_behind[middle:])
    first = middle - np.argmax(thin_before[middle::-1])
    return z[first] - gap, z[last] + gap


def _draw(n_available: int, n_wanted: int, rng: np.random.Generator) -> np.ndarray:
    if n_available >= n_wanted:
        return rng.choice(n_available, n_wanted, replace=False)
    extra = rng.integers(n_available, size=n_wanted - n_available)
    return np.concatenate([rng.permutation(n_available), extra])


def _crop_images(rgb: np.ndarray, windows: Sequence[tuple[int, int, int]], images: np.ndarray) -> np.ndarray:
    """Fill and return images (B, S, S, 3) with what the windows (x0, y0, side) show, black outside of the picture."""
    height, width = rgb.shape[:2]
    for image, (x0, y0, side) in zip(images, windows, strict=True):
        inside = rgb[max(y0, 0) : y0 + side, max(x0, 0) : x0 + side]
        top, left = max(-y0, 0), max(-x0, 0)
        bottom, right = max(y0 + side - height, 0), max(x0 + side - width, 0)
        if top or left or bottom or right:
            inside = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        cv2.resize(inside, images.shape[1:3], image, interpolation=cv2.INTER_LINEAR)
    return images


def _empty_batch(crop_px: int, n_points: int) -> CropBatch:
    return CropBatch(
        image=np.zeros((0, crop_px, crop_px, 3), np.uint8),
        points_m=np.zeros((0, n_points, 3), np.float32),
        centroid_m=np.zeros((0, 3), np.float32),
        pixels=np.zeros((0, n_points, 2), np.float32),
        kept=np.zeros(0, np.int64),
    )
