"""What a model costs whatever runs it: parameters and operations; and what the machine can do at most."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mkpose_ros.inference.base import blank_inputs
from mkpose_ros.inference.metadata import read_metadata

__all__ = ["ModelCost", "matrix_peak_gflops", "memory_peak_gbs", "model_cost"]


@dataclass(frozen=True)
class ModelCost:
    """Of an ONNX file, one instance."""

    parameters: int  # elements of its weights
    flop: int  # 2 x the multiply-adds of matrix products and convolutions; the rest is not counted
    weight_bytes: int = 0  # of the same nodes in float32, read once for a batch
    activation_bytes: int = 0  # what those nodes read and write for one instance, each array once


def model_cost(path: Path, text_shape: tuple[int, int]) -> ModelCost:
    """Count by running the graph once, unoptimised, and looking at the shape of each operand.

    ``text_shape``: (T, D). Needs the package onnx.
    """
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "Conv")]
    wanted = {name for node in nodes for name in (*node.input[:2], node.output[0])} - set(weights)
    inputs = {i.name for i in model.graph.input}
    known = {o.name for o in model.graph.output} | inputs
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in sorted(wanted - known))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = {k: v for k, v in blank_inputs(read_metadata(path), 1, text_shape).items() if k in inputs}
    names = sorted(wanted - inputs)
    shapes = weights | {name: value.shape for name, value in values.items()}
    shapes |= {name: value.shape for name, value in zip(names, session.run(names, values), strict=True)}
    parameters = sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type != onnx.TensorProto.INT64)
    sizes = {name: 4 * int(np.prod(shape)) for name, shape in shapes.items()}
    arrays = [name for node in nodes for name in (*node.input[:2], node.output[0])]
    return ModelCost(
        parameters,
        sum(_node_flop(node, shapes) for node in nodes),
        weight_bytes=sum(sizes[name] for name in set(arrays) & set(weights)),
        activation_bytes=sum(sizes[name] for name in arrays if name not in weights),
    )


def matrix_peak_gflops(threads: int, size: int = 1536, seconds: float = 1.0) -> float:
    """The most GFLOP/s that float32 matrix products of numpy's BLAS reach here, tried for some seconds."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(size, size)).astype(np.float32) for _ in range(2))
    best, end = np.inf, time.perf_counter() + seconds
    with threadpool_limits(threads):
        while time.perf_counter() < end or not np.isfinite(best):
            start = time.perf_counter()
            a @ b
            best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best / 1e9


def memory_peak_gbs(threads: int, megabytes: int = 256, seconds: float = 1.0) -> float:
    """The most GB/s that copying between arrays larger than most caches reaches here; read and written bytes count."""
    from concurrent.futures import ThreadPoolExecutor

    source = np.ones((threads, megabytes * 250_000 // threads), np.float32)
    target = np.empty_like(source)
    best, end = np.inf, time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while time.perf_counter() < end or not np.isfinite(best):
            start = time.perf_counter()
            list(pool.map(np.copyto, target, source))
            best = min(best, time.perf_counter() - start)
    return 2.0 * source.nbytes / best / 1e9


def _node_flop(node, shapes: dict[str, tuple[int, ...]]) -> int:
    outputs = int(np.prod(shapes[node.output[0]]))
    if node.op_type == "Conv":
        weight = shapes[node.input[1]]  # (C_out, C_in / groups, *kernel)
        return 2 * outputs * int(np.prod(weight[1:]))
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return 2 * outputs * shapes[node.input[0]][0 if transposed else -1]
