"""The stopwatch and what it is read against: fair turns, percentiles, counted operations."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from mkpose_ros.bench.cost import matrix_peak_gflops, model_cost
from mkpose_ros.bench.engine import bench_engines
from mkpose_ros.bench.roofline import bench_roofline
from mkpose_ros.bench.timing import interleave, rows_table, rss_mb, timing_row
from mkpose_ros.cli import cli
from mkpose_ros.errors import EngineError

SIDE, POINTS = 8, 10
CONTRACT = {"name", "backend", "model", "batch", "threads", "median_ms", "p95_ms", "p99_ms", "per_s", "rss_mb"}


@pytest.fixture
def model(tmp_path):
    """A convolution and two matrix products, with the contract's inputs and outputs as far as they are needed."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "linear": rng.normal(size=(3, 9)).astype(np.float32),
        "axes": np.array([1]),
        "square": np.array([-1, 3, 3]),
        "six": np.array([6]), "start": np.array([0]), "last": np.array([1]),
        "scale": np.float32(0.0),
    }  # fmt: skip
    n = helper.make_node
    nodes = [
        n("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        n("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        n("Conv", ["planes", "kernel"], ["maps"]),
        n("ReduceMean", ["maps"], ["level"], axes=[1, 2, 3], keepdims=0),
        n("MatMul", ["points", "linear"], ["features"]),
        n("ReduceMean", ["features"], ["pooled"], axes=[1], keepdims=0),
        n("Reshape", ["pooled", "square"], ["rotation"]),
        n("ReduceMean", ["points"], ["translation"], axes=[1], keepdims=0),
        n("Abs", ["translation"], ["size"]),
        n("Identity", ["points"], ["keypoints"]),
        n("MatMul", ["points", "rotation"], ["nocs"]),
        n("Slice", ["pooled", "start", "six", "last"], ["log_variance"]),
        n("Mul", ["level", "scale"], ["axis_symmetric"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["B", SIDE, SIDE, 3]),
        helper.make_tensor_value_info("points", TensorProto.FLOAT, ["B", POINTS, 3]),
    ]
    names = ("rotation", "translation", "size", "keypoints", "nocs", "log_variance", "axis_symmetric")
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "counted", inputs, outputs, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entry = {"format_version": 1, "size": "counted", "crop_px": SIDE, "n_points": POINTS, "categories": []}
    helper.set_model_props(proto, {"mkpose": json.dumps(entry)})
    onnx.save(proto, str(tmp_path / "model.onnx"))
    return tmp_path / "model.onnx"


def test_operations_and_parameters_are_those_counted_by_hand(model):
    cost = model_cost(model, (4, 6))
    convolution = 2 * (4 * 6 * 6) * (3 * 3 * 3)
    linear = 2 * (POINTS * 9) * 3
    product = 2 * (POINTS * 3) * 3
    assert cost.flop == convolution + linear + product
    assert cost.parameters == 4 * 27 + 27 + 1


def test_each_task_gets_its_turns_and_warm_up_is_not_counted():
    calls = []
    times = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=50, warm_up=3)
    assert {len(t.wall_ms) for t in times.values()} == {len(t.cpu_ms) for t in times.values()} == {50}
    assert calls.count("a") == calls.count("b") == 53
    assert all(set(calls[i : i + 2]) == {"a", "b"} for i in range(0, len(calls), 2))  # turn by turn
    firsts = calls[::2]
    assert 10 < firsts.count("a") < 43  # in random order


def test_waiting_costs_wall_time_and_no_processor_time():
    times = interleave({"wait": lambda: time.sleep(0.02)}, repeats=3, warm_up=0)["wait"]
    assert min(times.wall_ms) >= 20.0
    assert min(times.cpu_ms) < min(times.wall_ms) / 2


def test_a_row_holds_the_contracts_keys_and_numpys_percentiles():
    times = list(np.random.default_rng(0).uniform(1.0, 9.0, 200))
    row = timing_row("engine", times, backend="x", model="small", batch=4, threads=2, memory_mb=1.0)
    assert set(row) == CONTRACT
    assert row["median_ms"] == pytest.approx(np.median(times))
    assert row["median_ms"] < row["p95_ms"] < row["p99_ms"] <= max(times)
    assert row["per_s"] == pytest.approx(4000.0 / row["median_ms"])


def test_the_table_shows_what_rows_have_and_a_dash_for_what_one_lacks():
    rows = [{"name": "one", "median_ms": 1.5}, {"name": "two", "median_ms": 2.5, "gflop": 3.0}]
    table = rows_table(rows)
    assert [str(column.header) for column in table.columns] == ["what", "median ms", "GFLOP each"]
    assert list(table.columns[2].cells) == ["-", "3.00"]


def test_memory_and_peak_are_plausible():
    assert 10.0 < rss_mb() < 1e6
    assert 0.1 < matrix_peak_gflops(1, size=128, seconds=0.05) < 1e5


def test_the_bench_times_every_engine_at_hand_and_leaves_out_the_others(model):
    # Without openvino-bf16: a signal in a process that has used its matrix unit ended the test process.
    engines = ["onnxruntime", "openvino", "torch"]
    rows = bench_engines([model], engines=engines, batches=(1, 3), repeats=3, threads=1, text_shape=(4, 6))
    backends = {row["backend"] for row in rows}
    assert {"onnxruntime", "openvino"} <= backends
    assert "torch" not in backends  # there is no checkpoint beside the model
    assert {(row["backend"], row["batch"]) for row in rows} == {(b, n) for b in backends for n in (1, 3)}
    for row in rows:
        assert set(row) >= CONTRACT
        assert row["peak_share"] == pytest.approx(row["gflop"] * row["per_s"] / row["peak_gflops"])
        assert math.isfinite(row["median_ms"])


def test_the_bench_without_any_engine_says_so(model):
    with pytest.raises(EngineError, match="none of torch can run"):
        bench_engines([model], engines=["torch"], repeats=3)


def test_the_command_writes_rows_as_json(model, monkeypatch):
    result = CliRunner().invoke(
        cli,
        ["bench", "engine", "--models", str(model), "--engines", "onnxruntime", "--batches", "1,2", "--repeats", "3",
         "--threads", "1", "--json", "-"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert [row["batch"] for row in json.loads(result.stdout)] == [1, 2]


@pytest.mark.parametrize("batches", ["0", "1,x", ""])
def test_wrong_batches_are_wrong_usage(batches):
    result = CliRunner().invoke(cli, ["bench", "engine", "--batches", batches])
    assert result.exit_code == 2
    assert "expected" in result.output


def test_the_roof_is_no_lower_than_the_operations_and_the_bytes_allow(model):
    cost = model_cost(model, (4, 2))
    weights = 4 * (4 * 3 * 3 * 3 + 3 * 9)
    maps = 4 * (SIDE - 2) ** 2
    # Of the convolution its picture and maps, of the products points, features, points, a rotation and coordinates.
    floats = 3 * SIDE**2 + maps + 3 * POINTS + 9 * POINTS + 3 * POINTS + 9 + 3 * POINTS
    assert (cost.weight_bytes, cost.activation_bytes) == (weights, 4 * floats)
    (row,) = bench_roofline([model], backend="onnxruntime", batch=2, repeats=3, threads=1, text_shape=(4, 2))
    assert set(row) >= CONTRACT
    assert row["gflop_batch"] == pytest.approx(2 * cost.flop / 1e9)
    assert row["mbytes"] == pytest.approx((weights + 2 * 4 * floats) / 1e6)
    least_ms = max(1e3 * row["gflop_batch"] / row["peak_gflops"], row["mbytes"] / row["peak_gbs"])
    assert row["roof_ms"] == pytest.approx(least_ms)
    assert row["roof_share"] == pytest.approx(row["roof_ms"] / row["median_ms"])
