"""Exported models against torch, in every engine that can run or build them here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mkpose_ros.errors import InputError
from mkpose_ros.inference.base import INPUTS, OUTPUTS
from mkpose_ros.inference.metadata import read_metadata
from mkpose_ros.network.config import load_config
from mkpose_ros.network.export import (
    compare_outputs,
    export_model,
    export_onnx,
    random_inputs,
    run_onnxruntime,
    run_torch,
)
from mkpose_ros.network.model import MKPose, save_checkpoint


@pytest.fixture(scope="session")
def exported(tiny: MKPose, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """tiny, exported once from a checkpoint: tracing takes long."""
    folder = tmp_path_factory.mktemp("export")
    save_checkpoint(tiny, folder / "tiny.safetensors", {"categories": ["mug"], "text_hash": "abc"})
    return export_onnx(folder / "tiny.safetensors", folder / "tiny.onnx")


def test_onnx_runtime_and_openvino_agree_with_torch(exported: dict) -> None:
    assert "onnxruntime" in exported["agreement"]
    for engine, differences in exported["agreement"].items():
        assert set(differences) == set(OUTPUTS)
        assert max(differences.values()) < 1e-4, engine


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_every_batch_size_agrees(exported: dict, tiny: MKPose, batch: int) -> None:
    inputs = random_inputs(tiny.config, batch, seed=batch)
    differences = compare_outputs(run_torch(tiny, inputs), run_onnxruntime(Path(exported["path"]), inputs))
    assert max(differences.values()) < 1e-4


def test_the_graph_has_the_agreed_names_types_and_metadata(exported: dict, tiny: MKPose) -> None:
    model = onnx.load(exported["path"])
    assert [i.name for i in model.graph.input] == list(INPUTS)
    assert [o.name for o in model.graph.output] == list(OUTPUTS)
    assert all(i.type.tensor_type.shape.dim[0].dim_param for i in model.graph.input)
    metadata = read_metadata(Path(exported["path"]))
    assert (metadata.size, metadata.crop_px, metadata.n_points) == ("tiny", 32, 32)
    assert metadata.n_centres == tiny.config.point[0].points
    assert (metadata.categories, metadata.text_hash) == (("mug",), "abc")


def test_half_precision_is_half_typed_inside_and_float_outside(exported: dict, tiny: MKPose, tmp_path: Path) -> None:
    result = export_model(tiny, tmp_path / "half.onnx", "fp16", traced=Path(exported["path"]))
    model = onnx.load(tmp_path / "half.onnx")
    halves = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert sum(np.prod(t.dims) for t in halves) > 0.9 * sum(p.numel() for p in tiny.parameters())
    assert {o.type.tensor_type.elem_type for o in model.graph.output} == {onnx.TensorProto.FLOAT}
    assert result["megabytes"] < exported["megabytes"]
    assert 0 < result["agreement"]["onnxruntime"]["rotation"] < 0.05


def test_int8_needs_calibration_and_stays_close(exported: dict, tiny: MKPose, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="calibration"):
        export_model(tiny, tmp_path / "int8.onnx", "int8", traced=Path(exported["path"]))
    batches = [random_inputs(tiny.config, 4, seed) for seed in range(2)]
    result = export_model(tiny, tmp_path / "int8.onnx", "int8", {}, batches, Path(exported["path"]))
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert 0 < result["agreement"]["onnxruntime"]["rotation"] < 0.2


def test_an_unknown_precision_lists_the_known_ones(tiny: MKPose, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fp32, fp16, int8"):
        export_model(tiny, tmp_path / "x.onnx", "fp8")


def test_the_command_writes_the_file_and_reports_it_as_json(tiny: MKPose, tmp_path: Path, monkeypatch) -> None:
    from click.testing import CliRunner

    from mkpose_ros.commands.export import export

    calls = []

    def fake(checkpoint: Path, path: Path, precision: str, calibration: tuple, traced: Path | None) -> dict:
        calls.append((path.name, precision, traced and traced.name))
        return {"path": str(path), "precision": precision, "megabytes": 1.0, "agreement": {"x": {"rotation": 1e-6}}}

    monkeypatch.setattr("mkpose_ros.network.export.export_onnx", fake)
    arguments = ["--checkpoint", str(tmp_path / "m.safetensors"), "--precision", "fp16", "--precision", "fp32"]
    result = CliRunner().invoke(export, [*arguments, "--json", str(tmp_path / "r.json")], catch_exceptions=False)
    assert result.exit_code == 0
    assert calls == [("model.onnx", "fp32", None), ("model_fp16.onnx", "fp16", "model.onnx")]
    assert [f["precision"] for f in json.loads((tmp_path / "r.json").read_text())["files"]] == ["fp32", "fp16"]


def test_tensorrt_rtx_parses_supports_and_builds_every_part(exported: dict) -> None:
    build_with_rtx(Path(exported["path"]))


MODELS = Path(__file__).parents[2] / "models"
SHIPPED = [path for size in ("small", "base") for path in MODELS.glob(f"{size}/model.onnx")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parent.name)
def test_tensorrt_rtx_parses_supports_and_builds_the_shipped_models(path: Path) -> None:
    build_with_rtx(path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("size", ["small", "base"])
def test_both_sizes_agree_and_build(tmp_path: Path, size: str, precision: str) -> None:
    torch.manual_seed(0)
    model = MKPose(load_config(size)).eval()
    result = export_model(model, tmp_path / "model.onnx", precision)
    for differences in result["agreement"].values():
        assert max(differences.values()) < (1e-4 if precision == "fp32" else 0.05)
    build_with_rtx(tmp_path / "model.onnx")


def build_with_rtx(path: Path) -> None:
    """TensorRT-RTX's builder needs no GPU to say whether a model can run on one."""
    trt = pytest.importorskip("tensorrt_rtx")
    from mkpose_ros.inference.tensorrt_builder import build_plan

    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.supports_model_v2(path.read_bytes())
    assert len(build_plan(trt, path, batches=(1, 8))) > 100_000
