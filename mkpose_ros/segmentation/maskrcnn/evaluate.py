"""COCO mask and box AP of a segmenter on annotated pictures."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mkpose_ros.errors import InputError
from mkpose_ros.segmentation.maskrcnn.data import coco_files
from mkpose_ros.segmentation.onnx_maskrcnn import OnnxMaskRcnn
from mkpose_ros.types import Instance

__all__ = ["evaluate_segmenter"]


def evaluate_segmenter(
    segmenter: OnnxMaskRcnn, folder: Path, *, limit: int | None = None, progress: Callable[[int], None] = lambda n: None
) -> dict[str, Any]:
    """Mask and box AP (percent, COCO's 101-point, IoU 0.50:0.95) on a folder of COCO annotations.

    Returns {"pictures", "mask": {"ap", "ap50", "ap75", "ar100"}, "box": {...}, "per_category": {name: mask AP}}.
    """
    truth, root_of = _merged(Path(folder), limit)
    coco = COCO()
    coco.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    label_of = {entry["name"]: entry["id"] for entry in truth["categories"]}
    results: list[dict[str, Any]] = []
    for done, image in enumerate(truth["images"], start=1):
        bgr = cv2.imread(str(root_of[image["id"]] / image["file_name"]), cv2.IMREAD_COLOR)
        if bgr is None:
            raise InputError(f"{root_of[image['id']] / image['file_name']}: missing or damaged")
        found = segmenter.segment_image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        results += [_result(i, image["id"], label_of[i.category]) for i in found if i.category in label_of]
        progress(done)
    summary: dict[str, Any] = {"pictures": len(truth["images"]), "detections": len(results)}
    for kind, name in (("segm", "mask"), ("bbox", "box")):
        evaluation = _run(coco, results, kind)
        summary[name] = _figures(evaluation)
        if kind == "segm":
            summary["per_category"] = _per_category(evaluation, truth["categories"])
    return summary


def _result(instance: Instance, image: int, label: int) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(instance.mask.astype(np.uint8)))
    x0, y0, x1, y1 = (float(v) for v in instance.box2d)
    box = [x0, y0, x1 - x0, y1 - y0]
    return {"image_id": image, "category_id": label, "segmentation": runs, "bbox": box, "score": instance.score}


def _run(coco: COCO, results: list[dict[str, Any]], kind: str) -> COCOeval | None:
    if not results:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        # loadRes derives boxes and areas in place, so each kind gets its own copies.
        found = coco.loadRes([{k: v for k, v in r.items() if k != "bbox" or kind == "bbox"} for r in results])
        evaluation = COCOeval(coco, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _figures(evaluation: COCOeval | None) -> dict[str, float]:
    stats = np.zeros(12) if evaluation is None else evaluation.stats
    return {name: round(100 * float(stats[i]), 2) for name, i in (("ap", 0), ("ap50", 1), ("ap75", 2), ("ar100", 8))}


def _per_category(evaluation: COCOeval | None, categories: list[dict[str, Any]]) -> dict[str, float]:
    if evaluation is None:
        return {}
    result = {}
    for index, label in enumerate(evaluation.params.catIds):
        precision = evaluation.eval["precision"][:, :, index, 0, -1]
        if (precision > -1).any():  # -1: the category does not occur
            name = next(entry["name"] for entry in categories if entry["id"] == label)
            result[name] = round(100 * float(precision[precision > -1].mean()), 2)
    return result


def _merged(folder: Path, limit: int | None) -> tuple[dict[str, Any], dict[int, Path]]:
    """All annotation files of a folder as one, with new image and annotation ids, and where each image's file is."""
    images, annotations, categories, root_of = [], [], None, {}
    for file in coco_files(folder):
        content = json.loads(file.read_text(encoding="utf-8"))
        categories = categories or content["categories"]
        renamed = {}
        for entry in content["images"]:
            if limit is not None and len(images) >= limit:
                break
            renamed[entry["id"]] = len(images) + 1
            images.append({**entry, "id": len(images) + 1})
            root_of[len(images)] = file.parent.parent if file.parent.name == "annotations" else file.parent
        for entry in content["annotations"]:
            if entry["image_id"] in renamed:
                image_id = renamed[entry["image_id"]]
                annotations.append({**entry, "id": len(annotations) + 1, "image_id": image_id})
    if not images:
        raise InputError(f"{folder}: no COCO annotations; write some with `mkpose synth`")
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}, root_of
