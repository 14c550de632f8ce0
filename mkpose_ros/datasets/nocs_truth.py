"""Ground truth of NOCS-layout frames: from JSON, label pickles, result pickles, or the NOCS map itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.datasets.alignment import align_nocs_map, handle_visible_in_map
from mkpose_ros.datasets.base import Faults, checked_truth
from mkpose_ros.datasets.nocs_files import DETECTION_FOLDERS, MetaLine, model_extents_m, read_meta, result_pickle
from mkpose_ros.datasets.pickles import load_pickle
from mkpose_ros.errors import InputError
from mkpose_ros.types import ObjectTruth, RgbdFrame, Symmetry

__all__ = ["TruthSources", "read_truths"]


@dataclass(frozen=True)
class TruthSources:
    """What a frame offers for finding the poses of its objects."""

    stem: Path
    kind: str  # "own", "camera" or "real"
    frame: RgbdFrame
    instance_ids: np.ndarray  # (H, W) int32
    nocs: np.ndarray | None  # (H, W, 3)

    def file(self, suffix: str) -> Path:
        """The path of one of the frame's files."""
        return self.stem.with_name(self.stem.name + suffix)


def read_truths(sources: TruthSources, faults: Faults) -> Iterator[ObjectTruth]:
    """The objects of a frame whose pixels are seen, from the best source at hand; others are noted and left out."""
    if sources.file("_truth.json").is_file():
        yield from _from_json(sources, faults)
        return
    if sources.file("_label.pkl").is_file():
        yield from _from_label_pickle(sources, faults)
        return
    for folders in (("gts",), DETECTION_FOLDERS):  # published detections repeat the ground truth
        path = result_pickle(sources.stem, sources.kind, folders)
        if path is not None and "gt_RTs" in (content := load_pickle(path)):
            yield from _from_result_pickle(sources, path, content, faults)
            return
    yield from _from_nocs_map(sources, faults)


def _seen_meta(sources: TruthSources, faults: Faults) -> list[MetaLine]:
    """The meta lines of benchmark objects that have pixels; mask values without a line are noted."""
    path = sources.file("_meta.txt")
    lines = read_meta(path, faults)
    seen = {int(i) for i in np.unique(sources.instance_ids)} - {0}
    missing = sorted(seen - {line.instance_id for line in lines})
    if missing:
        faults.note(path, f"no line for instance {', '.join(map(str, missing))} of the mask; skipped")
    unknown = [line for line in lines if not 0 <= line.class_id <= len(NOCS_CATEGORIES)]
    for line in unknown:
        faults.note(path, f"instance {line.instance_id} has class {line.class_id}; expected 0 to 6; skipped")
    return [line for line in lines if line.instance_id in seen and line.class_id and line not in unknown]


def _from_json(sources: TruthSources, faults: Faults) -> Iterator[ObjectTruth]:
    """Our own scenes: `{"objects": [{instance_id, category, model, T_cam_obj, size_m, handle_visible, symmetry}]}`."""
    path = sources.file("_truth.json")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["objects"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f'{path}: {error!r}; expected a JSON object with "objects"') from error
    seen = set(np.unique(sources.instance_ids).tolist())
    for entry in entries:
        try:
            if entry["instance_id"] not in seen:
                continue
            T = np.array(entry["T_cam_obj"], dtype=np.float64)
            symmetry = entry.get("symmetry")
            yield checked_truth(
                instance_id=entry["instance_id"],
                category=entry["category"],
                model=entry["model"],
                rotation=T[:3, :3],
                translation_m=T[:3, 3],
                size_m=entry["size_m"],
                handle_visible=entry.get("handle_visible", True),
                symmetry=symmetry and Symmetry(tuple(symmetry["infinite_axes"]), tuple(symmetry["orders"])),
            )
        except InputError as error:
            faults.note(path, str(error))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            faults.note(path, f"object {entry!r:.80}: {error!r}; skipped")


def _from_label_pickle(sources: TruthSources, faults: Faults) -> Iterator[ObjectTruth]:
    """The `_label.pkl` that the field's preprocessing writes: one list per property, sizes in units of scales."""
    path = sources.file("_label.pkl")
    label = load_pickle(path)
    handles = _field(label, "handle_visibility", path, optional=True)
    columns = {
        key: _field(label, key, path)
        for key in ("instance_ids", "class_ids", "model_list", "rotations", "translations", "scales", "sizes")
    }
    for index, instance_id in enumerate(columns["instance_ids"]):
        try:
            yield checked_truth(
                instance_id=int(instance_id),
                category=_category(columns["class_ids"][index]),
                model=str(columns["model_list"][index]),
                rotation=columns["rotations"][index],
                translation_m=columns["translations"][index],
                size_m=np.asarray(columns["sizes"][index], dtype=np.float64) * float(columns["scales"][index]),
                handle_visible=bool(handles[index]) if handles is not None else True,
            )
        except (InputError, IndexError, TypeError, ValueError) as error:
            faults.note(path, str(error))


