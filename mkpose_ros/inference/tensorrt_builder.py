"""From an exported ONNX file to a TensorRT plan; works with TensorRT 10 and 11 and TensorRT-RTX."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkpose_ros.errors import DependencyError, EngineError

__all__ = ["BATCHES", "FLAVOURS", "build_plan", "load_tensorrt"]

BATCHES = (1, 2, 4, 8, 16)  # the sizes that get a profile, and kernels, of their own
FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # engine name -> module

logger = logging.getLogger(__name__)


def load_tensorrt(flavour: str) -> Any:
    """The module of "tensorrt" or "tensorrt-rtx". Raises DependencyError."""
    try:
        return importlib.import_module(FLAVOURS[flavour])
    except (ImportError, OSError) as error:
        raise DependencyError(f"{flavour}: {error}; install it by NVIDIA's instructions (docs/engines.md)") from error


def build_plan(
    trt: Any,
    model_path: Path,
    *,
    batches: tuple[int, ...] = BATCHES,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> bytes:
    """The serialised engine of a model, with one optimisation profile for each batch size.

    The network is strongly typed: it computes in the types that the ONNX file names; half precision is a half-typed
    file's matter. ``is_cancelled`` is asked at each step of the
    build. Raises EngineError that says what TensorRT can't run, or that the build failed or was cancelled.
    """
    log = _make_logger(trt)
    builder = trt.Builder(log)
    if builder is None:
        raise EngineError(f"{trt.__name__} can't make a builder; the log before this line says why")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    try:
        if not parser.parse_from_file(str(model_path)):
            errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
            raise EngineError(f"{trt.__name__} {trt.__version__} can't run model {model_path}: {errors}")
        config = builder.create_builder_config()
        for batch in batches:
            config.add_optimization_profile(_profile(builder, network, batch))
        monitor = config.progress_monitor = _make_monitor(trt, is_cancelled)
        plan = builder.build_serialized_network(network, config)
        if monitor.interrupted:
            raise KeyboardInterrupt
        if plan is None:
            reason = "it was cancelled" if is_cancelled() else "the log before this line says why"
            raise EngineError(f"{trt.__name__} {trt.__version__} did not build {model_path}: {reason}")
        return bytes(plan)
    finally:
        # A frame drops its variables in the order of their making, but a parser that is freed after its network
        # may end the process: the bindings do not keep the network for it.
        del parser
        del network, builder


def _profile(builder: Any, network: Any, batch: int) -> Any:
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shape = (batch, *tuple(tensor.shape)[1:])
        profile.set_shape(tensor.name, shape, shape, shape)
    return profile


def _make_logger(trt: Any) -> Any:
    """TensorRT's messages in our log; its INFO is chatter to everyone else."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            levels = {"INTERNAL_ERROR": logging.ERROR, "ERROR": logging.ERROR, "WARNING": logging.WARNING}
            logger.log(levels.get(severity.name, logging.DEBUG), "%s: %s", trt.__name__, message)

    return Log()


def _make_monitor(trt: Any, is_cancelled: Callable[[], bool]) -> Any:
    """Lets a build be cancelled, or interrupted by Ctrl-C, between two steps."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            pass

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                return not is_cancelled()
            except KeyboardInterrupt:  # must not unwind TensorRT's own frames: that ends the process
                self.interrupted = True
                return False

    return Monitor()
