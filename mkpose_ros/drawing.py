"""Pictures of poses: boxes, axes, labels and masks drawn on a colour image with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import cv2
import numpy as np

from mkpose_ros.geometry.boxes import BOX_EDGES, BOX_FACES, box_corners
from mkpose_ros.types import CameraIntrinsics, Instance, ObjectPose, ObjectTruth

__all__ = ["category_color", "draw_instances", "draw_poses", "draw_text", "tile_images"]

NEAR_M = 0.01  # edges are cut at this depth, so that a box around the camera draws what is in front of it
AXIS_COLORS = ((232, 72, 72), (92, 200, 84), (74, 128, 245))  # x red, y green, z blue
FONT, FONT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
SHIFT_BITS = 4  # OpenCV's fixed-point coordinates: a sixteenth of a pixel

_CATEGORY_COLORS = {
    "bottle": (64, 164, 255), "bowl": (255, 178, 56), "camera": (206, 120, 255), "can": (72, 214, 148),
    "laptop": (255, 112, 112), "mug": (250, 222, 72), "box": (196, 152, 108), "cup": (90, 218, 226),
    "remote": (170, 190, 210), "teapot": (255, 140, 196), "cutlery": (180, 220, 100), "glass": (150, 200, 255),
    "shoe": (226, 130, 80), "tube": (140, 140, 255),
}  # fmt: skip


def category_color(category: str) -> tuple[int, int, int]:
    """The colour (R, G, B) of a category, the same in every picture; unknown names get a steady one too."""
    if category in _CATEGORY_COLORS:
        return _CATEGORY_COLORS[category]
    hue = np.uint8([[[crc32(category.encode()) % 180, 150, 240]]])
    return tuple(int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])


def draw_poses(
    rgb: np.ndarray,
    poses: Sequence[ObjectPose | ObjectTruth],
    intrinsics: CameraIntrinsics,
    *,
    axes: bool = True,
    labels: bool = True,
    fill: bool = True,
    color: tuple[int, int, int] | None = None,
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8 R G B with an oriented box, axes and a label for each object.

    Far objects are drawn first. Faces that look at the camera are tinted (fill), hidden edges are thin. The axes
    x, y, z are red, green, blue; about a continuous symmetry axis only that axis is drawn, for the others mean
    nothing. color overrides the colour of the category.
    """
    image = np.ascontiguousarray(rgb).copy()
    scale = max(image.shape[0] / 480.0, 0.75)
    drawable = [pose for pose in poses if _is_drawable(pose)]
    for pose in sorted(drawable, key=lambda p: -p.T_cam_obj[2, 3]):
        tone = color or category_color(pose.category)
        _draw_box(image, pose, intrinsics, tone, scale, fill)
        if axes:
            _draw_axes(image, pose, intrinsics, scale)
    if labels:
        _draw_labels(image, drawable, intrinsics, color, scale)
    return image


def draw_instances(rgb: np.ndarray, instances: Sequence[Instance], *, opacity: float = 0.45) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8 R G B with each instance's mask tinted, outlined and named."""
    image = np.ascontiguousarray(rgb).copy()
    scale = max(image.shape[0] / 480.0, 0.75)
    for instance in instances:
        tone = category_color(instance.category)
        mask = np.asarray(instance.mask, dtype=bool)
        image[mask] = (image[mask] * (1.0 - opacity) + np.array(tone) * opacity).astype(np.uint8)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(image, contours, -1, tone, max(1, round(scale)), cv2.LINE_AA)
        x0, y0 = (float(v) for v in instance.box2d[:2])
        draw_text(image, f"{instance.category} {instance.score:.2f}", (x0, y0), tone, scale)
    return image


def draw_text(
    image: np.ndarray, text: str, corner_px: tuple[float, float], color: tuple[int, int, int], scale: float = 1.0
) -> None:
    """Write text in place on a plate of the colour whose lower left is at corner_px, shifted inside the image."""
    _draw_plate(image, text, _plate(image, text, corner_px, scale), color, scale)


