"""COCO instance annotations of a folder, as `mkpose synth` and others write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mkpose_ros.errors import InputError
from mkpose_ros.segmentation.canvas import frame_without_depth
from mkpose_ros.types import CameraIntrinsics, RgbdFrame

__all__ = ["coco_files", "depth_beside", "merged_annotations", "pictures_root", "read_picture"]

PATTERNS = ("*coco*.json", "annotations/*.json", "annotations.json", "*/annotations.json")  # the last: `mkpose synth`


def coco_files(folder: Path) -> list[Path]:
    """The COCO annotation files of a folder. Raises InputError when there are none."""
    files = sorted({file for pattern in PATTERNS for file in folder.glob(pattern)})
    if not files:
        raise InputError(f"{folder}: no COCO annotations; write some with `mkpose synth`")
    return files


def pictures_root(file: Path) -> Path:
    """The folder that the names in an annotation file start from."""
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def depth_beside(picture: Path) -> tuple[np.ndarray, CameraIntrinsics] | None:
    """The depth (H, W) float32, metres, and the camera of `X_color.png`, where `X_depth.png` and `X_intrinsics.json`
    lie beside it, as in the folders of `mkpose synth`. Raises InputError when they can't be read."""
    stem, _, rest = picture.name.rpartition("_color.")
    depth_file, camera_file = picture.with_name(f"{stem}_depth.png"), picture.with_name(f"{stem}_intrinsics.json")
    if not rest or not depth_file.exists() or not camera_file.exists():
        return None
    depth_mm = cv2.imread(str(depth_file), cv2.IMREAD_UNCHANGED)
    try:
        camera = CameraIntrinsics(**json.loads(camera_file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{camera_file}: {error!r}; expected fx, fy, cx, cy, width and height") from error
    if depth_mm is None or depth_mm.dtype != np.uint16 or depth_mm.shape != (camera.height, camera.width):
        raise InputError(f"{depth_file}: expected 16-bit millimetres, {camera.width}x{camera.height} pixels")
    return depth_mm.astype(np.float32) * np.float32(1e-3), camera


def read_picture(file: Path) -> RgbdFrame:
    """A picture with the depth beside it, if there is some. Raises InputError."""
    bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"{file}: missing or damaged")
    rgb, measured = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), depth_beside(file)
    return frame_without_depth(rgb) if measured is None else RgbdFrame(rgb, *measured)


def merged_annotations(folder: Path, limit: int | None = None) -> tuple[dict[str, Any], dict[int, Path]]:
    """All annotation files of a folder as one, with new image and annotation ids, and where each image's file is."""
    images, annotations, categories, files = [], [], None, {}
    for file in coco_files(folder):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            categories = categories or content["categories"]
            renamed = {}
            for entry in content["images"][: None if limit is None else limit - len(images)]:
                renamed[entry["id"]] = len(images) + 1
                images.append({**entry, "id": len(images) + 1})
                files[len(images)] = pictures_root(file) / entry["file_name"]
            for entry in content["annotations"]:
                if entry["image_id"] in renamed:
                    image_id = renamed[entry["image_id"]]
                    annotations.append({**entry, "id": len(annotations) + 1, "image_id": image_id})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: {error!r}; expected COCO instance annotations") from error
    if not images:
        raise InputError(f"{folder}: its COCO annotations name no picture")
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}, files
