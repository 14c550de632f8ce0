"""The NOCS layout in all its kinds of ground truth, and with each kind of fault."""

from __future__ import annotations

from pathlib import Path

import cv2
import drawn
import numpy as np
import pytest

from mkpose_ros.datasets import open_dataset
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.rotations import rotation_angle_rad
from mkpose_ros.types import Symmetry


def assert_truths(objects, degrees, millimetres, size_percent=0.01):
    assert [o.instance_id for o in sorted(objects, key=lambda o: o.instance_id)] == [1, 2]
    for thing in drawn.things():
        truth = next(o for o in objects if o.instance_id == thing.instance_id)
        assert (truth.category, truth.model) == (thing.category, thing.model)
        assert np.degrees(rotation_angle_rad(truth.T_cam_obj[:3, :3], thing.T[:3, :3])) < degrees
        assert 1000 * np.linalg.norm(truth.T_cam_obj[:3, 3] - thing.T[:3, 3]) < millimetres
        assert truth.size_m == pytest.approx(thing.size_m, rel=size_percent / 100)


def only_frame(root: Path):
    dataset = open_dataset(root)
    assert len(dataset) == 1
    return dataset, dataset[0]


def test_our_own_frame_comes_back_as_it_was_written(tmp_path):
    drawn.own_frame(tmp_path)
    dataset, sample = only_frame(tmp_path)
    picture = drawn.draw(drawn.things(), drawn.OWN)
    assert (dataset.name, sample.name) == ("synthetic", "train/00000/0000")
    assert sample.frame.intrinsics == drawn.OWN
    assert (sample.frame.rgb == picture["color"][..., ::-1]).all()
    assert sample.frame.depth_m == pytest.approx(picture["depth_m"], abs=6e-4)
    assert sample.frame.depth_m.dtype == np.float32
    assert (sample.instance_ids == picture["ids"]).all()
    assert sample.nocs == pytest.approx(picture["nocs"], abs=3e-3)
    assert_truths(sample.objects, 1e-5, 1e-6)
    assert sample.objects[0].symmetry == Symmetry()


def test_narrow_holes_are_closed_on_request_and_nothing_else_changes(tmp_path):
    stem = drawn.own_frame(tmp_path)
    path = f"{stem}_depth.png"
    depth = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    depth[60:63, 20:23] = 0
    cv2.imwrite(path, depth)
    plain, filled = open_dataset(tmp_path)[:][0], open_dataset(tmp_path, fill_depth=True)[:][0]
    assert (plain.frame.depth_m[60:63, 20:23] == 0.0).all()
    assert filled.frame.depth_m[60:63, 20:23] == pytest.approx(1.6)
    assert (filled.frame.depth_m == plain.frame.depth_m).sum() == depth.size - 9
    assert filled.name == plain.name
    assert_truths(filled.objects, 1e-5, 1e-6)
    assert open_dataset(tmp_path, fill_depth=True).frames[0].companions()["_depth.png"]


def test_a_real_frame_gets_its_poses_from_nocs_map_and_models(tmp_path):
    drawn.real_frame(tmp_path)
    dataset, sample = only_frame(tmp_path)
    assert dataset.name == "nocs"
    assert sample.frame.intrinsics == drawn.REAL
    # A flat face lies at one coordinate, which 8 bits round by up to 0.7 mm: 0.3 % of the distance for these boxes.
    assert_truths(sample.objects, degrees=0.3, millimetres=4.0)
    assert not dataset.faults


def test_outliers_in_the_depth_do_not_move_the_pose(tmp_path):
    stem = drawn.camera_frame(tmp_path)
    picture = drawn.draw(drawn.things(), drawn.CAMERA)
    rng = np.random.default_rng(0)
    wrong = rng.random(picture["ids"].shape) < 0.25
    depth_m = picture["depth_m"] + rng.normal(0.0, 0.001, wrong.shape) + wrong * rng.uniform(-0.3, 0.5, wrong.shape)
    path = tmp_path / "camera_full_depths" / "train" / "00000" / f"{stem.name}_composed.png"
    cv2.imwrite(str(path), np.rint(depth_m * 1000).astype(np.uint16))
    _, sample = only_frame(tmp_path)
    assert_truths(sample.objects, degrees=0.5, millimetres=2.0, size_percent=2.0)


def test_a_camera_frame_takes_the_composed_depth_and_the_extents_of_the_map(tmp_path):
    drawn.camera_frame(tmp_path)
    dataset, sample = only_frame(tmp_path)
    assert sample.frame.intrinsics == drawn.CAMERA
    assert (sample.frame.depth_m > 0).all()
    assert_truths(sample.objects, degrees=0.2, millimetres=1.0, size_percent=1.5)
    assert not dataset.faults


