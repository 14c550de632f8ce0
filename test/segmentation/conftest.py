"""A segmenter model whose answer is known: an ONNX file that returns the constants it was written with."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mkpose_ros.types import CameraIntrinsics, RgbdFrame

onnx = pytest.importorskip("onnx")

CATEGORIES = ("bottle", "mug", "", "unicorn")


def write_constant_model(
    path: Path, boxes=(), scores=(), labels=(), size=28, kind_of_model="segmenter", **metadata
) -> Path:
    """An ONNX file of the segmenter's contract that finds the same things in every image, 96x128 if not stated."""
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    count = len(boxes)
    values = {
        "boxes": np.asarray(boxes, np.float32).reshape(count, 4),
        "scores": np.asarray(scores, np.float32).reshape(count),
        "labels": np.asarray(labels, np.int64).reshape(count),
        "masks": np.ones((count, 28, 28), np.float32),
    }
    described = {
        "kind": kind_of_model, "format_version": 1, "input_height": 96, "input_width": 128,
        "categories": CATEGORIES, **metadata,
    }  # fmt: skip
    # The number of rows depends on the image (times zero), as a detector's does, or all would be folded away.
    nodes = [
        helper.make_node("Cast", ["image"], ["integers"], to=onnx.TensorProto.INT64),
        helper.make_node("ReduceSum", ["integers"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "none"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["end"]),
    ]
    initializers = [
        from_array(np.int64(0), "none"),
        from_array(np.int64([count]), "rows"),
        from_array(np.int64([0]), "start"),
    ]
    outputs = []
    for name, value in values.items():
        padded = np.concatenate([value, np.zeros((1, *value.shape[1:]), value.dtype)])
        initializers.append(from_array(padded, f"all_{name}"))
        nodes.append(helper.make_node("Slice", [f"all_{name}", "start", "end", "start"], [name]))
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        outputs.append(helper.make_tensor_value_info(name, kind, ["N", *value.shape[1:]]))
    shape = described["input_height"], described["input_width"], 7 if described.get("relief") else 3
    image = helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, shape)
    graph = helper.make_graph(nodes, "constant", [image], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if kind_of_model != "other":
        helper.set_model_props(model, {"mkpose": json.dumps(described)})
    onnx.save(model, path)
    return path


@pytest.fixture
def constant_model(tmp_path):
    """Write such a model: constant_model(boxes, scores, labels, **metadata) -> its path."""

    def write(*arguments, **metadata) -> Path:
        return write_constant_model(tmp_path / "model.onnx", *arguments, **metadata)

    return write


def _make_frame(height=96, width=128, depth_m=1.0, value=90) -> RgbdFrame:
    """A grey frame of constant depth."""
    return RgbdFrame(
        rgb=np.full((height, width, 3), value, np.uint8),
        depth_m=np.full((height, width), depth_m, np.float32),
        intrinsics=CameraIntrinsics(100.0, 100.0, width / 2, height / 2, width, height),
    )


@pytest.fixture
def frame() -> RgbdFrame:
    return _make_frame()


@pytest.fixture
def make_frame():
    """make_frame(height, width, depth_m, value) -> a grey frame of constant depth."""
    return _make_frame


HEIGHT, WIDTH = 96, 128  # of the pictures


def write_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Discs ("bowl") and squares ("box") of one colour on a blurred background, with COCO annotations."""
    coco_mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in range(count):
        picture = cv2.resize(rng.integers(0, 90, (4, 5, 3), np.uint8), (WIDTH, HEIGHT))
        name = f"{index:03d}.png"
        images.append({"id": index, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for x in (32, 96):
            label = int(rng.integers(2))
            radius, y = int(rng.integers(12, 24)), int(rng.integers(28, 68))
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if label == 0:
                cv2.circle(mask, (x, y), radius, 1, -1)
            else:
                cv2.rectangle(mask, (x - radius, y - radius), (x + radius, y + radius), 1, -1)
            picture[mask > 0] = rng.integers(130, 255, 3)
            runs = coco_mask.encode(np.asfortranarray(mask))
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": index, "category_id": label + 1, "iscrowd": 0,
                    "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                    "area": int(mask.sum()), "bbox": coco_mask.toBbox(runs).tolist(),
                }
            )  # fmt: skip
        cv2.imwrite(str(folder / name), picture)
    categories = [{"id": 1, "name": "bowl"}, {"id": 2, "name": "box"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Twelve pictures with COCO annotations."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), 12)
