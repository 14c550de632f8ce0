"""Mask R-CNN results that were published with the benchmark, read as instances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.datasets.base import Faults
from mkpose_ros.datasets.nocs_files import DETECTION_FOLDERS, result_pickle
from mkpose_ros.datasets.pickles import load_pickle
from mkpose_ros.errors import InputError
from mkpose_ros.types import Instance

__all__ = ["read_detections"]


def read_detections(stem: Path, kind: str, shape: tuple[int, int], faults: Faults) -> tuple[Instance, ...]:
    """The published detections of a frame, in the file's order; none where no file is; damaged ones are noted."""
    path = result_pickle(stem, kind, DETECTION_FOLDERS)
    if path is None:
        return ()
    try:
        result = load_pickle(path)
        masks = np.asarray(result["pred_masks"])
        boxes, scores = (np.asarray(result[f"pred_{n}"], dtype=np.float64) for n in ("bboxes", "scores"))
        classes = np.asarray(result["pred_class_ids"]).astype(np.int64, casting="same_kind")
        n = len(classes)
        if masks.shape != (*shape, n) or boxes.reshape(-1, 4).shape != (n, 4) or scores.shape != (n,):
            raise InputError(
                f"{path}: masks {masks.shape}, boxes {boxes.shape}, classes {classes.shape}, scores {scores.shape}; "
                f"expected ({shape[0]}, {shape[1]}, n), (n, 4), (n,), (n,)"
            )
    except InputError as error:
        faults.note(path, str(error))
        return ()
    except (KeyError, TypeError, ValueError) as error:
        faults.note(path, f"{error!r}; expected pred_masks, pred_bboxes, pred_class_ids and pred_scores")
        return ()
    detections = []
    for index, (y0, x0, y1, x1) in enumerate(boxes.reshape(-1, 4).tolist()):
        mask = masks[:, :, index] > 0
        problem = _problem(int(classes[index]), float(scores[index]), (x1 - x0, y1 - y0), mask)
        if problem:
            faults.note(path, f"detection {index}: {problem}; skipped")
            continue
        detections.append(
            Instance(
                mask=mask,
                box2d=np.array([x0, y0, x1, y1], dtype=np.float32),
                category=NOCS_CATEGORIES[int(classes[index]) - 1],
                score=float(scores[index]),
            )
        )
    return tuple(detections)


def _problem(class_id: int, score: float, sides_px: tuple[float, float], mask: np.ndarray) -> str:
    """Why a detection can't be used; empty where it can."""
    if not 1 <= class_id <= len(NOCS_CATEGORIES) or not np.isfinite(score):
        return f"class {class_id}, score {score}"
    if not min(sides_px) > 0.0 or not np.isfinite(sides_px).all():
        return f"box of {sides_px[0]:g} x {sides_px[1]:g} pixels, no area"
    return "" if mask.any() else "an empty mask"