def test_without_composed_depth_the_coded_depth_is_used_and_said(tmp_path):
    drawn.camera_frame(tmp_path, composed=False)
    dataset, sample = only_frame(tmp_path)
    assert ((sample.frame.depth_m > 0) == (sample.instance_ids > 0)).all()
    assert [f.problem for f in dataset.faults if "no composed depth" in f.problem]


def test_a_label_pickle_is_preferred_to_the_map(tmp_path):
    stem = drawn.real_frame(tmp_path)
    drawn.label_pickle(stem)
    Path(f"{stem}_coord.png").unlink()
    _, sample = only_frame(tmp_path)
    assert sample.nocs is None
    assert_truths(sample.objects, degrees=1e-3, millimetres=1e-3)


@pytest.mark.parametrize("models_known", [True, False])
def test_ground_truth_pickles_are_matched_by_model_or_by_box(tmp_path, models_known):
    drawn.camera_frame(tmp_path, split="val")
    content = drawn.result_content()
    if not models_known:
        del content["obj_list"]
    drawn.write_result(tmp_path, "gts/val", content)
    _, sample = only_frame(tmp_path)
    assert_truths(sample.objects, degrees=1e-5, millimetres=1e-6)


def test_published_detections_become_instances(tmp_path):
    drawn.camera_frame(tmp_path, split="val")
    ids = drawn.draw(drawn.things(), drawn.CAMERA)["ids"]
    detections = {
        "pred_masks": np.stack([ids == 1, ids == 2, ids == 2], axis=2),
        "pred_bboxes": np.array([[10, 20, 30, 40], [1, 2, 3, 4], [1, 2, 3, 4]]),
        "pred_class_ids": np.array([3, 5, 9]),
        "pred_scores": np.array([0.9, 0.8, 0.7], np.float32),
    }
    drawn.write_result(tmp_path, "segmentation_results/CAMERA25", detections)
    dataset, sample = only_frame(tmp_path)
    assert [(d.category, round(d.score, 3)) for d in sample.detections] == [("camera", 0.9), ("laptop", 0.8)]
    assert sample.detections[0].box2d.tolist() == [20, 10, 40, 30]
    assert (sample.detections[0].mask == (ids == 1)).all()
    assert "detection 2: class 9" in dataset.faults[0].problem


def test_the_truth_inside_published_detections_is_used_where_there_is_no_other(tmp_path):
    drawn.camera_frame(tmp_path, split="val")
    ids = drawn.draw(drawn.things(), drawn.CAMERA)["ids"]
    detections = {
        "pred_masks": np.zeros((*ids.shape, 0), bool),
        "pred_bboxes": np.zeros((0, 4), int),
        "pred_class_ids": np.zeros(0, int),
        "pred_scores": np.zeros(0),
    }
    drawn.write_result(tmp_path, "segmentation_results/CAMERA25", drawn.result_content() | detections)
    _, sample = only_frame(tmp_path)
    assert sample.detections == ()
    assert_truths(sample.objects, degrees=1e-5, millimetres=1e-6)


def test_splits_are_folders(tmp_path):
    for name in ("train/00000/0000", "train/00000/0001", "test/00000/0000"):
        drawn.own_frame(tmp_path, name)
    assert [len(open_dataset(tmp_path, s)) for s in (None, "train", "test")] == [3, 2, 1]
    assert [f.name for f in open_dataset(tmp_path, "train").frames] == ["train/00000/0000", "train/00000/0001"]
    assert len(open_dataset(tmp_path / "train")) == 2
    with pytest.raises(InputError, match="split 'val'"):
        open_dataset(tmp_path, "val")


def test_the_categories_of_a_synthetic_set_are_those_it_was_drawn_from(tmp_path):
    drawn.own_frame(tmp_path)
    assert len(open_dataset(tmp_path).categories) == 6
    (tmp_path / "dataset.json").write_text('{"categories": ["camera", "laptop", "shoe"]}')
    assert open_dataset(tmp_path).categories == ("camera", "laptop", "shoe")
    (tmp_path / "train" / "settings.json").write_text('{"scene": {"categories": null}}')
    assert open_dataset(tmp_path).categories == ("camera", "laptop", "shoe")
    (tmp_path / "train" / "settings.json").write_text('{"scene": {"categories": ["camera", "laptop"]}}')
    assert open_dataset(tmp_path / "train").categories == ("camera", "laptop")
    (tmp_path / "train" / "settings.json").write_text("{}")
    with pytest.raises(InputError, match=r"settings\.json"):
        open_dataset(tmp_path)


def test_a_list_file_saves_the_search(tmp_path):
    for number in range(3):
        drawn.own_frame(tmp_path, f"train/00000/000{number}")
    (tmp_path / "train_list.txt").write_text("train/00000/0000\ntrain/00000/0002\n")
    assert [f.name[-4:] for f in open_dataset(tmp_path, "train").frames] == ["0000", "0002"]


