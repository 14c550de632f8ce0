"""MK-Pose by ONNX Runtime, on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from mkpose_ros.errors import DeviceLostError, DeviceMemoryError, EngineError, ModelError
from mkpose_ros.inference.base import INPUTS, OUTPUTS, PoseEngine
from mkpose_ros.inference.metadata import read_metadata

__all__ = ["OnnxRuntimeEngine"]


class OnnxRuntimeEngine(PoseEngine):
    """One ONNX Runtime session; ``device`` is "cpu" or "cuda"."""

    def __init__(self, model_path: Path, *, device: str = "cpu", device_index: int = 0, threads: int) -> None:
        self.metadata = read_metadata(model_path)
        self.name = "onnxruntime" if device == "cpu" else "onnxruntime-cuda"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle node costs no CPU
        options.log_severity_level = 3
        providers = _providers(device, device_index)
        try:
            self._session = onnxruntime.InferenceSession(str(model_path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise ModelError(f"{self.name} can't load {model_path}: {error}; run `mkpose export` again") from error
        self._check_interface(model_path)

    def close(self) -> None:
        self._session = None

    def _check_interface(self, model_path: Path) -> None:
        inputs = {value.name for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        # An ablated network (no text, say) leaves inputs unused, and the exporter drops them.
        if not inputs <= set(INPUTS) or not set(OUTPUTS) <= outputs:
            raise ModelError(
                f"model {model_path} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, expected "
                f"{sorted(INPUTS)} and {sorted(OUTPUTS)}: run `mkpose export` again"
            )
        self._input_names = inputs

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._session is None:
            raise EngineError(f"{self.name} is closed: open the engine again")
        try:
            values = self._session.run(list(OUTPUTS), {name: inputs[name] for name in self._input_names})
        except Exception as error:  # as above
            raise _typed(error, self.name) from error
        return dict(zip(OUTPUTS, values, strict=True))


def _providers(device: str, device_index: int) -> list:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    available = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in available:
        raise EngineError(
            f"onnxruntime-cuda: this ONNX Runtime has only {', '.join(available)}; install onnxruntime-gpu instead "
            "of onnxruntime, or choose another engine"
        )
    return [("CUDAExecutionProvider", {"device_id": device_index})]


def _typed(error: Exception, name: str) -> EngineError:
    text = str(error)
    if "out of memory" in text or "Failed to allocate memory" in text:
        return DeviceMemoryError(f"{name}: {text}")
    if "CUDA failure" in text or "CUDNN failure" in text or "CUBLAS failure" in text:
        return DeviceLostError(f"{name}: {text}")
    return EngineError(f"{name} failed: {text}")
