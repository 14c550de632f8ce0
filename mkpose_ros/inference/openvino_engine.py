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
    """One OpenVINO model, compiled for each of a few batch sizes, and one infer request for each.

    A batch of another size runs in pieces (5 as 4 and 1): with shapes fixed OpenVINO plans its memory and joins
    operations beforehand, which gains more than the pieces cost, and no size is slow the first time it comes.
    ``precision`` "fp32" computes as torch does; "bf16" lets CPUs with AMX or AVX512-BF16 compute in half the width.
    """

    pieces = (4, 2, 1)  # 8 at once take 2 % less time than twice 4, and 70 MB more
    slow_first_batches = pieces  # each is compiled when it is first needed: most of a second with the small model

    def __init__(self, model_path: Path, *, threads: int, precision: str = "fp32") -> None:
        self.metadata = read_metadata(model_path)
        self.name = "openvino" if precision == "fp32" else f"openvino-{precision}"
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # a thread tied to a core waits for whatever else runs there
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        }
        self._requests: dict[int, openvino.InferRequest] = {}
        try:
            self._core = openvino.Core()
            self._model = self._core.read_model(str(model_path))
            self._check_interface(model_path)
            self._request(1)
        except RuntimeError as error:
            raise ModelError(f"openvino can't load {model_path}: {error}; run `mkpose export` again") from error

    def close(self) -> None:
        self._model = None
        self._requests.clear()

    def _check_interface(self, model_path: Path) -> None:
        inputs = {name for port in self._model.inputs for name in port.names}
        outputs = {name for port in self._model.outputs for name in port.names}
        # An ablated network (no text, say) leaves inputs unused, and the exporter drops them.
        self._input_names = inputs & set(INPUTS)
        if len(self._input_names) < len(self._model.inputs) or not set(OUTPUTS) <= outputs:
            raise ModelError(
                f"model {model_path} has inputs {sorted(inputs)} and outputs {sorted(outputs)}, expected "
                f"{sorted(INPUTS)} and {sorted(OUTPUTS)}: run `mkpose export` again"
            )

    def _request(self, batch: int) -> openvino.InferRequest:
        """The request of one of the batch sizes, compiled when it is first needed."""
        if batch not in self._requests:
            fixed = self._model.clone()
            shapes = {port: [batch, *list(port.partial_shape)[1:]] for port in fixed.inputs}
            fixed.reshape({port: openvino.PartialShape(shape) for port, shape in shapes.items()})
            self._requests[batch] = self._core.compile_model(fixed, "CPU", self._settings).create_infer_request()
        return self._requests[batch]

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._model is None:
            raise EngineError("openvino is closed: open the engine again")
        batch, start, parts = len(inputs["points"]), 0, []
        try:
            while start < batch:
                piece = next(size for size in self.pieces if size <= batch - start)
                request = self._request(piece)
                rows = {name: inputs[name][start : start + piece] for name in self._input_names}
                request.infer(rows, share_inputs=True)
                parts.append({name: request.get_tensor(name).data.copy() for name in OUTPUTS})
                start += piece
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {error}") from error
        return {name: np.concatenate([part[name] for part in parts]) for name in OUTPUTS}
