"""One ONNX file behind one call, run by OpenVINO or ONNX Runtime."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mkpose_ros.errors import DependencyError, EngineError, InputError, ModelError
from mkpose_ros.inference.engine import PRECISIONS

__all__ = ["RUNTIMES", "Session", "open_session"]

RUNTIMES = ("openvino", "onnxruntime")  # in the order of preference on a CPU


class Session(Protocol):
    """A loaded model: named arrays in, named arrays out."""

    name: str
    metadata: dict[str, Any]  # the JSON under the key "mkpose" of the file's metadata_props; {} when absent
    inputs: tuple[str, ...]

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]: ...


def open_session(
    model_path: Path, runtime: str = "auto", device: str = "cpu", threads: int = 0, precision: str = "fp32"
) -> Session:
    """Load an ONNX file. `runtime`: auto, openvino or onnxruntime; `device`: cpu or cuda; `threads`: 0 is the
    runtime's choice; `precision`: fp32, or bf16, which OpenVINO takes where the CPU has it and others leave at fp32.
    Raises ModelError, EngineError, DependencyError or InputError."""
    path = Path(model_path)
    if not path.is_file():
        raise ModelError(
            f"segmenter model {path}: no such file; give the path of an ONNX file of `mkpose export-segmenter`"
        )
    if device not in ("cpu", "cuda"):
        raise InputError(f"segmenter device: got {device!r}, expected cpu or cuda")
    if runtime == "auto":
        runtime = _preferred_runtime(device)
    if runtime not in RUNTIMES:
        raise InputError(f"segmenter runtime: got {runtime!r}, expected auto, {' or '.join(RUNTIMES)}")
    if precision not in PRECISIONS:
        raise InputError(f"segmenter precision: got {precision!r}, expected {' or '.join(PRECISIONS)}")
    try:
        if runtime == "openvino":
            return _OpenVinoSession(path, device, threads, precision)
        return _OnnxRuntimeSession(path, device, threads)
    except ImportError as error:
        raise DependencyError(
            f"segmenter runtime {runtime}: {error}; install it with `pip install {runtime}` or choose another runtime"
        ) from error
    except (EngineError, ModelError):
        raise
    except Exception as error:  # the runtimes raise their own unrelated types for damaged files
        first_line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(f"segmenter model {path}: {runtime} can't load it ({first_line}); export it again") from error


def _preferred_runtime(device: str) -> str:
    if device == "cuda":
        return "onnxruntime"
    return next((name for name in RUNTIMES if importlib.util.find_spec(name)), "onnxruntime")


class _OpenVinoSession:
    def __init__(self, path: Path, device: str, threads: int, precision: str) -> None:
        import openvino

        if device != "cpu":
            raise EngineError("segmenter runtime openvino: runs on the cpu here; use onnxruntime for cuda")
        core = openvino.Core()
        half = precision == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.name = "openvino-bf16" if half else "openvino"
        # In bfloat16 scores move by 0.01: only where it is asked for.
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        }
        properties["ENABLE_CPU_PINNING"] = False  # a thread tied to a core waits for whatever else runs there
        if threads:
            properties["INFERENCE_NUM_THREADS"] = threads
        model = core.read_model(path)
        self._compiled = core.compile_model(model, "CPU", properties)
        key = ["framework", "mkpose"]  # where OpenVINO puts an ONNX file's metadata_props
        self.metadata = _parse_metadata(model.get_rt_info(key).value if model.has_rt_info(key) else None)
        self.inputs = tuple(port.get_any_name() for port in self._compiled.inputs)
        self._outputs = tuple(port.get_any_name() for port in model.outputs)  # compiling may lose names
        self._request = self._compiled.create_infer_request()

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = self._request.infer(inputs, share_inputs=True)
        return {name: np.array(results[index]) for index, name in enumerate(self._outputs)}


class _OnnxRuntimeSession:
    name = "onnxruntime"

    def __init__(self, path: Path, device: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        available = onnxruntime.get_available_providers()
        if device == "cuda" and "CUDAExecutionProvider" not in available:
            raise EngineError(
                f"segmenter runtime onnxruntime: no CUDA provider, at hand are {', '.join(available)}; "
                "install onnxruntime-gpu or use device cpu"
            )
        providers = ["CUDAExecutionProvider"] if device == "cuda" else []
        self._session = onnxruntime.InferenceSession(str(path), options, providers=[*providers, "CPUExecutionProvider"])
        properties = self._session.get_modelmeta().custom_metadata_map
        self.metadata = _parse_metadata(properties.get("mkpose"))
        self.inputs = tuple(node.name for node in self._session.get_inputs())
        self._outputs = [node.name for node in self._session.get_outputs()]

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))


def _parse_metadata(text: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