def tile_images(images: Sequence[np.ndarray], columns: int, *, gap_px: int = 6) -> np.ndarray:
    """One sheet (H, W, 3) uint8 of equally large images, row by row, on a dark ground; no images: one dark pixel."""
    if not images:
        return np.zeros((1, 1, 3), np.uint8)
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap_px) + gap_px, columns * (width + gap_px) + gap_px, 3), 24, np.uint8)
    for index, image in enumerate(images):
        top = gap_px + (index // columns) * (height + gap_px)
        left = gap_px + (index % columns) * (width + gap_px)
        tile = image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height))
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _is_drawable(pose: ObjectPose | ObjectTruth) -> bool:
    return bool(np.isfinite(pose.T_cam_obj).all() and np.isfinite(pose.size_m).all() and pose.T_cam_obj[2, 3] > NEAR_M)


def _draw_box(
    image: np.ndarray,
    pose: ObjectPose | ObjectTruth,
    intrinsics: CameraIntrinsics,
    color: tuple[int, int, int],
    scale: float,
    fill: bool,
) -> None:
    corners = box_corners(pose.T_cam_obj, pose.size_m)  # (8, 3) camera frame
    seen = [face for face in BOX_FACES if _faces_camera(corners[list(face)], corners.mean(axis=0))]
    if fill and corners[:, 2].min() > NEAR_M:
        _tint_polygons(image, [_pixels(corners[list(face)], intrinsics) for face in seen], color)
    seen_edges = {frozenset(pair) for face in seen for pair in zip(face, (*face[1:], face[0]), strict=True)}
    dim = tuple(int(0.6 * v) for v in color)
    for edge in sorted(BOX_EDGES, key=lambda e: frozenset(e) in seen_edges):
        front = frozenset(edge) in seen_edges
        tone, width = (color, max(1, round(1.6 * scale))) if front else (dim, 1)
        _segment(image, corners[edge[0]], corners[edge[1]], intrinsics, tone, width)


def _faces_camera(face_m: np.ndarray, centre_m: np.ndarray) -> bool:
    normal = face_m.mean(axis=0) - centre_m
    return bool(normal @ face_m.mean(axis=0) < 0.0)


def _draw_axes(image: np.ndarray, pose: ObjectPose | ObjectTruth, intrinsics: CameraIntrinsics, scale: float) -> None:
    origin, rotation = pose.T_cam_obj[:3, 3], pose.T_cam_obj[:3, :3]
    length_m = 0.6 * float(np.max(pose.size_m))
    shown = [i for i, name in enumerate("xyz") if name in pose.symmetry.infinite_axes] or [0, 1, 2]
    for index in sorted(shown, key=lambda i: -rotation[2, i]):  # the axis that comes nearest is drawn last
        tip = origin + rotation[:, index] * length_m
        _segment(image, origin, tip, intrinsics, (16, 16, 16), max(3, round(3.4 * scale)))
        _segment(image, origin, tip, intrinsics, AXIS_COLORS[index], max(2, round(2 * scale)))


def _draw_labels(
    image: np.ndarray,
    poses: Sequence[ObjectPose | ObjectTruth],
    intrinsics: CameraIntrinsics,
    color: tuple[int, int, int] | None,
    scale: float,
) -> None:
    """Name, score and size above each box, moved up or down where another label is; the nearest objects go first."""
    placed: list[np.ndarray] = []
    for pose in sorted(poses, key=lambda p: p.T_cam_obj[2, 3]):
        corners = box_corners(pose.T_cam_obj, pose.size_m)
        if corners[:, 2].min() <= NEAR_M:
            continue
        pixels = _pixels(corners, intrinsics) / 2**SHIFT_BITS
        text, left, top = _label_text(pose), pixels[:, 0].min(), pixels[:, 1].min() - 2
        step = 18.0 * scale
        candidates = [_plate(image, text, (left, top + step * k), scale) for k in (0, -1, 1, -2, 2, -3, 3)]
        free = [plate for plate in candidates if not any(_overlap(plate, other) for other in placed)]
        placed.append(free[0] if free else candidates[0])
        _draw_plate(image, text, placed[-1], color or category_color(pose.category), scale)


