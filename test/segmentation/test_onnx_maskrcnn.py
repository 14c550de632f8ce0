"""The ONNX segmenter on a model whose answer is known, on good and on bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mkpose_ros.errors import DependencyError, InputError, ModelError
from mkpose_ros.segmentation import OutsideMasks, Segmenter, clean_instances, open_segmenter
from mkpose_ros.segmentation.canvas import letterbox
from mkpose_ros.segmentation.masks import mask_box
from mkpose_ros.segmentation.sessions import RUNTIMES
from mkpose_ros.types import Instance

BOX = (20.0, 30.0, 60.0, 80.0)


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    pytest.importorskip(request.param)
    return request.param


def test_a_detection_becomes_an_instance(constant_model, frame, runtime):
    segmenter = open_segmenter(runtime, constant_model([BOX], [0.9], [1]))
    (found,) = segmenter.segment(frame)
    assert isinstance(segmenter, Segmenter)
    assert (found.category, round(found.score, 3)) == ("mug", 0.9)
    assert mask_box(found.mask).tolist() == list(BOX)


def test_no_object_gives_an_empty_list(constant_model, frame, runtime):
    assert open_segmenter(runtime, constant_model()).segment(frame) == []


def test_a_black_image_is_a_normal_image(constant_model, make_frame, runtime):
    assert open_segmenter(runtime, constant_model()).segment(make_frame(value=0)) == []


@pytest.mark.parametrize("height", [2160, 480, 100, 75])
def test_boxes_scale_with_the_image(constant_model, make_frame, height):
    width = height * 4 // 3
    segmenter = open_segmenter("auto", constant_model([BOX], [0.9], [1]))
    (found,) = segmenter.segment(make_frame(height, width))
    assert found.mask.shape == (height, width)
    assert np.allclose(found.box2d, np.array(BOX) * height / 96)


def test_a_portrait_image_is_fitted_whole(constant_model, make_frame):
    segmenter = open_segmenter("auto", constant_model([(0, 0, 128, 96)], [0.9], [1]))
    (found,) = segmenter.segment(make_frame(192, 64))
    assert found.mask.mean() > 0.999  # all but the four corners
    assert found.box2d.tolist() == [0, 0, 64, 192]


def test_boxes_beyond_the_border_are_cut_there(constant_model, frame):
    segmenter = open_segmenter("auto", constant_model([(-20, -20, 30, 30), (110, 80, 200, 200)], [0.9, 0.8], [1, 1]))
    first, second = segmenter.segment(frame)
    assert first.box2d.tolist() == [0, 0, 30, 30]
    assert second.box2d.tolist() == [110, 80, 128, 96]


def test_overlapping_masks_are_parted_by_the_clean_up(constant_model, frame):
    segmenter = open_segmenter("auto", constant_model([(0, 0, 60, 60), (40, 0, 100, 60)], [0.9, 0.8], [1, 0]))
    raw = segmenter.segment(frame)
    assert (raw[0].mask & raw[1].mask).any()
    first, second = clean_instances(frame, raw)
    assert not (first.mask & second.mask).any()


def test_classes_to_skip_and_classes_without_a_description_are_left_out(constant_model, frame):
    segmenter = open_segmenter("auto", constant_model([BOX] * 4, [0.9] * 4, [2, 3, 99, 0]))
    assert [i.category for i in segmenter.segment(frame)] == ["bottle"]
    assert segmenter.skipped_classes == {"unicorn": 1, "label 99": 1}


def test_a_score_of_nan_is_no_detection(constant_model, frame):
    assert open_segmenter("auto", constant_model([BOX], [np.nan], [1])).segment(frame) == []


@pytest.mark.parametrize(
    "image", [np.zeros((96, 128), np.uint8), np.zeros((96, 128, 3)), np.zeros((0, 0, 3), np.uint8)]
)
def test_what_is_no_colour_image_is_refused(constant_model, frame, image):
    with pytest.raises(InputError, match="expected"):
        open_segmenter("auto", constant_model()).segment(replace(frame, rgb=image))


def test_an_onnx_file_of_another_model_is_refused(constant_model, runtime):
    with pytest.raises(ModelError, match="kind"):
        open_segmenter(runtime, constant_model(kind_of_model="other"))
    with pytest.raises(ModelError, match="pose"):
        open_segmenter(runtime, constant_model(kind_of_model="pose"))


def test_a_file_of_a_later_format_is_refused(constant_model):
    with pytest.raises(ModelError, match="format 9"):
        open_segmenter("auto", constant_model(format_version=9))


@pytest.mark.parametrize("content", [b"", b"no model at all" * 100])
def test_a_damaged_file_is_refused(tmp_path, runtime, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        open_segmenter(runtime, path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.onnx"):
        open_segmenter("auto", tmp_path / "nowhere.onnx")


def test_an_unknown_backend_lists_the_known_ones():
    with pytest.raises(InputError, match="onnxruntime"):
        open_segmenter("tensorflow")


def test_a_closed_segmenter_says_so(constant_model, frame):
    segmenter = open_segmenter("auto", constant_model())
    segmenter.close()
    segmenter.close()
    with pytest.raises(InputError, match="close"):
        segmenter.segment(frame)


def test_the_letterbox_keeps_the_aspect_and_fills_the_rest():
    canvas, scale = letterbox(np.full((50, 200, 3), 200, np.uint8), 96, 128, 127)
    assert scale == 128 / 200
    assert (canvas[:32] == 200).all()
    assert (canvas[32:] == 127).all()


def test_outside_masks_wait_for_their_frame(frame):
    source = OutsideMasks(capacity=2)
    found = Instance(np.ones((96, 128), bool), np.float32([0, 0, 128, 96]), "mug", 1.0)
    for stamp_ns in (1, 2, 3):
        source.put(stamp_ns, [found])
    assert source.segment(replace(frame, stamp_ns=1)) == []  # forgotten: more than the capacity
    assert source.segment(replace(frame, stamp_ns=3)) == [found]
    assert source.segment(replace(frame, stamp_ns=3)) == []  # used up
    assert source.segment(replace(frame, stamp_ns=7)) == []


def test_outside_masks_of_another_size_are_refused(frame):
    source = OutsideMasks()
    source.put(0, [Instance(np.ones((5, 5), bool), np.float32([0, 0, 5, 5]), "mug", 1.0)])
    with pytest.raises(InputError, match="pixel grid"):
        source.segment(frame)


def test_detectron2_that_is_missing_is_explained(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "detectron2", None)
    with pytest.raises(DependencyError, match="detectron2"):
        open_segmenter("detectron2", "weights.pth", config_path="config.yaml")
