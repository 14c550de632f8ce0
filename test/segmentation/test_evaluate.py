"""COCO figures of a segmenter on pictures whose answer is known, and the thresholds that come of them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

coco_mask = pytest.importorskip("pycocotools.mask")
pytest.importorskip("onnxruntime")

from mkpose_ros.cli import cli  # noqa: E402
from mkpose_ros.errors import InputError  # noqa: E402
from mkpose_ros.segmentation import open_segmenter  # noqa: E402
from mkpose_ros.segmentation.annotations import coco_files, merged_annotations  # noqa: E402
from mkpose_ros.segmentation.evaluate import best_threshold, evaluate_segmenter, write_thresholds  # noqa: E402

BOTTLE, MUG = (10, 10, 50, 50), (70, 20, 110, 80)  # x0, y0, x1, y1


@pytest.fixture
def pictures(tmp_path):
    """Twelve grey pictures, 96x128, of a bottle and a mug that are rectangles, in folders as `mkpose synth`'s."""
    root = tmp_path / "scenes" / "val"
    root.mkdir(parents=True)
    images, annotations = [], []
    for index in range(12):
        cv2.imwrite(str(root / f"{index}.png"), np.full((96, 128, 3), 90, np.uint8))
        images.append({"id": index, "file_name": f"{index}.png", "height": 96, "width": 128})
        for label, (x0, y0, x1, y1) in ((1, BOTTLE), (2, MUG)):
            mask = np.zeros((96, 128), np.uint8, order="F")
            mask[y0:y1, x0:x1] = 1
            runs = coco_mask.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": index, "category_id": label, "iscrowd": 0,
                    "area": int(mask.sum()), "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                }
            )  # fmt: skip
    categories = [{"id": i, "name": name} for i, name in enumerate(("bottle", "mug", "bowl"), start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "scenes"


def evaluated(path, folder, **settings):
    return evaluate_segmenter(open_segmenter("onnxruntime", path), folder, **settings)


def test_a_segmenter_that_is_right_has_full_marks(constant_model, pictures):
    told = []
    found = evaluated(
        constant_model([BOTTLE, MUG], [0.9, 0.7], [0, 1]), pictures, limit=11, progress=lambda *n: told.append(n)
    )
    assert (found["pictures"], found["detections"], told[-1]) == (11, 22, (11, 11))
    full = {"ap": 100.0, "ap50": 100.0, "ap75": 100.0, "ap_medium": 100.0, "ap_small": None, "ap_large": None}
    assert found["mask"] == found["box"] == {**full, "ar100": 100.0}
    row = {"ap": 100.0, "ap50": 100.0, "ap75": 100.0, "objects": 11, "f1": 100.0}
    thresholds = {name: entry.pop("threshold") for name, entry in found["per_category"].items()}
    assert thresholds == {"bottle": pytest.approx(0.9, abs=2e-3), "mug": pytest.approx(0.7, abs=2e-3)}
    assert all(thresholds[name] <= np.float32(score) for name, score in (("bottle", 0.9), ("mug", 0.7)))
    assert found["per_category"] == {"bottle": row, "mug": row}


def test_false_objects_and_missed_ones_cost_what_coco_says(constant_model, pictures):
    # Each bottle has a surer false one before it: precision is 1/2 everywhere. Mugs overlap by 40 of 60 rows.
    boxes, scores = [(70, 20, 110, 80), BOTTLE, (70, 20, 110, 60)], [0.9, 0.5, 0.8]
    found = evaluated(constant_model(boxes, scores, [0, 0, 1]), pictures)["per_category"]
    assert found["bottle"]["ap"] == pytest.approx(50.0, abs=0.5)
    assert found["bottle"]["threshold"] == 0.5
    assert found["bottle"]["f1"] == pytest.approx(100 * 2 / 3, abs=0.01)
    assert found["mug"]["ap50"] == 100.0
    assert found["mug"]["ap75"] == 0.0
    assert found["mug"]["ap"] == pytest.approx(40.0)  # IoU 0.667 passes 0.50 to 0.65, four of ten


def test_a_segmenter_that_finds_nothing_has_nothing(constant_model, pictures):
    found = evaluated(constant_model(), pictures)
    assert found["mask"]["ap"] == found["box"]["ap"] == 0.0
    assert found["per_category"]["mug"] == {
        "ap": 0.0, "ap50": 0.0, "ap75": 0.0, "objects": 12, "threshold": 1.0, "f1": 0.0
    }  # fmt: skip


def test_the_threshold_is_the_middle_of_nearly_the_best_f_in_which_precision_counts_twice():
    scores, hits = np.array([0.2, 0.9, 0.6, 0.8, 0.4]), np.array([False, True, True, False, False])
    # From 0.9, 0.8, 0.6, ... on: F is 3/6, 3/8, 6/10, 6/12, 6/14 with four objects; F1 from 0.6 on is 4/7.
    assert best_threshold(scores, hits, 4) == (0.6, pytest.approx(4 / 7))
    # Of 40: 37 to 40 right ones, and one wrong one behind them, are nearly as good.
    many = np.linspace(1.0, 0.01, 100)
    right = np.arange(100) < 40
    assert best_threshold(many, right, 40) == (pytest.approx(many[38]), pytest.approx(2 * 39 / 79))
    assert best_threshold(scores, np.zeros(5, bool), 4) == (1.0, 0.0)
    assert best_threshold(np.zeros(0), np.zeros(0, bool), 4) == (1.0, 0.0)


def test_thresholds_go_into_the_file_less_those_that_chance_would_choose(constant_model):
    path = constant_model([BOTTLE], [0.9], [0])
    rows = {
        "bottle": {"threshold": 0.45, "f1": 80.0, "objects": 30},
        "mug": {"threshold": 1.0, "f1": 0.0, "objects": 30},
        "unicorn": {"threshold": 0.9, "f1": 100.0, "objects": 2},
    }
    assert write_thresholds(path, rows) == {"bottle": 0.45}
    segmenter = open_segmenter("onnxruntime", path)
    assert segmenter.thresholds == {"bottle": 0.45}
    assert segmenter.metadata.categories == ("bottle", "mug", "", "unicorn")


def test_the_command_measures_calibrates_and_writes_json(constant_model, pictures, tmp_path):
    path = constant_model([BOTTLE, MUG], [0.9, 0.7], [0, 1])
    words = ["eval-segmenter", "--data", str(pictures), "--model", str(path), "--backend", "onnxruntime"]
    answer = CliRunner().invoke(cli, [*words, "--calibrate", "--json", str(tmp_path / "found.json")])
    assert answer.exit_code == 0, answer.output
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["mask"]["ap"] == 100.0
    assert found["thresholds"] == {"bottle": pytest.approx(0.9, abs=2e-3), "mug": pytest.approx(0.7, abs=2e-3)}
    assert open_segmenter("onnxruntime", path).thresholds == found["thresholds"]


def test_the_test_split_is_not_calibrated_on():
    answer = CliRunner().invoke(cli, ["eval-segmenter", "--calibrate"])
    assert answer.exit_code == 2
    assert "--split val" in answer.output


def test_folders_without_annotations_and_damaged_ones_are_named(tmp_path):
    with pytest.raises(InputError, match="mkpose synth"):
        coco_files(tmp_path)
    (tmp_path / "coco.json").write_text('{"images": [{}]}', encoding="utf-8")
    with pytest.raises(InputError, match=r"coco\.json.*COCO instance annotations"):
        merged_annotations(tmp_path)
    (tmp_path / "coco.json").write_text('{"images": [], "annotations": [], "categories": []}', encoding="utf-8")
    with pytest.raises(InputError, match="no picture"):
        merged_annotations(tmp_path)


def test_a_picture_that_is_gone_is_named(constant_model, pictures):
    (pictures / "val" / "3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png"):
        evaluated(constant_model(), pictures)
