"""COCO mask and box AP of a segmenter on annotated pictures, and the scores at which its categories are best cut."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mkpose_ros.segmentation.annotations import merged_annotations, read_picture
from mkpose_ros.segmentation.base import Segmenter
from mkpose_ros.types import Instance

__all__ = ["best_threshold", "evaluate_segmenter", "write_thresholds"]

# Where COCOeval keeps them: AP, AP50, AP75, AP of small (below 32^2 pixels), medium and large (above 96^2), AR100.
STATISTICS = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}
NEARLY = 0.97  # of the best F score
PRECISION_COUNTS = 2.0  # times as much as recall: a gripper sent to what is none costs more than a frame's miss
ENOUGH = 10  # objects of a category that a threshold is chosen from
IOU_50, IOU_75 = 0, 5  # among COCO's ten IoU thresholds


def evaluate_segmenter(
    segmenter: Segmenter, folder: Path, *, limit: int | None = None, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Mask and box AP (percent, COCO's 101-point, IoU 0.50:0.95) on a folder of COCO annotations, and of depth if
    it has some.

    Returns {"pictures", "detections", "mask": {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100"},
    "box": {...}, "per_category": {name: {"ap", "ap50", "ap75", "objects", "threshold", "f1"}}} of masks; a figure
    without objects is None. `threshold` is `best_threshold`'s, and `f1` is F1 there (percent, IoU 0.5).
    """
    truth, files = merged_annotations(Path(folder), limit)
    coco = COCO()
    coco.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    label_of = {entry["name"]: entry["id"] for entry in truth["categories"]}
    results: list[dict[str, Any]] = []
    for done, (image_id, file) in enumerate(files.items(), start=1):
        found = segmenter.segment(read_picture(file))
        results += [_result(i, image_id, label_of[i.category]) for i in found if i.category in label_of]
        if progress:
            progress(done, len(files))
    masks, boxes = (_run(coco, results, kind) for kind in ("segm", "bbox"))
    return {
        "pictures": len(files),
        "detections": len(results),
        "mask": _figures(masks),
        "box": _figures(boxes),
        "per_category": _per_category(masks, truth["categories"]),
    }


def best_threshold(scores: np.ndarray, hits: np.ndarray, objects: int) -> tuple[float, float]:
    """The middle one of the scores from which on detections have nearly the best F, and their F1.

    `scores` (N,) and `hits` (N,) bool, which of them are right. F is the harmonic mean of precision and recall in
    which precision counts PRECISION_COUNTS times (van Rijsbergen's, beta 0.71). The curve is flat at its top. What
    cameras see scores lower than what is rendered, objects and what is none alike: the low end takes many of the
    latter for objects, the high end misses some of the former.
    """
    order = np.argsort(-scores, kind="stable")
    right, taken = np.cumsum(hits[order]), np.arange(1, len(order) + 1)
    f = (PRECISION_COUNTS + 1.0) * right / (PRECISION_COUNTS * taken + objects)
    if len(order) == 0 or f.max() == 0.0:
        return 1.0, 0.0
    nearly = np.flatnonzero(f >= NEARLY * f.max())
    middle = int(nearly[len(nearly) // 2])
    return float(scores[order[middle]]), float(2.0 * right[middle] / (taken[middle] + objects))


def write_thresholds(model_path: Path, per_category: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Put the thresholds that `evaluate_segmenter` found into an ONNX file's metadata, and return them.

    Categories with few objects are left out: chance would choose theirs.
    """
    import onnx

    thresholds = {n: row["threshold"] for n, row in per_category.items() if row["objects"] >= ENOUGH and row["f1"] > 0}
    graph = onnx.load(model_path)
    described = {entry.key: entry.value for entry in graph.metadata_props}
    described["mkpose"] = json.dumps({**json.loads(described["mkpose"]), "thresholds": thresholds})
    onnx.helper.set_model_props(graph, described)
    onnx.save(graph, model_path)
    return thresholds


def _result(instance: Instance, image: int, label: int) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(instance.mask.astype(np.uint8)))
    x0, y0, x1, y1 = (float(v) for v in instance.box2d)
    box = [x0, y0, x1 - x0, y1 - y0]
    return {"image_id": image, "category_id": label, "segmentation": runs, "bbox": box, "score": instance.score}


def _run(coco: COCO, results: list[dict[str, Any]], kind: str) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        # loadRes derives boxes and areas in place, so each kind gets its own copies.
        given = [{k: v for k, v in r.items() if k != "bbox" or kind == "bbox"} for r in results]
        evaluation = COCOeval(coco, coco.loadRes(given) if given else COCO(), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _figures(evaluation: COCOeval) -> dict[str, float | None]:
    return {name: _percent(evaluation.stats[place]) for name, place in STATISTICS.items()}


def _percent(value: float) -> float | None:
    return round(100.0 * float(value), 2) if value >= 0.0 else None  # COCOeval's -1: nothing to be found


def _per_category(evaluation: COCOeval, categories: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names, result = {entry["id"]: entry["name"] for entry in categories}, {}
    for index, label in enumerate(evaluation.params.catIds):
        precision = evaluation.eval["precision"][:, :, index, 0, -1]  # (IoU, recall)
        if (precision < 0.0).all():
            continue  # the category does not occur
        scores, hits, objects = _matches(evaluation, label)
        threshold, f1 = best_threshold(scores, hits, objects)
        result[names[label]] = {
            "ap": _percent(precision.mean()),
            "ap50": _percent(precision[IOU_50].mean()),
            "ap75": _percent(precision[IOU_75].mean()),
            "objects": objects,
            "threshold": math.floor(1000.0 * threshold) / 1000.0,  # downwards: the last one must pass
            "f1": _percent(f1),
        }
    return result


def _matches(evaluation: COCOeval, label: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Of a category: its detections' scores (N,), whether each is right by IoU 0.5 (N,), and its number of objects."""
    of_all_areas = evaluation.params.areaRng[0]
    pictures = [
        e for e in evaluation.evalImgs if e is not None and e["category_id"] == label and e["aRng"] == of_all_areas
    ]
    counted = [~np.asarray(e["dtIgnore"][IOU_50], bool) for e in pictures]
    scores = [np.asarray(e["dtScores"], float)[c] for e, c in zip(pictures, counted, strict=True)]
    hits = [np.asarray(e["dtMatches"][IOU_50])[c] > 0 for e, c in zip(pictures, counted, strict=True)]
    objects = sum(int(np.count_nonzero(np.asarray(e["gtIgnore"]) == 0)) for e in pictures)
    return np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, bool), *hits]), objects
