"""Opening an engine by name, or the best one at hand with the reason logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from mkpose_ros.errors import DependencyError, EngineError, InputError, ModelError
from mkpose_ros.inference.base import PoseEngine

__all__ = ["ENGINES", "EngineOptions", "PoseEngine", "available_engines", "open_engine", "physical_cores"]

PRECISIONS = ("fp32", "bf16")
GPU_MODEL = "model_fp16.onnx"  # half-typed; TensorRT takes it where a model's folder holds it
MODEL = "model.onnx"
CHECKPOINT = "model.safetensors"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What an engine may be told; each takes what concerns it."""

    threads: int = 0  # of CPU engines; 0: one for each physical core
    precision: str = "fp32"  # of OpenVINO's arithmetic: "fp32" or "bf16"; the others compute as the file is typed
    device_index: int = 0  # of the GPU
    cache_folder: Path | None = None  # of built TensorRT engines; None: the user's cache folder
    is_cancelled: Callable[[], bool] = lambda: False  # asked while a TensorRT engine is built: true gives up

    def __post_init__(self) -> None:
        if self.threads < 0 or self.device_index < 0 or self.precision not in PRECISIONS:
            raise InputError(
                f"engine options {self}: expected threads and device_index >= 0, precision {' or '.join(PRECISIONS)}"
            )


def physical_cores() -> int:
    """The cores that this process may use, hyper-threads not counted."""
    allowed = len(psutil.Process().cpu_affinity() or [0])
    return max(min(psutil.cpu_count(logical=False) or 1, allowed), 1)


def open_engine(model_path: Path | str, backend: str = "auto", **options: object) -> PoseEngine:
    """Open a model with one of ENGINES or "auto".

    ``model_path`` is a file, or a folder with model.onnx and, as the case may be, model_fp16.onnx (for TensorRT) and
    model.safetensors (for torch). ``options`` are those of EngineOptions. "auto" takes the first engine that opens,
    in the order of ENGINES, and logs why. Raises InputError for an unknown name, ModelError for the model,
    EngineError or DependencyError when the engine can't be had.
    """
    settings = EngineOptions(**options)
    path = Path(model_path)
    if backend != "auto":
        if backend not in ENGINES:
            raise InputError(f"engine {backend!r} is unknown: expected auto, {', '.join(ENGINES)}")
        return _open(backend, path, settings)
    refusals = []
    for name in ENGINES:
        try:
            engine = _open(name, path, settings)
        except (EngineError, DependencyError) as error:
            refusals.append(f"{name}: {error}")
            continue
        logger.info("engine %s chosen: the fastest at hand%s", name, "".join(f"; not {r}" for r in refusals))
        return engine
    raise EngineError(f"no engine can run {path}: " + "; ".join(refusals))


def available_engines() -> dict[str, str]:
    """For each engine the package that this machine lacks for it; empty where the package is there."""
    return {
        name: "" if find_spec(spec.package) else f"package {spec.package} is missing" for name, spec in ENGINES.items()
    }


def _open(name: str, path: Path, options: EngineOptions) -> PoseEngine:
    spec = ENGINES[name]
    if find_spec(spec.package) is None:
        raise DependencyError(f"the package {spec.package} is not installed; install {spec.install}")
    try:
        return spec.open(path, options)
    except ImportError as error:  # a package that is there but can't load its libraries
        raise DependencyError(f"{name}: {error}; install {spec.install} again") from error


def _model_file(path: Path, *names: str) -> Path:
    """The file itself, or the first of ``names`` in the folder."""
    if path.suffix == ".safetensors" and path.suffix != Path(names[-1]).suffix:
        raise EngineError(f"{path} is a checkpoint, which the torch engine alone runs; `mkpose export` makes it ONNX")
    files = [path / name for name in names] if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            return file
    raise ModelError(f"model {files[-1]} is missing: give the path of a {names[-1]} written by `mkpose export`")


def _open_tensorrt(flavour: str) -> Callable[[Path, EngineOptions], PoseEngine]:
    def open_flavour(path: Path, options: EngineOptions) -> PoseEngine:
        from mkpose_ros.inference.tensorrt_engine import TensorRtEngine

        file = _model_file(path, GPU_MODEL, MODEL)
        return TensorRtEngine(
            file,
            flavour=flavour,
            device_index=options.device_index,
            cache_folder=options.cache_folder,
            is_cancelled=options.is_cancelled,
        )

    return open_flavour


def _open_onnxruntime(path: Path, options: EngineOptions) -> PoseEngine:
    from mkpose_ros.inference.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(_model_file(path, MODEL), threads=options.threads or physical_cores())


def _open_onnxruntime_cuda(path: Path, options: EngineOptions) -> PoseEngine:
    from mkpose_ros.inference.onnxruntime_engine import OnnxRuntimeEngine

    file = _model_file(path, MODEL)
    return OnnxRuntimeEngine(file, device="cuda", device_index=options.device_index, threads=1)


def _open_openvino(path: Path, options: EngineOptions) -> PoseEngine:
    from mkpose_ros.inference.openvino_engine import OpenVinoEngine

    file = _model_file(path, MODEL)
    return OpenVinoEngine(file, threads=options.threads or physical_cores(), precision=options.precision)


def _open_torch(path: Path, options: EngineOptions) -> PoseEngine:
    from mkpose_ros.inference.torch_engine import TorchEngine

    return TorchEngine(_model_file(path, CHECKPOINT), threads=options.threads or physical_cores())


@dataclass(frozen=True)
class _EngineSpec:
    package: str
    install: str  # what to install when it is missing
    open: Callable[[Path, EngineOptions], PoseEngine]


ENGINES = {  # in the order in which "auto" tries them; docs/engines.md has the times
    "tensorrt": _EngineSpec("tensorrt", "by NVIDIA's instructions, see docs/engines.md", _open_tensorrt("tensorrt")),
    "tensorrt-rtx": _EngineSpec("tensorrt_rtx", "tensorrt-rtx-cu13", _open_tensorrt("tensorrt-rtx")),
    "onnxruntime-cuda": _EngineSpec("onnxruntime", "onnxruntime-gpu", _open_onnxruntime_cuda),
    "openvino": _EngineSpec("openvino", "mkpose_ros", _open_openvino),
    "onnxruntime": _EngineSpec("onnxruntime", "mkpose_ros", _open_onnxruntime),
    "torch": _EngineSpec("torch", "mkpose_ros[train]", _open_torch),
}