def _from_result_pickle(sources: TruthSources, path: Path, result: Any, faults: Faults) -> Iterator[ObjectTruth]:
    """The benchmark's ground-truth pickles: gt_RTs carry the scale, gt_scales the extents in its units.

    They name no instance ids; objects are matched to meta lines by model and, failing that, by overlap of boxes.
    """
    RTs = np.asarray(_field(result, "gt_RTs", path), dtype=np.float64).reshape(-1, 4, 4)
    sizes = np.asarray(_field(result, "gt_scales", path), dtype=np.float64).reshape(-1, 3)
    classes = _field(result, "gt_class_ids", path)
    boxes = np.asarray(_field(result, "gt_bboxes", path), dtype=np.float64).reshape(-1, 4)
    handles = _field(result, "gt_handle_visibility", path, optional=True)
    models = [str(m) for m in result.get("obj_list", [""] * len(RTs))]
    lines = _seen_meta(sources, faults)
    for index in range(min(len(RTs), len(classes))):
        line = _matching_line(lines, int(classes[index]), models[index], boxes[index], sources.instance_ids)
        if line is None:
            faults.note(path, f"object {index} (class {classes[index]}) matches no instance of the mask; skipped")
            continue
        lines.remove(line)
        scale = np.cbrt(np.linalg.det(RTs[index, :3, :3]))
        try:
            yield checked_truth(
                instance_id=line.instance_id,
                category=_category(line.class_id),
                model=line.model,
                rotation=RTs[index, :3, :3] / scale if scale else np.zeros((3, 3)),
                translation_m=RTs[index, :3, 3],
                size_m=sizes[index] * scale,
                handle_visible=bool(handles[index]) if handles is not None else True,
            )
        except InputError as error:
            faults.note(path, str(error))


def _matching_line(
    lines: list[MetaLine], class_id: int, model_path: str, box_yxyx: np.ndarray, ids: np.ndarray
) -> MetaLine | None:
    same = [line for line in lines if line.class_id == class_id]
    by_model = [line for line in same if line.model in model_path]
    if len(by_model) == 1:
        return by_model[0]
    overlaps = [_box_iou(_box_yxyx(ids == line.instance_id), box_yxyx) for line in same]
    return same[int(np.argmax(overlaps))] if overlaps and max(overlaps) > 0.5 else None


def _from_nocs_map(sources: TruthSources, faults: Faults) -> Iterator[ObjectTruth]:
    """Frames without pickles: the similarity between NOCS map and depth; extents from the model or from the map."""
    coord = sources.file("_coord.png")
    if sources.nocs is None:
        raise InputError(f"{coord}: not there, nor any label or ground-truth pickle; no pose can be had for this frame")
    for line in _seen_meta(sources, faults):
        mask = sources.instance_ids == line.instance_id
        extents = model_extents_m(sources.stem, line)
        metric = sources.kind != "camera" and extents is not None
        try:
            fit = align_nocs_map(
                sources.nocs,
                sources.frame.depth_m,
                mask,
                sources.frame.intrinsics,
                scale=float(np.linalg.norm(extents)) if metric else None,
            )
            if extents is None:
                extents = 2.0 * np.abs(sources.nocs[mask] - 0.5).max(axis=0)  # in NOCS units, of the seen side
            size_m = extents if metric else extents / np.linalg.norm(extents) * fit.scale
            visible = handle_visible_in_map(sources.nocs, mask, size_m) if line.class_id == _MUG else True
            yield checked_truth(
                instance_id=line.instance_id,
                category=_category(line.class_id),
                model=line.model,
                rotation=fit.rotation,
                translation_m=fit.translation_m,
                size_m=size_m,
                handle_visible=visible,
            )
        except InputError as error:
            faults.note(coord, f"instance {line.instance_id} ({line.model}): {error}")


_MUG = NOCS_CATEGORIES.index("mug") + 1


def _field(content: Any, key: str, path: Path, optional: bool = False) -> Any:
    if not isinstance(content, dict) or (key not in content and not optional):
        raise InputError(f"{path}: no {key!r}; expected a label pickle of the NOCS benchmark")
    return content.get(key)


def _category(class_id: Any) -> str:
    if not 1 <= int(class_id) <= len(NOCS_CATEGORIES):
        raise InputError(f"class {class_id}; expected 1 to {len(NOCS_CATEGORIES)}; object skipped")
    return NOCS_CATEGORIES[int(class_id) - 1]


def _box_yxyx(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1], dtype=np.float64)


def _box_iou(a: np.ndarray, b: np.ndarray) -> float:
    overlap = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
    return float(overlap / union) if union > 0.0 else 0.0