def test_no_folder_and_no_frames_are_said(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no frames"):
        open_dataset(tmp_path)


def test_an_empty_mask_gives_a_frame_without_objects(tmp_path):
    stem = drawn.own_frame(tmp_path)
    cv2.imwrite(f"{stem}_mask.png", np.full((120, 160), 255, np.uint8))
    dataset, sample = only_frame(tmp_path)
    assert sample.objects == ()
    assert "no instance" in dataset.faults[0].problem


def test_a_missing_meta_line_skips_its_instance_and_names_it(tmp_path):
    stem = drawn.real_frame(tmp_path)
    drawn.write_meta(stem, drawn.things()[:1])
    dataset, sample = only_frame(tmp_path)
    assert [o.instance_id for o in sample.objects] == [1]
    assert "no line for instance 2" in dataset.faults[0].problem


def test_a_malformed_meta_line_is_quoted(tmp_path):
    stem = drawn.real_frame(tmp_path)
    Path(f"{stem}_meta.txt").write_text("1 3 camera_a_norm\n2 laptop\n")
    dataset, sample = only_frame(tmp_path)
    assert [o.instance_id for o in sample.objects] == [1]
    assert any("line 2 is '2 laptop'" in f.problem for f in dataset.faults)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_m": [0.0, 0.0, 0.0]}, "three positive extents"),
        ({"size_m": [0.1, -0.1, 0.1]}, "three positive extents"),
        ({"T_cam_obj": np.full((4, 4), np.nan).tolist()}, "not finite"),
        ({"T_cam_obj": np.diag([1.0, 1.0, -1.0, 1.0]).tolist()}, "not a rotation"),
        ({"T_cam_obj": np.diag([2.0, 2.0, 2.0, 1.0]).tolist()}, "not a rotation"),
        ({"T_cam_obj": [1, 2, 3]}, "skipped"),
    ],
)
def test_an_impossible_truth_is_skipped_and_its_neighbour_kept(tmp_path, change, message):
    stem = drawn.own_frame(tmp_path)
    first, second = (drawn.truth_entry(t) for t in drawn.things())
    drawn.write_truth(stem, [first | change, second])
    dataset, sample = only_frame(tmp_path)
    assert [o.instance_id for o in sample.objects] == [2]
    assert message in dataset.faults[0].problem
    assert "_truth.json" in dataset.faults[0].file


def test_zero_scale_in_a_ground_truth_pickle_is_skipped(tmp_path):
    drawn.camera_frame(tmp_path, split="val")
    content = drawn.result_content()
    content["gt_RTs"][0, :3, :3] = 0.0
    drawn.write_result(tmp_path, "gts/val", content)
    dataset, sample = only_frame(tmp_path)
    assert [o.instance_id for o in sample.objects] == [1]
    assert len(dataset.faults) == 1


@pytest.mark.parametrize("suffix", ["_color.png", "_depth.png", "_mask.png", "_coord.png"])
def test_a_truncated_file_refuses_the_frame_and_readable_goes_on(tmp_path, suffix):
    stem = drawn.own_frame(tmp_path, "train/00000/0000")
    drawn.own_frame(tmp_path, "train/00000/0001")
    path = Path(f"{stem}{suffix}")
    path.write_bytes(path.read_bytes()[:100])
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=suffix):
        dataset[0]
    assert [s.name for s in dataset.readable()] == ["train/00000/0001"]
    assert [f.file for f in dataset.faults] == ["train/00000/0000"]


def test_a_frame_of_unknown_intrinsics_is_refused(tmp_path):
    stem = drawn.own_frame(tmp_path)
    Path(f"{stem}_intrinsics.json").unlink()
    with pytest.raises(InputError, match=r"put a 0000_intrinsics\.json beside it"):
        open_dataset(tmp_path)[0]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"fx": 0, "fy": 1, "cx": 0, "cy": 0}', '{"fx": NaN, "fy": 1, "cx": 0, "cy": 0}']
)
def test_broken_intrinsics_are_refused(tmp_path, content):
    stem = drawn.own_frame(tmp_path)
    Path(f"{stem}_intrinsics.json").write_text(content)
    with pytest.raises(InputError, match=r"_intrinsics\.json"):
        open_dataset(tmp_path)[0]


def test_a_mask_without_enough_depth_is_skipped(tmp_path):
    stem = drawn.camera_frame(tmp_path)
    path = tmp_path / "camera_full_depths" / "train" / "00000" / f"{stem.name}_composed.png"
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    depth[drawn.draw(drawn.things(), drawn.CAMERA)["ids"] == 2] = 0
    cv2.imwrite(str(path), depth)
    dataset, sample = only_frame(tmp_path)
    assert [o.instance_id for o in sample.objects] == [1]
    assert "0 pixels with depth" in dataset.faults[0].problem
