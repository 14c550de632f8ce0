"""HouseCat6D's folders."""

from __future__ import annotations

import drawn
import numpy as np
import pytest

from mkpose_ros.categories import HOUSECAT6D_CATEGORIES
from mkpose_ros.datasets import open_dataset
from mkpose_ros.errors import InputError


def test_a_scene_is_read_with_metric_sizes_and_its_own_intrinsics(tmp_path):
    drawn.housecat_scene(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (dataset.name, dataset.categories) == ("housecat6d", HOUSECAT6D_CATEGORIES)
    sample = dataset[0]
    assert (sample.name, sample.frame.intrinsics) == ("test_scene1/000000", drawn.OWN)
    assert [o.category for o in sample.objects] == ["box", "shoe"]
    for truth, thing in zip(sample.objects, drawn.things(), strict=True):
        assert truth.T_cam_obj == pytest.approx(thing.T)
        assert truth.size_m == pytest.approx(thing.size_m)
        assert (sample.instance_ids == truth.instance_id).sum() > 100


def test_splits_follow_the_names_of_scenes(tmp_path):
    for name in ("scene01", "val_scene1", "test_scene1", "test_scene2"):
        drawn.housecat_scene(tmp_path, name)
    assert [len(open_dataset(tmp_path, s)) for s in ("train", "val", "test", None)] == [1, 1, 2, 4]
    assert len(open_dataset(tmp_path / "scene01")) == 1


def test_faults_are_named(tmp_path):
    scene = drawn.housecat_scene(tmp_path)
    (scene / "labels" / "000000_label.pkl").unlink()
    with pytest.raises(InputError, match=r"000000_label\.pkl"):
        open_dataset(tmp_path)[0]
    (scene / "intrinsics.txt").write_text("1 2 3")
    with pytest.raises(InputError, match="camera matrix"):
        open_dataset(tmp_path)[0]


def test_objects_without_pixels_are_left_out(tmp_path):
    scene = drawn.housecat_scene(tmp_path)
    import cv2

    cv2.imwrite(str(scene / "instance" / "000000.png"), np.full((120, 160, 3), 2, np.uint8))
    assert [o.instance_id for o in open_dataset(tmp_path)[0].objects] == [2]
