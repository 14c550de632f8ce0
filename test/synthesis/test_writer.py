"""What is written is what was rendered, whole or not at all, and the same whoever wrote it."""

from __future__ import annotations

import json
import pickle
import pickletools
import shutil

import cv2
import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.dataset import DatasetConfig, write_dataset
from mkpose_ros.synthesis.generate import GeneratedFrame
from mkpose_ros.synthesis.scene import SceneConfig
from mkpose_ros.synthesis.writer import CATEGORIES, is_complete, read_truth, write_coco, write_frame
from mkpose_ros.types import CameraIntrinsics, FrameSample, RgbdFrame

SMALL = SceneConfig(width=160, height=120)


@pytest.fixture(scope="module")
def written(generator, tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    frames = [generator.generate(i) for i in range(2)]
    for frame in frames:
        write_frame(root, frame)
    return root, frames


def file(root, frame, suffix):
    return root / f"{frame.sample.name}{suffix}"


def test_images_come_back_as_they_were(written):
    root, frames = written
    for frame in frames:
        sample = frame.sample
        color = cv2.imread(str(file(root, frame, "_color.png")), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(color[..., ::-1], sample.frame.rgb)
        depth = cv2.imread(str(file(root, frame, "_depth.png")), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16
        np.testing.assert_allclose(depth / 1000.0, sample.frame.depth_m, atol=0.00051)
        mask = cv2.imread(str(file(root, frame, "_mask.png")), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(np.where(mask == 255, 0, mask), sample.instance_ids)
        coord = cv2.imread(str(file(root, frame, "_coord.png")), cv2.IMREAD_UNCHANGED)[..., ::-1] / 255.0
        seen = sample.instance_ids > 0
        coord[..., 2] = 1.0 - coord[..., 2]  # the layout's habit
        np.testing.assert_allclose(coord[seen], sample.nocs[seen], atol=0.51 / 255)


def test_our_own_reader_returns_the_truth_to_the_last_bit(written):
    from mkpose_ros.datasets import open_dataset

    root, frames = written
    (root / "dataset.json").write_text(json.dumps({"categories": CATEGORIES}))
    dataset = open_dataset(root)
    assert len(dataset) == len(frames)
    for read, frame in zip(dataset, frames, strict=True):
        assert read.name == frame.sample.name
        assert read.frame.intrinsics == frame.sample.frame.intrinsics
        assert [o.instance_id for o in read.objects] == [o.instance_id for o in frame.sample.objects]
        for a, b in zip(read.objects, frame.sample.objects, strict=True):
            np.testing.assert_allclose(a.T_cam_obj, b.T_cam_obj, atol=1e-12)
            np.testing.assert_array_equal(a.size_m, b.size_m)
            assert (a.category, a.model, a.symmetry, a.handle_visible) == (
                b.category, b.model, b.symmetry, b.handle_visible,
            )  # fmt: skip


def test_pickles_hold_numpy_and_builtins_only_and_have_the_keys_of_the_field(written):
    root, frames = written
    for frame in frames:
        paths = [file(root, frame, "_label.pkl"), *(root / "gts").rglob("*.pkl")]
        for path in paths:
            content = path.read_bytes()
            names = {str(arg) for op, arg, _ in pickletools.genops(content) if op.name in ("GLOBAL", "STACK_GLOBAL")}
            assert all(name.startswith(("numpy", "_codecs encode")) for name in names), names
        label = pickle.loads(paths[0].read_bytes())
        truths = {o.instance_id: o for o in frame.sample.objects}
        assert label["instance_ids"] == list(truths)
        for i, o in enumerate(truths.values()):
            np.testing.assert_allclose(label["rotations"][i], o.T_cam_obj[:3, :3], atol=1e-6)
            np.testing.assert_allclose(label["translations"][i], o.T_cam_obj[:3, 3], atol=1e-6)
            np.testing.assert_allclose(label["sizes"][i] * label["scales"][i], o.size_m, rtol=1e-6)
            y0, x0, y1, x1 = label["bboxes"][i]
            assert (frame.sample.instance_ids[y0:y1, x0:x1] == o.instance_id).sum() == (
                frame.sample.instance_ids == o.instance_id
            ).sum()


def test_evaluator_pickles_carry_the_scale_in_the_pose(written):
    root, frames = written
    name = frames[0].sample.name.replace("/", "_")
    gts = pickle.loads((root / "gts" / "val" / f"results_{name}.pkl").read_bytes())
    assert {"gt_class_ids", "gt_RTs", "gt_scales", "gt_bboxes", "gt_handle_visibility", "image_path"} <= set(gts)
    for RT, extents, o in zip(gts["gt_RTs"], gts["gt_scales"], frames[0].sample.objects, strict=True):
        scale = np.cbrt(np.linalg.det(RT[:3, :3]))
        np.testing.assert_allclose(scale * extents, o.size_m, rtol=1e-5)
        assert np.linalg.norm(extents) == pytest.approx(1.0, rel=1e-5)


def test_meta_lines_name_instance_class_and_model(written):
    root, frames = written
    lines = [line.split() for line in file(root, frames[0], "_meta.txt").read_text().splitlines()]
    assert [(int(i), CATEGORIES[int(c) - 1], m) for i, c, m in lines] == [
        (o.instance_id, o.category, o.model) for o in frames[0].sample.objects
    ]
    assert CATEGORIES[:6] == ("bottle", "bowl", "camera", "can", "laptop", "mug")


def test_coco_annotations_decode_to_the_masks(written):
    coco_mask = pytest.importorskip("pycocotools.mask")
    root, frames = written
    count = write_coco(root, "val", [root / f.sample.name for f in frames])
    coco = json.loads((root / "val" / "annotations.json").read_text())
    assert count == len(coco["annotations"]) == sum(len(f.sample.objects) for f in frames)
    first = [a for a in coco["annotations"] if a["image_id"] == 1]
    for entry, o in zip(first, frames[0].sample.objects, strict=True):
        mask = coco_mask.decode(entry["segmentation"]) > 0
        np.testing.assert_array_equal(mask, frames[0].sample.instance_ids == o.instance_id)
        assert entry["area"] == mask.sum()
        assert coco["categories"][entry["category_id"] - 1]["name"] == o.category
    assert (root / "val" / coco["images"][0]["file_name"]).is_file()


@pytest.mark.parametrize("suffix", ["_color.png", "_label.pkl", "_truth.json", "_depth.png"])
def test_a_damaged_or_missing_file_makes_the_frame_incomplete(written, tmp_path, suffix):
    root, frames = written
    shutil.copytree(root, tmp_path / "copy")
    stem = tmp_path / "copy" / frames[0].sample.name
    assert is_complete(stem)
    path = file(tmp_path / "copy", frames[0], suffix)
    path.write_bytes(path.read_bytes()[:-20])
    assert not is_complete(stem)
    path.unlink()
    assert not is_complete(stem)


def test_a_frame_without_objects_and_without_depth_is_written_and_read(tmp_path):
    k = CameraIntrinsics(50.0, 50.0, 15.5, 11.5, 32, 24)
    frame = RgbdFrame(np.zeros((24, 32, 3), np.uint8), np.full((24, 32), np.nan, np.float32), k)
    sample = FrameSample(frame, np.zeros((24, 32), np.int32), (), "val/00000/0000")
    assert write_frame(tmp_path, GeneratedFrame(sample, "perfect", {}, frame.depth_m)) == 0
    assert is_complete(tmp_path / sample.name)
    assert not cv2.imread(str(tmp_path / "val/00000/0000_depth.png"), cv2.IMREAD_UNCHANGED).any()


def snapshot(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.usefixtures("renderer")
def test_a_set_is_resumed_after_a_kill_and_does_not_depend_on_workers(tmp_path):
    whole = write_dataset(DatasetConfig(tmp_path / "a", 4, 3, "val", SMALL))
    assert (whole.frames, whole.rendered) == (4, 4)
    # A kill leaves whole frames, one half-written frame and a temporary file.
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b/val/00000/0002_truth.json").unlink()
    (tmp_path / "b/val/00000/0003_color.png").write_bytes(b"half")
    (tmp_path / "b/val/annotations.json").unlink()
    again = write_dataset(DatasetConfig(tmp_path / "b", 4, 3, "val", SMALL), workers=2)
    assert (again.frames, again.rendered, again.instances) == (4, 2, whole.instances)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    assert write_dataset(DatasetConfig(tmp_path / "b", 4, 3, "val", SMALL)).rendered == 0
    assert read_truth(tmp_path / "b/val/00000/0002")["width"] == 160


def test_a_folder_with_other_settings_is_refused(tmp_path):
    write_dataset(DatasetConfig(tmp_path, 0, 1, "val", SMALL))
    with pytest.raises(InputError, match="other settings"):
        write_dataset(DatasetConfig(tmp_path, 0, 2, "val", SMALL))
