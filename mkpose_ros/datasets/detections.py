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
        boxes, classes, scores = (np.asarray(result[f"pred_{n}"]) for n in ("bboxes", "class_ids", "scores"))
        if (
            masks.ndim != 3
            or masks.shape[:2] != shape
            or not masks.shape[2] == len(boxes) == len(classes) == len(scores)
        ):
            raise InputError(
                f"{path}: masks {masks.shape}, {len(boxes)} boxes, {len(classes)} classes, {len(scores)} scores; "
                f"expected masks ({shape[0]}, {shape[1]}, n) and n of each"
            )
    except InputError as error:
        faults.note(path, str(error))
        return ()
    except (KeyError, TypeError) as error:
        faults.note(path, f"{error!r}; expected pred_masks, pred_bboxes, pred_class_ids and pred_scores")
        return ()
    detections = []
    for index, class_id in enumerate(classes):
        if not 1 <= int(class_id) <= len(NOCS_CATEGORIES) or not np.isfinite(scores[index]):
            faults.note(path, f"detection {index}: class {class_id}, score {scores[index]}; skipped")
            continue
        y0, x0, y1, x1 = (float(v) for v in boxes[index])
        detections.append(
            Instance(
                mask=masks[:, :, index] > 0,
                box2d=np.array([x0, y0, x1, y1], dtype=np.float32),
                category=NOCS_CATEGORIES[int(class_id) - 1],
                score=float(scores[index]),
            )
        )
    return tuple(detections)
