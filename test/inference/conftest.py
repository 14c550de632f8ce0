"""A tiny exported model with MK-Pose's inputs and outputs, whose answers are easy to compute by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mkpose_ros.inference.base import PoseEngine
from mkpose_ros.inference.metadata import ModelMetadata, parse_metadata
from mkpose_ros.inference.text_features import TextFeatures

sys.path.insert(0, str(Path(__file__).parent))  # fake_nvidia.py

CROP_PX, N_POINTS, TOKENS, TEXT_DIM, KEYPOINTS = 16, 32, 4, 6, 8
METADATA = {
    "format_version": 1,
    "size": "tiny",
    "crop_px": CROP_PX,
    "n_points": N_POINTS,
    "categories": ["mug", "bottle"],
    "text_hash": "0" * 8,
    "calibration": {},
}


def write_tiny_model(path: Path, metadata: dict | None = None, tokens: int = TOKENS, text_dim: int = TEXT_DIM) -> Path:
    """translation = mean of the points; size = their extent + the image's mean / 1000 + the text's |mean|."""
    batch = "B"
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, CROP_PX, CROP_PX, 3]),
        helper.make_tensor_value_info("points", TensorProto.FLOAT, [batch, N_POINTS, 3]),
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, N_POINTS, 2]),
        helper.make_tensor_value_info("text", TensorProto.FLOAT, [batch, tokens, text_dim]),
        helper.make_tensor_value_info("text_mask", TensorProto.FLOAT, [batch, tokens]),
    ]
    shapes = {
        "rotation": [batch, 3, 3],
        "translation": [batch, 3],
        "size": [batch, 3],
        "keypoints": [batch, KEYPOINTS, 3],
        "nocs": [batch, KEYPOINTS, 3],
        "log_variance": [batch, 6],
        "axis_symmetric": [batch],
    }
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    constants = {
        "points_axis": np.array([1]),
        "image_axes": np.array([1, 2, 3]),
        "last_axis": np.array([1]),
        "text_axes": np.array([1, 2]),
        "eye": np.eye(3, dtype=np.float32)[None],
        "zero": np.float32(0.0),
        "milli": np.float32(1e-3),
        "variance": np.log(np.float32([[1e-4, 1e-4, 1e-4, 1e-2, 4e-2, 9e-2]])),
        "start": np.array([0]),
        "stop": np.array([KEYPOINTS]),
    }
    n = helper.make_node
    nodes = [
        n("ReduceMean", ["points", "points_axis"], ["translation"], keepdims=0),
        n("ReduceMax", ["points", "points_axis"], ["high"], keepdims=0),
        n("ReduceMin", ["points", "points_axis"], ["low"], keepdims=0),
        n("Sub", ["high", "low"], ["extent"]),
        n("Cast", ["image"], ["colours"], to=TensorProto.FLOAT),
        n("ReduceMean", ["colours", "image_axes"], ["grey"], keepdims=0),
        n("Unsqueeze", ["grey", "last_axis"], ["grey1"]),
        n("Mul", ["grey1", "milli"], ["grey_m"]),
        n("Add", ["extent", "grey_m"], ["size0"]),
        n("Unsqueeze", ["text_mask", "text_axis2"], ["mask3"]),
        n("Mul", ["text", "mask3"], ["masked_text"]),
        n("ReduceMean", ["masked_text", "text_axes"], ["text_mean"], keepdims=0),
        n("Abs", ["text_mean"], ["text_part"]),
        n("Unsqueeze", ["text_part", "last_axis"], ["text_part1"]),
        n("Add", ["size0", "text_part1"], ["size"]),
        n("Mul", ["grey1", "zero"], ["nothing"]),
        n("Unsqueeze", ["nothing", "last_axis"], ["nothing3"]),
        n("Add", ["nothing3", "eye"], ["rotation"]),
        n("Add", ["nothing", "variance"], ["log_variance"]),
        n("Mul", ["grey", "zero"], ["axis_symmetric"]),
        n("Slice", ["points", "start", "stop", "points_axis"], ["keypoints"]),
        n("ReduceMean", ["pixels", "points_axis"], ["pixel_mean"], keepdims=0),
        n("ReduceSum", ["pixel_mean", "points_axis"], ["pixel_sum"], keepdims=0),
        n("Unsqueeze", ["pixel_sum", "last_axis"], ["pixel_sum1"]),
        n("Unsqueeze", ["pixel_sum1", "last_axis"], ["pixel_sum3"]),
        n("Add", ["keypoints", "pixel_sum3"], ["nocs"]),
    ]
    constants["text_axis2"] = np.array([2])
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"mkpose": json.dumps(METADATA | (metadata or {}))})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def make_tiny_model() -> Callable[..., Path]:
    return write_tiny_model


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model" / "model.onnx")


@pytest.fixture
def make_inputs() -> Callable[..., dict[str, np.ndarray]]:
    """Random inputs of the tiny model; make_inputs(batch, seed=0)."""

    def make(batch: int, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {
            "image": rng.integers(0, 256, (batch, CROP_PX, CROP_PX, 3), dtype=np.uint8),
            "points": rng.normal(0.0, 0.05, (batch, N_POINTS, 3)).astype(np.float32),
            "pixels": rng.uniform(-1.0, 1.0, (batch, N_POINTS, 2)).astype(np.float32),
            "text": rng.uniform(0.0, 0.01, (batch, TOKENS, TEXT_DIM)).astype(np.float32),
            "text_mask": (rng.random((batch, TOKENS)) < 0.8).astype(np.float32),
        }

    return make


class FakeEngine(PoseEngine):
    """Answers each instance with a fixed pose; `change` may spoil the answers of rows: change(outputs)."""

    name = "fake"

    def __init__(self, metadata: ModelMetadata, change: Callable[[dict], None] | None = None) -> None:
        self.metadata, self.change, self.seen, self.batches = metadata, change, None, []

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.seen = inputs
        batch = len(inputs["points"])
        self.batches.append(batch)
        outputs = {
            "rotation": np.tile(np.eye(3, dtype=np.float32), (batch, 1, 1)),
            "translation": np.zeros((batch, 3), np.float32),
            "size": np.tile(np.float32([0.1, 0.2, 0.3]), (batch, 1)),
            "keypoints": inputs["points"][:, :KEYPOINTS],
            "nocs": np.zeros((batch, KEYPOINTS, 3), np.float32),
            "log_variance": np.tile(np.log(np.float32([1e-4, 2e-4, 3e-4, 0.01, 0.02, 0.03])), (batch, 1)),
            "axis_symmetric": np.zeros(batch, np.float32),
        }
        if self.change:
            self.change(outputs)
        return outputs

    def close(self) -> None:
        self.seen = None


@pytest.fixture
def make_engine() -> Callable[..., FakeEngine]:
    """make_engine(change=None, **metadata): a FakeEngine with the tiny model's metadata."""

    def make(change: Callable[[dict], None] | None = None, **metadata: object) -> FakeEngine:
        return FakeEngine(parse_metadata(json.dumps(METADATA | metadata), Path("fake.onnx")), change)

    return make


@pytest.fixture
def text_features() -> TextFeatures:
    rng = np.random.default_rng(0)
    names = ("mug", "bottle", "camera", "box", "gadget")
    return TextFeatures({n: rng.normal(size=(2 + i % 3, TEXT_DIM)) for i, n in enumerate(names)}, tokens=TOKENS)
