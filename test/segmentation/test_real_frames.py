"""What the shipped segmenter finds on real camera frames, measured against masks and kept beside the test.

Masks: NOCS-REAL's and the D435 frame's own; those of the YCB tables are drawn by hand (ycb_masks.json: outlines from
back to front, and boxes of things that count neither way). `python test/segmentation/test_real_frames.py` measures
the numbers again and writes them to real_frames.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.resources import share_path
from mkpose_ros.segmentation import CleanConfig, calibrated_thresholds, clean_instances, open_segmenter
from mkpose_ros.segmentation.masks import mask_iou
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("MKPOSE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
NUMBERS = HERE / "real_frames.json"
MIN_SCORE = 0.3  # the node's
FRAMES = ("nocs", *(f"ycb_tabletop/00000{i}" for i in range(1, 6)), "d435_mug")


def real_frame(name: str) -> tuple[RgbdFrame, list[tuple[str, np.ndarray]], np.ndarray]:
    """A frame, its objects (category, mask) and the pixels (H, W) of things that count neither way."""
    if name == "nocs":
        stem = SHARED / "nocs" / "real" / "train" / "scene_1" / "0000"
        ids = cv2.imread(f"{stem}_mask.png", cv2.IMREAD_UNCHANGED)
        lines = [line.split() for line in Path(f"{stem}_meta.txt").read_text().splitlines() if line]
        objects = [(NOCS_CATEGORIES[int(label) - 1], ids == int(value)) for value, label, _ in lines]
        return load(f"{stem}_color.png", f"{stem}_depth.png", 1000), objects, np.zeros(ids.shape, bool)
    if name == "d435_mug":
        stem = SHARED / name / "0000"
        mask = cv2.imread(f"{stem}_mask.png", cv2.IMREAD_UNCHANGED) > 0
        return load(f"{stem}_color.png", f"{stem}_depth.png", 1000), [("mug", mask)], np.zeros(mask.shape, bool)
    drawn = json.loads((HERE / "ycb_masks.json").read_text(encoding="utf-8"))[name.split("/")[1]]
    frame = load(str(SHARED / f"{name}-color.png"), str(SHARED / f"{name}-depth.png"), 10000)
    ids, ignored = np.zeros(frame.depth_m.shape, np.uint8), np.zeros(frame.depth_m.shape, bool)
    for value, (_, outline) in enumerate(drawn["objects"], start=1):
        cv2.fillPoly(ids, [np.array(outline)], value)
    for x0, y0, x1, y1 in drawn["ignored"]:
        ignored[y0:y1, x0:x1] = True
    return frame, [(category, ids == i) for i, (category, _) in enumerate(drawn["objects"], start=1)], ignored


def load(color: str, depth: str, units_per_m: float) -> RgbdFrame:
    rgb = np.ascontiguousarray(cv2.imread(color, cv2.IMREAD_COLOR)[..., ::-1])
    depth_m = (cv2.imread(depth, cv2.IMREAD_UNCHANGED) / units_per_m).astype(np.float32)
    return RgbdFrame(rgb, depth_m, CameraIntrinsics(600.0, 600.0, 320.0, 240.0, 640, 480))


def measure(found: list[Instance], objects: list[tuple[str, np.ndarray]], ignored: np.ndarray) -> dict:
    """Of each object what lies on it best: [category, found as, IoU, score]; and the false objects.

    False is what lies on no object by half (IoU), or on one under another name, unless most of it counts neither way.
    """
    rows, right = [], set()
    for category, mask in objects:
        overlaps = [mask_iou(instance.mask, mask) for instance in found]
        best = int(np.argmax(overlaps)) if found else -1
        if best < 0 or overlaps[best] < 0.5:
            rows.append([category, "", 0.0, 0.0])
            continue
        instance = found[best]
        rows.append([category, instance.category, round(overlaps[best], 2), round(instance.score, 2)])
        if instance.category == category:
            right.add(best)
    false = [
        [instance.category, round(instance.score, 2)]
        for index, instance in enumerate(found)
        if index not in right and (instance.mask & ignored).sum() < 0.5 * instance.mask.sum()
    ]
    return {"objects": rows, "false": false}


def measure_all() -> dict:
    """The numbers of every frame, by the shipped model as the node runs it."""
    segmenter, result = open_segmenter("auto"), {}
    config = CleanConfig(score_threshold=MIN_SCORE, class_thresholds=calibrated_thresholds(segmenter, MIN_SCORE))
    for name in FRAMES:
        frame, objects, ignored = real_frame(name)
        found = clean_instances(frame, segmenter.segment(frame), config)
        result[name] = measure(found, objects, ignored)
    return {"model_sha256": model_hash(), "frames": result}


def model_hash() -> str:
    return hashlib.sha256(share_path("models", "segmenter", "model.onnx").read_bytes()).hexdigest()


def test_an_object_is_measured_by_its_best_instance_and_a_wrong_name_is_false():
    mask, elsewhere = np.zeros((2, 20, 20), bool)
    mask[5:15, 5:15] = elsewhere[0:4, 0:4] = True
    instances = [
        Instance(m, np.zeros(4, np.float32), c, s) for m, c, s in ((mask, "can", 0.9), (elsewhere, "mug", 0.8))
    ]
    nothing = np.zeros((20, 20), bool)
    assert measure(instances, [("can", mask)], nothing) == {
        "objects": [["can", "can", 1.0, 0.9]],
        "false": [["mug", 0.8]],
    }
    assert measure(instances, [("bottle", mask)], elsewhere)["false"] == [["can", 0.9]]
    assert measure([], [("can", mask)], nothing) == {"objects": [["can", "", 0.0, 0.0]], "false": []}


def test_the_numbers_belong_to_the_shipped_model():
    assert json.loads(NUMBERS.read_text(encoding="utf-8"))["model_sha256"] == model_hash()


@pytest.mark.skipif(not SHARED.exists(), reason="real frames are not here")
def test_the_shipped_model_finds_on_real_frames_what_its_numbers_say():
    kept, now = json.loads(NUMBERS.read_text(encoding="utf-8"))["frames"], measure_all()["frames"]
    assert set(kept) == set(now)
    for name in FRAMES:
        sure = [row for row in kept[name]["objects"] if row[3] > MIN_SCORE + 0.02]
        for row in sure:  # runtimes differ in the last digits
            assert any(
                row[:2] == other[:2] and abs(row[2] - other[2]) <= 0.03 and abs(row[3] - other[3]) <= 0.02
                for other in now[name]["objects"]
            ), (name, row)
        assert abs(len(kept[name]["false"]) - len(now[name]["false"])) <= 1


if __name__ == "__main__":
    measured = measure_all()
    rows = [f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in measured["frames"].items()]
    head = f'{{\n  "model_sha256": "{measured["model_sha256"]}",\n  "frames": {{\n'
    NUMBERS.write_text(head + ",\n".join(rows) + "\n  }\n}\n", encoding="utf-8")
    sys.stdout.write(NUMBERS.read_text(encoding="utf-8"))
