"""Frames on disk in the NOCS layout, with what that layout can't hold beside it, and COCO annotations.

A frame ``<folder>/0000`` is these files, each written to a temporary name and renamed; ``_truth.json`` comes last and
holds the others' checksums, so a frame either is whole or is written again:

- ``_color.png`` 8-bit colour, ``_depth.png`` 16-bit millimetres, ``_mask.png`` instance ids (255: background),
- ``_coord.png`` NOCS map as x, y, 1 - z (the benchmark's habit) in R, G, B,
- ``_meta.txt`` lines `instance class model`, ``_label.pkl`` the pickle that pose networks train on,
- ``_intrinsics.json`` fx, fy, cx, cy in pixels, ``_truth.json`` exact poses, sizes, symmetries, visibilities, masks.

Ground-truth pickles of the benchmark's evaluator lie in ``gts/<split>/``. Pickles hold builtins and numpy arrays only.
"""

from __future__ import annotations

import json
import os
import pickle
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mkpose_ros.categories import HOUSECAT6D_CATEGORIES, NOCS_CATEGORIES
from mkpose_ros.errors import DependencyError
from mkpose_ros.synthesis.generate import GeneratedFrame
from mkpose_ros.types import FrameSample

__all__ = ["CATEGORIES", "frame_stem", "is_complete", "read_truth", "write_coco", "write_frame"]

# Class ids 1.. of our sets: the benchmark's six, then HouseCat6D's others.
CATEGORIES = (*NOCS_CATEGORIES, *(c for c in HOUSECAT6D_CATEGORIES if c not in NOCS_CATEGORIES))


def frame_stem(root: Path, sample: FrameSample) -> Path:
    """Where a frame's files go, without suffix: root/<split>/00000/0000."""
    return root / sample.name


def write_frame(root: Path, frame: GeneratedFrame, extra: Mapping[str, Any] | None = None) -> int:
    """Write one frame below ``root``; ``extra`` joins its truth. Returns the number of objects."""
    sample = frame.sample
    stem = frame_stem(root, sample)
    stem.parent.mkdir(parents=True, exist_ok=True)
    contents = _contents(sample)
    for suffix, content in contents.items():
        _replace(_file(stem, suffix), content)
    split, *scene = Path(sample.name).parts
    gts = root / "gts" / split / f"results_{'_'.join((split, *scene))}.pkl"
    gts.parent.mkdir(parents=True, exist_ok=True)
    _replace(gts, _pickled(_evaluator_truth(sample)))
    truth = {
        "name": sample.name,
        "stamp_ns": sample.frame.stamp_ns,
        "sensor": frame.sensor,
        "width": sample.frame.intrinsics.width,
        "height": sample.frame.intrinsics.height,
        "objects": _objects(frame),
        "files": {suffix: zlib.crc32(content) for suffix, content in contents.items()},
        **(extra or {}),
    }
    _replace(_file(stem, "_truth.json"), json.dumps(truth, indent=1).encode())
    return len(sample.objects)


