"""Damaged sets of every layout: the file is named, the frame or the object is left out and counted, nothing guessed."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import cv2
import drawn
import numpy as np
import pytest

from mkpose_ros.datasets import open_dataset
from mkpose_ros.datasets.check import check_dataset
from mkpose_ros.errors import InputError


def own(root):
    drawn.own_frame(root, "train/00000/0001")
    return drawn.own_frame(root, "train/00000/0000")


def real(root):
    return drawn.real_frame(root)


def camera(root):
    stem = drawn.camera_frame(root, split="val", composed=False)
    drawn.write_result(root, "gts/val", drawn.result_content())
    return stem


def image(stem, kind):
    """The path of an image of a frame in its layout."""
    if stem.is_dir():  # a HouseCat6D scene
        folder = {"color": "rgb", "mask": "instance"}.get(kind, kind)
        return stem / folder / "000000.png"
    return Path(f"{stem}_{kind}.png")


LAYOUTS = {"own": own, "real": real, "camera": camera, "housecat": drawn.housecat_scene}
EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)


def assert_refused_and_counted(root, words):
    dataset = open_dataset(root)
    with pytest.raises(InputError, match=words):
        dataset[0]
    inventory = check_dataset(open_dataset(root))
    assert inventory.readable == inventory.looked_at - 1
    assert dataset.frames[0].name in [fault["file"] for fault in inventory.faults]
    assert len(list(dataset.readable())) == len(dataset) - 1


@EVERY_LAYOUT
@pytest.mark.parametrize("kind", ["color", "depth", "mask"])
def test_a_truncated_image_is_refused_by_name(tmp_path, layout, kind):
    path = image(LAYOUTS[layout](tmp_path), kind)
    path.write_bytes(path.read_bytes()[:200])
    assert_refused_and_counted(tmp_path, f"{path.name}: truncated or damaged")


@EVERY_LAYOUT
@pytest.mark.parametrize("kind", ["depth", "mask"])
def test_an_image_of_another_size_is_refused_by_name(tmp_path, layout, kind):
    path = image(LAYOUTS[layout](tmp_path), kind)
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), pixels[:, :-2])
    assert_refused_and_counted(tmp_path, rf"{path.name}.*{pixels.shape[1] - 2}x{pixels.shape[0]}")


@EVERY_LAYOUT
def test_an_empty_mask_gives_a_frame_without_objects_and_is_noted(tmp_path, layout):
    path = image(LAYOUTS[layout](tmp_path), "mask")
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), np.full_like(pixels, 0 if layout == "housecat" else 255))
    dataset = open_dataset(tmp_path)
    assert dataset[0].objects == ()
    assert (str(path), "the mask holds no instance") in [(fault.file, fault.problem) for fault in dataset.faults]


def test_a_missing_meta_file_is_named(tmp_path):
    stem = real(tmp_path)
    Path(f"{stem}_meta.txt").unlink()
    assert_refused_and_counted(tmp_path, r"0000_meta\.txt")


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("where", ["label", "gts", "detections", "housecat"])
def test_code_in_any_pickle_of_a_set_is_refused_by_name_and_never_run(tmp_path, where):
    root, proof = tmp_path / "set", tmp_path / "executed"
    if where == "label":
        path = Path(f"{real(root)}_label.pkl")
    elif where == "housecat":
        path = drawn.housecat_scene(root) / "labels" / "000000_label.pkl"
    else:
        camera(root)
        folder = {"gts": "gts/val", "detections": "segmentation_results/CAMERA25"}[where]
        path = drawn.write_result(root, folder, {})
    path.write_bytes(pickle.dumps({"gt_RTs": Bomb(proof), "pred_masks": Bomb(proof)}))
    if where == "detections":  # the frame has its truth without them
        dataset = open_dataset(root)
        sample = dataset[0]
        assert (len(sample.objects), sample.detections) == (2, ())
        assert any(fault.file == str(path) and "system" in fault.problem for fault in dataset.faults)
    else:
        assert_refused_and_counted(root, rf"{path.name}.*system")
    assert not proof.exists()


@pytest.mark.parametrize("where", ["label", "gts", "housecat"])
@pytest.mark.parametrize("change", ["no extents", "no number", "reflected"])
def test_an_impossible_pose_in_a_pickle_loses_its_object_and_not_its_neighbour(tmp_path, where, change):
    rotation = {"no extents": np.eye(3), "no number": np.full((3, 3), np.nan), "reflected": np.diag([1.0, 1, -1])}[
        change
    ]
    if where == "gts":
        camera(tmp_path)
        content = drawn.result_content()  # the second object first
        content["gt_RTs"][0, :3, :3] = rotation
        if change == "no extents":
            content["gt_scales"][0] = 0.0
        path = drawn.write_result(tmp_path, "gts/val", content)
        kept = [1]
    else:
        first = {"rotations": [rotation, np.eye(3)]}
        if where == "housecat":
            path = drawn.housecat_scene(tmp_path) / "labels" / "000000_label.pkl"
            label = pickle.loads(path.read_bytes()) | first
            if change == "no extents":
                label["gt_scales"][0] = 0.0
            path.write_bytes(pickle.dumps(label))
        else:
            stem = real(tmp_path)
            if change == "no extents":
                first["scales"] = [0.0, 0.4]
            drawn.label_pickle(stem, **first)
            path = Path(f"{stem}_label.pkl")
        kept = [2]
    dataset = open_dataset(tmp_path)
    assert [o.instance_id for o in dataset[0].objects] == kept
    assert [fault.file for fault in dataset.faults if fault.file.endswith(".pkl")] == [str(path)]


@pytest.mark.parametrize(
    ("where", "content"),
    [
        ("label", {"instance_ids": 5}),
        ("label", {"rotations": [drawn.things()[0].T[:3, :3]]}),
        ("gts", {"gt_RTs": np.eye(3)}),
        ("gts", {"gt_scales": np.ones((1, 3))}),
        ("gts", {"gt_bboxes": np.ones((2, 5))}),
        ("gts", {"gt_handle_visibility": [1]}),
    ],
)
def test_fields_of_another_shape_give_no_object_that_is_not_in_them(tmp_path, where, content):
    if where == "label":
        drawn.label_pickle(real(tmp_path), **content)
    else:
        camera(tmp_path)
        drawn.write_result(tmp_path, "gts/val", drawn.result_content() | content)
    dataset = open_dataset(tmp_path)
    found = [sample.objects for sample in dataset.readable()]
    assert all(len(objects) < 2 for objects in found)
    for truth in (truth for objects in found for truth in objects):
        thing = drawn.things()[truth.instance_id - 1]
        assert truth.T_cam_obj == pytest.approx(thing.T, abs=1e-5)
    assert any("pkl" in fault.file + fault.problem for fault in dataset.faults)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pred_bboxes": np.array([[0, 0, 0, 0], [10, 20, 30, 40]])}, "detection 0: box .* no area"),
        ({"pred_bboxes": np.array([[np.nan] * 4, [10, 20, 30, 40]])}, "detection 0: box .* no area"),
        ({"pred_scores": np.array([np.nan, 0.8])}, "detection 0: .*score nan"),
        ({"pred_class_ids": np.array([0, 5])}, "detection 0: class 0"),
        ({"pred_masks": "first empty"}, "detection 0: .*empty mask"),
    ],
)
def test_an_impossible_detection_is_skipped_and_its_neighbour_kept(tmp_path, change, words):
    camera(tmp_path)
    ids = drawn.draw(drawn.things(), drawn.CAMERA)["ids"]
    content = {
        "pred_masks": np.stack([ids == 1, ids == 2], axis=2),
        "pred_bboxes": np.array([[5, 5, 50, 50], [10, 20, 30, 40]]),
        "pred_class_ids": np.array([3, 5]),
        "pred_scores": np.array([0.9, 0.8]),
    }
    if "pred_masks" in change:
        content["pred_masks"][:, :, 0] = False
    else:
        content |= change
    drawn.write_result(tmp_path, "segmentation_results/CAMERA25", content)
    dataset = open_dataset(tmp_path)
    assert [d.category for d in dataset[0].detections] == ["laptop"]
    (fault,) = [f for f in dataset.faults if "detection" in f.problem]
    assert fault.file.endswith("results_val_00000_0000.pkl")
    assert re.search(words, fault.problem)


@pytest.mark.parametrize(
    "change",
    [
        {"pred_masks": np.zeros((10, 10, 2), bool)},
        {"pred_bboxes": np.ones((2, 3))},
        {"pred_scores": np.array([0.9])},
        {"pred_class_ids": ["mug", "bowl"]},
    ],
)
def test_detections_of_another_shape_are_left_out_and_noted(tmp_path, change):
    camera(tmp_path)
    content = {
        "pred_masks": np.ones((480, 640, 2), bool),
        "pred_bboxes": np.array([[5, 5, 50, 50], [10, 20, 30, 40]]),
        "pred_class_ids": np.array([3, 5]),
        "pred_scores": np.array([0.9, 0.8]),
    }
    path = drawn.write_result(tmp_path, "segmentation_results/CAMERA25", content | change)
    dataset = open_dataset(tmp_path)
    sample = dataset[0]
    assert (len(sample.objects), sample.detections) == (2, ())
    assert str(path) in [fault.file for fault in dataset.faults]
