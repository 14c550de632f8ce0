"""The pieces of the compact Mask R-CNN against their definitions and against ONNX Runtime's operators."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from mkpose_ros.segmentation.maskrcnn.boxes import (  # noqa: E402
    anchors_of_level,
    box_iou,
    clip_boxes,
    decode,
    encode,
    nms,
    offset_by_group,
)
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig  # noqa: E402
from mkpose_ros.segmentation.maskrcnn.roi_align import pyramid_level, roi_align, roi_align_pyramid  # noqa: E402


def random_boxes(count, side=200.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * side * 0.8
    size = torch.rand(count, 2, generator=generator) * side * 0.2 + 1.0
    return torch.cat([corner, corner + size], dim=1)


def run_node(node, inputs, outputs):
    """One ONNX operator, run by ONNX Runtime."""
    values = [
        onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in inputs.items()
    ]
    result = [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    graph = onnx.helper.make_graph([node], "one", values, result)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0]


@pytest.mark.parametrize("size", [7, 14])
def test_roi_align_is_the_operator_of_onnx(size):
    features = torch.randn(5, 24, 32, generator=torch.Generator().manual_seed(1))
    boxes = clip_boxes(random_boxes(20, 120.0) + 3.0, 96, 128)
    node = onnx.helper.make_node(
        "RoiAlign", ["x", "rois", "batch"], ["y"], coordinate_transformation_mode="half_pixel", mode="avg",
        output_height=size, output_width=size, sampling_ratio=2, spatial_scale=0.25,
    )  # fmt: skip
    inputs = {"x": features[None].numpy(), "rois": boxes.numpy(), "batch": np.zeros(20, np.int64)}
    expected = run_node(node, inputs, {"y": onnx.TensorProto.FLOAT})
    assert np.abs(roi_align(features, boxes, size, 0.25).numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
def test_nms_is_the_operator_of_onnx(iou):
    boxes = random_boxes(300)
    scores = torch.rand(300, generator=torch.Generator().manual_seed(2))
    node = onnx.helper.make_node("NonMaxSuppression", ["boxes", "scores", "max", "iou", "min"], ["kept"])
    inputs = {
        "boxes": boxes[None].numpy(), "scores": scores[None, None].numpy(), "max": np.int64([40]),
        "iou": np.float32([iou]), "min": np.float32([0.2]),
    }  # fmt: skip
    expected = run_node(node, inputs, {"kept": onnx.TensorProto.INT64})[:, 2]
    assert nms(boxes, scores, iou, 40, 0.2).tolist() == expected.tolist()


def test_nms_of_nothing_is_nothing():
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 10, 0.0).tolist() == []


def test_boxes_of_two_groups_do_not_suppress_each_other():
    boxes = random_boxes(1).repeat(2, 1)
    apart = offset_by_group(boxes, torch.tensor([0, 1]), 200.0)
    assert len(nms(boxes, torch.tensor([0.9, 0.8]), 0.5, 10, 0.0)) == 1
    assert len(nms(apart, torch.tensor([0.9, 0.8]), 0.5, 10, 0.0)) == 2


def test_boxes_survive_the_coding():
    boxes, anchors = random_boxes(50, seed=3), random_boxes(50, seed=4)
    weights = (10.0, 10.0, 5.0, 5.0)
    assert torch.allclose(decode(encode(boxes, anchors, weights), anchors, weights), boxes, atol=1e-3)


def test_the_overlap_of_a_box_with_its_shifted_self():
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    shifted = torch.tensor([[5.0, 0.0, 15.0, 10.0], [10.0, 0.0, 20.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    assert torch.allclose(box_iou(box, shifted), torch.tensor([[1 / 3, 0.0, 1.0]]))


def test_anchors_are_centred_on_their_cells_with_the_wanted_areas():
    config = MaskRcnnConfig(categories=("mug",), input_height=96, input_width=128, anchor_sizes=((10, 20),) * 4)
    anchors = anchors_of_level(config, 3)
    assert anchors.shape == (12 * 16 * 6, 4)
    first = anchors[:6]
    assert torch.allclose((first[:, :2] + first[:, 2:]) / 2, torch.tensor(4.0))
    size = first[:, 2:] - first[:, :2]
    assert torch.allclose(size.prod(dim=1).sqrt(), torch.tensor([10.0, 10, 10, 20, 20, 20]))
    assert torch.allclose(size[:, 1] / size[:, 0], torch.tensor([0.5, 1, 2, 0.5, 1, 2]))


def test_larger_boxes_are_pooled_from_coarser_levels():
    boxes = torch.tensor([[0, 0, 20, 20], [0, 0, 112, 112], [0, 0, 224, 224], [0, 0, 2000, 2000]], dtype=torch.float32)
    assert pyramid_level(boxes).tolist() == [2, 3, 4, 5]


def test_pooling_from_a_pyramid_takes_each_box_from_its_level():
    pyramid = {f"p{level}": torch.full((1, 3, 256 >> level, 256 >> level), float(level)) for level in (2, 3, 4, 5)}
    boxes = torch.tensor([[10, 10, 30, 30], [10, 10, 240, 240], [10, 10, 130, 130]], dtype=torch.float32)
    pooled = roi_align_pyramid(pyramid, 0, boxes, 7)
    assert pooled.mean(dim=(1, 2, 3)).tolist() == [2.0, 4.0, 3.0]
    assert roi_align_pyramid(pyramid, 0, torch.zeros(0, 4), 7).shape == (0, 3, 7, 7)