def is_complete(stem: Path) -> bool:
    """Whether a frame's files are all there and are what was written."""
    try:
        truth = read_truth(stem)
        return all(zlib.crc32(_file(stem, suffix).read_bytes()) == crc for suffix, crc in truth["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def read_truth(stem: Path) -> dict[str, Any]:
    """The content of a frame's ``_truth.json``."""
    return json.loads(_file(stem, "_truth.json").read_text(encoding="utf-8"))


def write_coco(root: Path, split: str, stems: Sequence[Path]) -> int:
    """Write ``<root>/<split>/annotations.json`` (COCO, RLE masks) of complete frames; the number of instances."""
    images, annotations = [], []
    for image_id, stem in enumerate(stems, start=1):
        truth = read_truth(stem)
        path = _file(stem, "_color.png").relative_to(root / split).as_posix()
        images.append({"id": image_id, "file_name": path, "width": truth["width"], "height": truth["height"]})
        for entry in truth["objects"]:
            x0, y0, x1, y1 = entry["box2d"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": entry["class_id"],
                    "segmentation": entry["rle"],
                    "area": entry["pixels"],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, start=1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    _replace(root / split / "annotations.json", json.dumps(coco).encode())
    return len(annotations)


def _contents(sample: FrameSample) -> dict[str, bytes]:
    frame, ids = sample.frame, sample.instance_ids
    depth_mm = np.clip(np.round(np.nan_to_num(frame.depth_m) * 1000.0), 0, 65535).astype(np.uint16)
    mask = np.where(ids > 0, ids, 255).astype(np.uint8)
    nocs = np.zeros((*ids.shape, 3), np.float32) if sample.nocs is None else sample.nocs.copy()
    nocs[..., 2] = np.where(ids > 0, 1.0 - nocs[..., 2], 0.0)
    coord = np.round(np.clip(nocs, 0.0, 1.0) * 255.0).astype(np.uint8)
    k = frame.intrinsics
    meta = "".join(f"{o.instance_id} {CATEGORIES.index(o.category) + 1} {o.model}\n" for o in sample.objects)
    return {
        "_color.png": _png(frame.rgb[..., ::-1]),
        "_depth.png": _png(depth_mm),
        "_mask.png": _png(mask),
        "_coord.png": _png(coord[..., ::-1]),
        "_meta.txt": meta.encode(),
        "_intrinsics.json": json.dumps(asdict(k)).encode(),
        "_label.pkl": _pickled(_label(sample)),
    }


def _boxes(sample: FrameSample) -> np.ndarray:
    """(n, 4) int x0, y0, x1, y1, the far ends exclusive."""
    boxes = []
    for o in sample.objects:
        ys, xs = np.nonzero(sample.instance_ids == o.instance_id)
        boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    return np.array(boxes, dtype=np.int32).reshape(-1, 4)


def _objects(frame: GeneratedFrame) -> list[dict[str, Any]]:
    sample = frame.sample
    entries = []
    for o, box in zip(sample.objects, _boxes(sample), strict=True):
        mask = sample.instance_ids == o.instance_id
        entries.append(
            {
                "instance_id": o.instance_id,
                "class_id": CATEGORIES.index(o.category) + 1,
                "category": o.category,
                "model": o.model,
                "T_cam_obj": o.T_cam_obj.tolist(),
                "size_m": o.size_m.tolist(),
                "symmetry": {"infinite_axes": list(o.symmetry.infinite_axes), "orders": list(o.symmetry.orders)},
                "handle_visible": o.handle_visible,
                "visible_fraction": frame.visible_fraction[o.instance_id],
                "pixels": int(mask.sum()),
                "box2d": box.tolist(),
                "rle": _rle(mask),
            }
        )
    return entries


def _label(sample: FrameSample) -> dict[str, Any]:
    """What AG-Pose's and DPDN's loaders read: rotation, translation, scale (the diagonal), normalised sizes."""
    objects = sample.objects
    sizes = np.array([o.size_m for o in objects], dtype=np.float64).reshape(-1, 3)
    scales = np.linalg.norm(sizes, axis=1)
    poses = np.array([o.T_cam_obj for o in objects], dtype=np.float64).reshape(-1, 4, 4)
    normalised = (sizes / scales[:, None]).astype(np.float32)
    return {
        "class_ids": [CATEGORIES.index(o.category) + 1 for o in objects],
        "bboxes": _boxes(sample)[:, [1, 0, 3, 2]],  # y0, x0, y1, x1
        "scales": scales.astype(np.float32),
        "rotations": poses[:, :3, :3].astype(np.float32),
        "translations": poses[:, :3, 3].astype(np.float32),
        "instance_ids": [o.instance_id for o in objects],
        "model_list": [o.model for o in objects],
        "sizes": normalised,
        "size": normalised,  # under this name in test labels
        "poses": _scaled(poses, scales),
    }


def _evaluator_truth(sample: FrameSample) -> dict[str, Any]:
    """What the benchmark's evaluator reads: poses that carry the scale, normalised extents, boxes, handles."""
    label = _label(sample)
    return {
        "obj_list": label["model_list"],
        "gt_scales": label["sizes"],
        "gt_bboxes": label["bboxes"],
        "image_id": 0,
        "gt_class_ids": np.array(label["class_ids"], dtype=np.int64),
        "gt_RTs": label["poses"],
        "gt_handle_visibility": np.array([int(o.handle_visible) for o in sample.objects], dtype=np.int64),
        "image_path": sample.name,
    }


def _scaled(poses: np.ndarray, scales: np.ndarray) -> np.ndarray:
    scaled = poses.copy()
    scaled[:, :3, :3] *= scales[:, None, None]
    return scaled


def _rle(mask: np.ndarray) -> dict[str, Any]:
    try:
        from pycocotools import mask as coco_mask
    except ImportError as error:
        raise DependencyError(
            "writing annotations needs pycocotools, which is not installed; run `pip install mkpose_ros[synth]`"
        ) from error
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def _pickled(content: Mapping[str, Any]) -> bytes:
    return pickle.dumps(dict(content), protocol=2)  # Python 2 code reads it too


def _file(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _replace(path: Path, content: bytes) -> None:
    """Write atomically: a reader, or a process that is killed, never leaves or sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
