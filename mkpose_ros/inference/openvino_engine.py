"""MK-Pose by OpenVINO on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from mkpose_ros.errors import EngineError, ModelError
from mkpose_ros.inference.base import INPUTS, OUTPUTS, PoseEngine
from mkpose_ros.inference.metadata import read_metadata

__all__ = ["OpenVinoEngine"]


class OpenVinoEngine(PoseEngine):
    """One compiled OpenVINO model and one infer request.

    ``precision`` "fp32" computes as torch does; "bf16" lets CPUs with AMX or AVX512-BF16 compute in half the width.
    """

    slow_first_batches = tuple(range(1, 9))  # it compiles kernels for each size, 0.1 s a size with the small model

    def __init__(self, model_path: Path, *, threads: int, precision: str = "fp32") -> None:
        self.metadata = read_metadata(model_path)
        self.name = "openvino" if precision == "fp32" else f"openvino-{precision}"
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        }
        try:
            core = openvino.Core()
            self._request = core.compile_model(core.read_model(str(model_path)), "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"openvino can't load {model_path}: {error}; run `mkpose export` again") from error
        self._check_interface(model_path)

    def close(self) -> None:
        self._request = None

    def _check_interface(self, model_path: Path) -> None:
        inputs = {name for port in self._request.model_inputs for name in port.names}
        outputs = {name for port in self._request.model_outputs for name in port.names}
        # An ablated network (no text, say) leaves inputs unused, and the exporter drops them.
        self._input_names = inputs & set(INPUTS)
        if len(self._input_names) < len(self._request.model_inputs) or not set(OUTPUTS) <= outputs:
            raise ModelError(
                f"model {model_path} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, expected "
                f"{sorted(INPUTS)} and {sorted(OUTPUTS)}: run `mkpose export` again"
            )

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._request is None:
            raise EngineError("openvino is closed: open the engine again")
        try:
            self._request.infer({name: inputs[name] for name in self._input_names}, share_inputs=True)
            return {name: self._request.get_tensor(name).data.copy() for name in OUTPUTS}
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {error}") from error
