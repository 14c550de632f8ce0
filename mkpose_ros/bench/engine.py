"""How fast each engine at hand runs MK-Pose: every model, engine and batch size, interleaved in one run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mkpose_ros.bench.cost import ModelCost, matrix_peak_gflops, model_cost
from mkpose_ros.bench.timing import interleave, rss_mb, timing_row
from mkpose_ros.errors import DependencyError, EngineError, InputError, MkposeError, ModelError
from mkpose_ros.inference.base import PoseEngine, blank_inputs
from mkpose_ros.inference.engine import ENGINES, open_engine, physical_cores
from mkpose_ros.inference.metadata import ModelMetadata
from mkpose_ros.resources import cache_path, share_path

__all__ = ["BENCHED", "bench_engines", "bench_model", "model_label"]

BENCHED = (*ENGINES, "openvino-bf16")  # every engine, and OpenVINO in the arithmetic that it must be asked for

logger = logging.getLogger(__name__)


def bench_engines(
    models: Sequence[Path],
    *,
    engines: Sequence[str] = BENCHED,
    batches: Sequence[int] = (1, 4, 8),
    repeats: int = 30,
    threads: int = 0,
    text_shape: tuple[int, int] = (48, 384),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows as `timing_row` makes them, with cpu_ms, mparameters, gflop (of one instance), peak_gflops and peak_share.

    ``models``: files or folders as `open_engine` takes them. Engines that can't be had here are left out, with the
    reason logged. cpu_ms is the median processor time of all threads: unlike wall time it hardly depends on what else
    runs here. rss_mb is what opening and warming up that engine added to this process. peak_share is the model's
    operations per second over those of a large float32 matrix product on as many threads, measured in the same run.
    """
    threads = threads or physical_cores()
    opened = _open_all(models, engines, batches, threads, text_shape)
    tasks = {}
    for (model, name), (engine, _) in opened.items():
        for batch in batches:
            inputs = blank_inputs(engine.metadata, batch, text_shape)
            tasks[f"{model}\t{name}\t{batch}"] = lambda e=engine, x=inputs: e.infer(x)
    times = interleave(tasks, repeats=repeats, seed=seed)
    peak = matrix_peak_gflops(threads)
    costs = {model: _cost(model, text_shape) for model in {model for model, _ in opened}}
    rows = []
    for (model, name), (engine, memory_mb) in opened.items():
        for batch in batches:
            label = model_label(engine.metadata, model)
            measured = times[f"{model}\t{name}\t{batch}"]
            row = timing_row(
                "engine", measured.wall_ms, backend=name, model=label, batch=batch, threads=threads, memory_mb=memory_mb
            )
            row["cpu_ms"] = float(np.median(measured.cpu_ms))
            rows.append(row | _cost_columns(costs[model], row["per_s"], peak))
        engine.close()
    return rows


def bench_model(model: str) -> Path:
    """The path of a model given by its path or its size; a size that is not shipped is exported untrained, once.

    Times do not depend on the weights. Raises DependencyError where torch, which exports, is not installed.
    """
    if Path(model).exists():
        return Path(model)
    try:
        return share_path("models", model)
    except MkposeError as error:
        if model not in ("small", "base"):
            raise ModelError(f"model {model!r} is neither a path nor small or base") from error
    folder = cache_path("bench", model)
    if not (folder / "model.onnx").exists():
        logger.warning("%s is not shipped: an untrained one is exported to %s, which takes minutes", model, folder)
        try:
            from mkpose_ros.network.config import load_config
            from mkpose_ros.network.export import export_onnx
            from mkpose_ros.network.model import MKPose, save_checkpoint
        except ImportError as error:
            raise DependencyError(f"exporting {model} needs torch: {error}; install mkpose_ros[train]") from error
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(MKPose(load_config(model)), folder / "model.safetensors")
        export_onnx(folder / "model.safetensors", folder / "model.onnx")
    return folder


def model_label(metadata: ModelMetadata, model: Path) -> str:
    """What tables call a model: its size, and whether its weights are those of `bench_model`, drawn at random."""
    untrained = ", untrained" if cache_path("bench") in Path(model).parents else ""
    return metadata.size + ("-int8" if "int8" in Path(model).stem else "") + untrained


def _open_all(
    models: Sequence[Path], engines: Sequence[str], batches: Sequence[int], threads: int, text_shape: tuple[int, int]
) -> dict[tuple[Path, str], tuple[PoseEngine, float]]:
    """Each model on each engine that this machine has, warmed up, and the memory in MB that it took."""
    opened = {}
    for model in models:
        for name in engines:
            before = rss_mb()
            try:
                backend, bf16, _ = name.partition("-bf16")
                engine = open_engine(model, backend, threads=threads, precision="bf16" if bf16 else "fp32")
            except InputError:
                raise
            except MkposeError as error:
                logger.warning("left out: %s with %s: %s", name, model, error)
                continue
            engine.warm_up(text_shape, tuple(batches))
            opened[Path(model), engine.name] = (engine, rss_mb() - before)
    if not opened:
        raise EngineError(f"none of {', '.join(engines)} can run {', '.join(map(str, models))}; the log says why")
    return opened


def _cost(model: Path, text_shape: tuple[int, int]) -> ModelCost | None:
    path = model / "model.onnx" if model.is_dir() else model
    try:
        return model_cost(path, text_shape)
    except ImportError:
        logger.warning("operations are not counted: the package onnx is not installed")
        return None


def _cost_columns(cost: ModelCost | None, per_s: float, peak_gflops: float) -> dict[str, float]:
    if cost is None:
        return {}
    gflop = cost.flop / 1e9
    return {
        "mparameters": cost.parameters / 1e6,
        "gflop": gflop,
        "peak_gflops": peak_gflops,
        "peak_share": gflop * per_s / peak_gflops,
    }
