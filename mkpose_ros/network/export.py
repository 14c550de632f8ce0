"""Export to ONNX: fp32, half-typed fp16, int8 for CPUs; and how far each differs from torch on the same inputs."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mkpose_ros.errors import DependencyError, InputError
from mkpose_ros.inference.base import INPUTS, OUTPUTS
from mkpose_ros.inference.metadata import FORMAT_VERSION
from mkpose_ros.network.config import ModelConfig
from mkpose_ros.network.model import MKPose, load_checkpoint

__all__ = [
    "PRECISIONS",
    "compare_outputs",
    "export_model",
    "export_onnx",
    "random_inputs",
    "run_onnxruntime",
    "run_torch",
]

PRECISIONS = ("fp32", "fp16", "int8")
OPSET = 18
# Distances in metres squared, attention masks and positions lose millimetres in half precision: these stay fp32.
_FP32_OPS = ("TopK", "Range", "ReduceL2", "Reciprocal", "Sqrt", "Less", "Greater", "Where", "LayerNormalization")


def export_onnx(
    checkpoint: Path,
    path: Path,
    precision: str = "fp32",
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
    traced: Path | None = None,
) -> dict[str, Any]:
    """Write the ONNX form of a checkpoint and return what `mkpose export` reports.

    Args:
        checkpoint: a file of network.model.save_checkpoint; its `extra` goes into the model's metadata.
        path: the .onnx file to write.
        precision: one of PRECISIONS. fp16 has half-typed weights and compute with fp32 inputs and outputs.
        calibration: batches of real inputs, for int8 only.
        traced: the fp32 export of the same checkpoint, where there is one: tracing is the slow part.

    Raises ModelError for a bad checkpoint, InputError for an unknown precision or int8 without calibration batches.
    """
    model, extra = load_checkpoint(checkpoint)
    return export_model(model, path, precision, extra, calibration, traced)


def export_model(
    model: MKPose,
    path: Path,
    precision: str = "fp32",
    metadata: Mapping[str, Any] | None = None,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
    traced: Path | None = None,
) -> dict[str, Any]:
    """As `export_onnx`, of a model in memory."""
    if precision not in PRECISIONS:
        raise InputError(f"export: precision {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not calibration:
        raise InputError("export: int8 needs calibration inputs; give a data folder with --data")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    if traced is None:
        _trace(model, temporary)
    else:
        shutil.copyfile(traced, temporary)
    if precision == "fp16":
        _to_half(temporary)
    elif precision == "int8":
        _quantize(temporary, calibration)
    _write_metadata(temporary, model.config, precision, metadata or {})
    temporary.replace(path)
    inputs = calibration[0] if calibration else random_inputs(model.config, batch=3)
    return {
        "path": str(path),
        "precision": precision,
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "agreement": agreement(model, path, inputs),
    }


class _Graph(nn.Module):
    """MKPose with the outputs of the exported form, in the order of inference.base.OUTPUTS."""

    def __init__(self, model: MKPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, points: Tensor, pixels: Tensor, text: Tensor, text_mask: Tensor) -> tuple:
        o = self.model(image, points, pixels, text, text_mask)
        symmetric = o.axis_symmetric_logit.sigmoid()
        return o.rotation, o.translation_m, o.size_m, o.keypoints_m, o.nocs, o.log_variance, symmetric


def _trace(model: MKPose, path: Path) -> None:
    inputs = tuple(torch.from_numpy(v) for v in random_inputs(model.config, batch=3).values())
    batch = torch.export.Dim("batch", min=1, max=256)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Graph(model).eval(), inputs, str(path), dynamo=True, opset_version=OPSET, external_data=False,
            input_names=list(INPUTS), output_names=list(OUTPUTS), dynamic_shapes=tuple({0: batch} for _ in inputs),
            verbose=False,
        )  # fmt: skip


def _to_half(path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load(path), keep_io_types=True, op_block_list=list(_FP32_OPS))
    onnx.save(half, path)


def _quantize(path: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Static int8 for convolutions, matrix products of the network's layers stay where their error is small."""
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise DependencyError(f"int8 export: {error}; install mkpose_ros[train]") from error

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Mapping[str, np.ndarray]] = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else dict(batch)

    prepared = path.with_name(f"{path.name}.prepared")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        op_types_to_quantize=["Conv"], activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    prepared.unlink()


def _write_metadata(path: Path, config: ModelConfig, precision: str, extra: Mapping[str, Any]) -> None:
    import onnx

    model = onnx.load(path)
    entry = {
        "categories": [],
        "text_hash": "",
        "calibration": {},
        **extra,
        "format_version": FORMAT_VERSION,
        "size": config.name,
        "precision": precision,
        "crop_px": config.crop_px,
        "n_points": config.n_points,
        "n_centres": config.point[0].points,
        "n_keypoints": config.n_keypoints,
    }
    onnx.helper.set_model_props(model, {"mkpose": json.dumps(entry)})
    onnx.save(model, path)


def random_inputs(config: ModelConfig, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of the right shapes and ranges by a seed: a noise crop and a cloud of 10 cm in farthest-point order."""
    from mkpose_ros.geometry.sampling import farthest_point_order

    rng = np.random.default_rng(seed)
    points = rng.normal(0.0, 0.03, (batch, config.n_points, 3)).astype(np.float32)
    order = farthest_point_order(points, config.point[0].points)
    return {
        "image": rng.integers(0, 256, (batch, config.crop_px, config.crop_px, 3), dtype=np.uint8),
        "points": np.take_along_axis(points, order[..., None], axis=1),
        "pixels": rng.uniform(-1.0, 1.0, (batch, config.n_points, 2)).astype(np.float32),
        "text": rng.normal(0.0, 0.3, (batch, config.text_tokens, config.text_dim)).astype(np.float32),
        "text_mask": np.ones((batch, config.text_tokens), np.float32),
    }


@torch.no_grad()
def run_torch(model: MKPose, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The exported outputs, computed by torch."""
    outputs = _Graph(model).eval()(*(torch.from_numpy(inputs[name]) for name in INPUTS))
    return {name: value.numpy() for name, value in zip(OUTPUTS, outputs, strict=True)}


def agreement(model: MKPose, path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Largest differences from torch per output, for each engine installed here (ONNX Runtime, OpenVINO)."""
    expected = run_torch(model, inputs)
    result = {"onnxruntime": compare_outputs(expected, run_onnxruntime(path, inputs))}
    with contextlib.suppress(ImportError):  # an engine that is not installed has nothing to agree with
        result["openvino"] = compare_outputs(expected, _run_openvino(path, inputs))
    return result


def compare_outputs(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest absolute difference of each output."""
    return {name: float(np.abs(expected[name] - got[name]).max()) for name in OUTPUTS}


def run_onnxruntime(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of an exported file under ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    values = session.run(list(OUTPUTS), {k: v for k, v in inputs.items() if k in wanted})
    return dict(zip(OUTPUTS, values, strict=True))


def _run_openvino(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = {name for port in compiled.inputs for name in port.names}
    values = compiled({k: v for k, v in inputs.items() if k in wanted})
    return {name: values[name] for name in OUTPUTS}