def _label_text(pose: ObjectPose | ObjectTruth) -> str:
    name = getattr(pose, "track_id", "") or pose.category
    score = f" {pose.score:.2f}" if isinstance(pose, ObjectPose) else ""
    return f"{name}{score} {'x'.join(f'{100.0 * v:.0f}' for v in pose.size_m)} cm"


def _plate(image: np.ndarray, text: str, corner_px: tuple[float, float], scale: float) -> np.ndarray:
    """x0, y0, x1, y1 of a text's plate, its lower left at corner_px unless that would leave the image."""
    (width, height), baseline = cv2.getTextSize(text, FONT, FONT_SIZE * scale, 1)
    width, height = width + 2 * round(3 * scale), height + baseline + round(3 * scale)
    x = int(np.clip(corner_px[0], 0, max(image.shape[1] - width, 0)))
    y = int(np.clip(corner_px[1], height, max(image.shape[0] - 1, height)))
    return np.array([x, y - height, x + width, y])


def _draw_plate(image: np.ndarray, text: str, plate: np.ndarray, color: tuple[int, int, int], scale: float) -> None:
    x0, y0, x1, y1 = (int(v) for v in plate)
    cv2.rectangle(image, (x0, y0), (x1, y1), color, -1)
    luminance = 0.3 * color[0] + 0.6 * color[1] + 0.1 * color[2]
    ink = (20, 20, 24) if luminance > 110 else (250, 250, 250)
    baseline = cv2.getTextSize(text, FONT, FONT_SIZE * scale, 1)[1]
    origin = (x0 + round(3 * scale), y1 - baseline)
    cv2.putText(image, text, origin, FONT, FONT_SIZE * scale, ink, max(1, round(scale)), cv2.LINE_AA)


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a[:2] < b[2:]).all() and (b[:2] < a[2:]).all())


def _tint_polygons(image: np.ndarray, polygons: list[np.ndarray], color: tuple[int, int, int]) -> None:
    """Blend the colour over convex polygons, touching only the part of the image they cover."""
    if not polygons:
        return
    points = np.concatenate(polygons) >> SHIFT_BITS
    x0, y0 = np.maximum(points.min(axis=0), 0)
    x1, y1 = np.minimum(points.max(axis=0) + 2, (image.shape[1], image.shape[0]))
    if x1 <= x0 or y1 <= y0:
        return
    window = image[y0:y1, x0:x1]
    layer = window.copy()
    for polygon in polygons:
        cv2.fillConvexPoly(layer, polygon - (np.array([x0, y0]) << SHIFT_BITS), color, cv2.LINE_AA, SHIFT_BITS)
    cv2.addWeighted(layer, 0.16, window, 0.84, 0.0, dst=window)


def _segment(
    image: np.ndarray,
    start_m: np.ndarray,
    end_m: np.ndarray,
    intrinsics: CameraIntrinsics,
    color: tuple[int, int, int],
    width: int,
) -> None:
    """Draw a line between two points of the camera frame, cut at the near plane."""
    if max(start_m[2], end_m[2]) <= NEAR_M:
        return
    if start_m[2] < NEAR_M:
        start_m, end_m = end_m, start_m
    if end_m[2] < NEAR_M:
        end_m = start_m + (end_m - start_m) * (start_m[2] - NEAR_M) / (start_m[2] - end_m[2])
    a, b = _pixels(np.stack([start_m, end_m]), intrinsics)
    cv2.line(image, tuple(map(int, a)), tuple(map(int, b)), color, width, cv2.LINE_AA, SHIFT_BITS)


def _pixels(points_m: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """Fixed-point pixels (..., 2) int32 of points in front of the camera, kept within OpenCV's range."""
    k = intrinsics
    u = k.fx * points_m[..., 0] / points_m[..., 2] + k.cx
    v = k.fy * points_m[..., 1] / points_m[..., 2] + k.cy
    limit = 30_000.0
    pixels = np.clip(np.stack([u, v], axis=-1), -limit, limit)
    return np.rint(pixels * 2**SHIFT_BITS).astype(np.int32)
