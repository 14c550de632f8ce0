"""The shipped models: each engine gives torch's numbers on real crops, and TensorRT-RTX can build them."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from mkpose_ros.inference.base import OUTPUTS
from mkpose_ros.inference.engine import open_engine
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.metadata import read_metadata
from mkpose_ros.inference.tensorrt_builder import build_plan, load_tensorrt
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.types import CameraIntrinsics, Instance, RgbdFrame

MODELS = Path(__file__).parents[2] / "models"
HEIGHT, WIDTH = 240, 320
TOLERANCE = 1e-4  # metres, radians and the entries of rotations


def _shipped(*names: str) -> list[Path]:
    return [MODELS / size for size in ("small", "base") if all((MODELS / size / name).is_file() for name in names)]


def _frame() -> tuple[RgbdFrame, list[Instance]]:
    """Spheres of several sizes on a tilted table: smooth surfaces with shading, as a camera sees them."""
    k = CameraIntrinsics(300.0, 300.0, 159.5, 119.5, WIDTH, HEIGHT)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u, float)], axis=-1)
    depth_m = 0.9 / (1.0 + 0.4 * rays[..., 1])
    shade = np.full((HEIGHT, WIDTH), 0.7)
    instances = []
    spheres = (("mug", -0.1, 0.0, 0.05), ("bottle", 0.1, 0.05, 0.08))
    for category, x, y, radius in spheres:
        centre = np.array([x, y, 0.75])
        squared = (rays**2).sum(axis=-1)
        along = rays @ centre / squared
        inside = along**2 - (centre @ centre - radius**2) / squared
        mask = inside > 0.0
        depth_m[mask] = (along - np.sqrt(np.maximum(inside, 0.0)))[mask]
        normal = (rays * depth_m[..., None] - centre) / radius
        shade[mask] = np.clip(-normal[..., 1], 0.15, 1.0)[mask]
        rows, columns = np.nonzero(mask)
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
        instances.append(Instance(mask, box, category, 1.0))
    rgb = (shade[..., None] * [220.0, 180.0, 140.0]).astype(np.uint8)
    return RgbdFrame(rgb, depth_m.astype(np.float32), k), instances


@lru_cache  # torch takes seconds, and two engines are compared with it
def _outputs(model: Path, backend: str) -> dict[str, np.ndarray]:
    estimator = PoseEstimator(open_engine(model, backend), load_text_features())
    return estimator.run(estimator.prepare(*_frame()))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("model", _shipped("model.onnx", "model.safetensors"), ids=lambda path: path.name)
def test_an_engine_gives_torchs_numbers_on_crops(model, backend):
    expected, got = _outputs(model, "torch"), _outputs(model, backend)
    for name in OUTPUTS:
        scale = max(1.0, float(np.abs(expected[name]).max()))
        np.testing.assert_allclose(got[name], expected[name], atol=TOLERANCE * scale, err_msg=name)


@pytest.mark.parametrize("model", _shipped("model.onnx"), ids=lambda path: path.name)
def test_a_batch_gives_what_its_instances_give_alone(model):
    estimator = PoseEstimator(open_engine(model, "onnxruntime"), load_text_features())
    inputs = estimator.prepare(*_frame()).inputs
    together = estimator.engine.infer(inputs)
    for row in range(len(inputs["image"])):
        alone = estimator.engine.infer({name: value[row : row + 1] for name, value in inputs.items()})
        for name in OUTPUTS:
            np.testing.assert_allclose(together[name][row], alone[name][0], atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("model", _shipped("model.onnx"), ids=lambda path: path.name)
def test_poses_of_the_shipped_model_lie_at_the_objects(model):
    frame, instances = _frame()
    estimator = PoseEstimator(open_engine(model), load_text_features())
    poses = estimator.estimate(frame, instances)
    assert [p.category for p in poses] == [i.category for i in instances]
    for pose, instance in zip(poses, instances, strict=True):
        assert abs(pose.T_cam_obj[2, 3] - np.median(frame.depth_m[instance.mask])) < 0.15
        assert np.linalg.eigvalsh(pose.covariance).min() > 0.0


@pytest.mark.parametrize("model", _shipped("model.onnx"), ids=lambda path: path.name)
def test_the_shipped_text_features_are_those_that_the_model_was_trained_on(model):
    metadata = read_metadata(model / "model.onnx")
    features = load_text_features()
    assert set(metadata.categories) <= set(features.names)
    if metadata.text_hash:
        assert metadata.text_hash in (features.fingerprint(features.names), features.fingerprint(metadata.categories))


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("model", _shipped("model.onnx"), ids=lambda path: path.name)
def test_tensorrt_rtx_parses_and_builds_the_shipped_model_without_a_gpu(model):
    assert len(build_plan(load_tensorrt("tensorrt-rtx"), model / "model.onnx", batches=(8,))) > 1_000_000


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
@pytest.mark.parametrize("model", _shipped("model_fp16.onnx"), ids=lambda path: path.name)
def test_tensorrt_rtx_builds_the_half_typed_model_with_every_profile(model):
    assert len(build_plan(load_tensorrt("tensorrt-rtx"), model / "model_fp16.onnx")) > 1_000_000
