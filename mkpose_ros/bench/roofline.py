"""How far an engine is from what the machine allows: operations, bytes, measured peaks (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mkpose_ros.bench.cost import matrix_peak_gflops, memory_peak_gbs, model_cost
from mkpose_ros.bench.engine import model_label
from mkpose_ros.bench.timing import interleave, rss_mb, timing_row
from mkpose_ros.inference.base import blank_inputs
from mkpose_ros.inference.engine import open_engine, physical_cores

__all__ = ["bench_roofline"]


def bench_roofline(
    models: Sequence[Path],
    *,
    backend: str = "auto",
    batch: int = 5,
    repeats: int = 20,
    threads: int = 0,
    text_shape: tuple[int, int] = (48, 384),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row of each model: `timing_row`, gflop_batch and mbytes of a batch, the machine's peaks, the least time.

    roof_ms is what the operations take at peak_gflops or the bytes at peak_gbs, whichever is longer; roof_share is
    that over the median. Bytes are those of the counted operations' operands and results, each once: what is kept in
    a cache between two operations makes the real number smaller.
    """
    threads = threads or physical_cores()
    engines = [open_engine(model, backend, threads=threads) for model in models]
    tasks = {}
    for index, engine in enumerate(engines):
        engine.warm_up(text_shape, (batch,))
        inputs = blank_inputs(engine.metadata, batch, text_shape)
        tasks[str(index)] = lambda e=engine, x=inputs: e.infer(x)
    times = interleave(tasks, repeats=repeats, seed=seed)
    peak_gflops, peak_gbs = matrix_peak_gflops(threads), memory_peak_gbs(threads)
    rows = []
    for index, (model, engine) in enumerate(zip(models, engines, strict=True)):
        cost = model_cost(model / "model.onnx" if model.is_dir() else model, text_shape)
        gflop = batch * cost.flop / 1e9
        gbytes = (cost.weight_bytes + batch * cost.activation_bytes) / 1e9
        who = {"backend": engine.name, "model": model_label(engine.metadata, model), "threads": threads}
        row = timing_row("roofline", times[str(index)].wall_ms, batch=batch, memory_mb=rss_mb(), **who)
        roof_ms = 1e3 * max(gflop / peak_gflops, gbytes / peak_gbs)
        row |= {"mparameters": cost.parameters / 1e6, "gflop_batch": gflop, "mbytes": 1e3 * gbytes}
        row |= {"flop_per_byte": gflop / gbytes, "peak_gflops": peak_gflops, "peak_gbs": peak_gbs}
        rows.append(row | {"roof_ms": roof_ms, "roof_share": roof_ms / row["median_ms"]})
        engine.close()
    return rows
