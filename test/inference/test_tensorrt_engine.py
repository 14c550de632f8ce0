"""The TensorRT engine on a fake device: buckets, graphs, the cache, and every fault of a GPU (rows 31 to 37)."""

from __future__ import annotations

import importlib.util
import logging
import signal
import time

import numpy as np
import pytest
from fake_nvidia import FakeContext, FakeCuda, FakeEngineFile, FakeTensorRt

from mkpose_ros.errors import DependencyError, DeviceLostError, DeviceMemoryError, EngineError
from mkpose_ros.inference.base import OUTPUTS
from mkpose_ros.inference.cuda import Cuda
from mkpose_ros.inference.engine import open_engine
from mkpose_ros.inference.tensorrt_builder import build_plan, load_tensorrt
from mkpose_ros.inference.tensorrt_engine import TensorRtEngine


def _open(model, folder, cuda=None, trt=None, **options):
    cuda = cuda or (trt.cuda if trt else FakeCuda())
    trt = trt or FakeTensorRt(cuda)
    return TensorRtEngine(model, cache_folder=folder, runtime=cuda, trt=trt, **options), trt


@pytest.mark.parametrize("can_capture", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 3, 8, 16, 21])
def test_buckets_graphs_and_padding_do_not_change_the_numbers(tiny_model, tmp_path, make_inputs, batch, can_capture):
    engine, trt = _open(tiny_model, tmp_path, FakeCuda(can_capture=can_capture))
    reference = open_engine(tiny_model, "onnxruntime")
    engine.infer(make_inputs(16, seed=9))  # what it leaves in the buffers must not show
    for seed in (1, 2):
        inputs = make_inputs(batch, seed)
        outputs, expected = engine.infer(inputs), reference.infer(inputs)
        for name in OUTPUTS:
            np.testing.assert_allclose(outputs[name], expected[name], atol=1e-6)
    assert (trt.cuda.launches > 0) == can_capture


def test_outputs_of_one_frame_survive_the_next(tiny_model, tmp_path, make_inputs):
    engine, _ = _open(tiny_model, tmp_path)
    first = engine.infer(make_inputs(3, seed=1))
    kept = first["size"].copy()
    engine.infer(make_inputs(3, seed=2))
    np.testing.assert_array_equal(first["size"], kept)


def test_the_second_start_loads_the_engine_that_the_first_one_built(tiny_model, tmp_path, caplog):
    _, trt = _open(tiny_model, tmp_path)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        _, again = _open(tiny_model, tmp_path)
    assert (trt.builds, again.builds) == (1, 0)
    assert not caplog.records


@pytest.mark.parametrize("changed", ["tensorrt", "gpu", "capability", "model", "precision"])
def test_an_engine_of_anything_else_is_never_loaded_but_built_anew(tiny_model, make_tiny_model, tmp_path, changed):
    folder = tmp_path / "cache"
    _open(tiny_model, folder)
    cuda = FakeCuda(
        devices=("NVIDIA Fake 2",) if changed == "gpu" else ("NVIDIA Fake 1",),
        capability=(12, 0) if changed == "capability" else (9, 0),
    )
    trt = FakeTensorRt(cuda, version="11.0.0" if changed == "tensorrt" else "10.16.1")
    if changed in ("model", "precision"):
        make_tiny_model(tiny_model, {"note": 1} if changed == "model" else {"precision": "fp16"})
    _open(tiny_model, folder, cuda, trt)
    assert trt.builds == trt.loads == 1


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "random", "one byte"])
def test_a_damaged_engine_file_is_recognised_before_it_is_loaded(tiny_model, tmp_path, caplog, damage):
    folder = tmp_path / "cache"
    _open(tiny_model, folder)
    (path,) = folder.glob("*.engine")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        spoiled = {
            "empty": b"",
            "truncated": content[:-5],
            "random": np.random.default_rng(0).bytes(400),
            "one byte": content[:-1] + bytes([content[-1] ^ 1]),
        }
        path.write_bytes(spoiled[damage])
    _, trt = _open(tiny_model, folder)
    assert trt.builds == trt.loads == 1
    assert path.read_bytes() == content
    assert (damage == "missing") or "building anew" in caplog.text


def test_a_whole_engine_that_the_driver_refuses_is_built_once_more(tiny_model, tmp_path):
    _open(tiny_model, tmp_path)
    trt = FakeTensorRt(FakeCuda())
    trt.refusals = 1
    _open(tiny_model, tmp_path, trt=trt)
    assert (trt.builds, trt.loads) == (1, 2)


def test_an_engine_that_can_never_be_loaded_is_an_error_and_frees_the_device(tiny_model, tmp_path):
    trt = FakeTensorRt(FakeCuda())
    trt.refusals = 9
    with pytest.raises(EngineError, match="update the GPU's driver"):
        _open(tiny_model, tmp_path, trt=trt)
    assert trt.cuda.live == []


def test_a_failed_build_is_an_error_and_leaves_nothing_in_the_cache(tiny_model, tmp_path):
    trt = FakeTensorRt(FakeCuda())
    trt.fails = True
    with pytest.raises(EngineError, match="did not build"):
        _open(tiny_model, tmp_path / "cache", trt=trt)
    assert not list((tmp_path / "cache").glob("*.engine*"))
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_a_build_can_be_cancelled(tiny_model, tmp_path):
    with pytest.raises(EngineError, match="it was cancelled"):
        _open(tiny_model, tmp_path, is_cancelled=lambda: True)


def test_without_a_gpu_the_error_says_so():
    with pytest.raises(EngineError, match="no NVIDIA GPU at all"):
        Cuda(0, FakeCuda(devices=()))


def test_a_wrong_device_index_lists_the_devices():
    cuda = FakeCuda(devices=("NVIDIA Fake 1", "NVIDIA Fake 2"))
    with pytest.raises(EngineError, match="GPU 2 does not exist; found 0: NVIDIA Fake 1, 1: NVIDIA Fake 2"):
        Cuda(2, cuda)
    assert Cuda(1, cuda).name == "NVIDIA Fake 2"


def test_a_small_gpu_serves_smaller_batches(tiny_model, tmp_path, make_inputs):
    reference = open_engine(tiny_model, "onnxruntime")
    full = FakeCuda()
    _open(tiny_model, tmp_path, full)
    cuda = FakeCuda(capacity=full.used // 2)
    engine, _ = _open(tiny_model, tmp_path, cuda)
    assert engine.max_batch in (4, 8)
    assert cuda.used <= cuda.capacity
    inputs = make_inputs(16)
    np.testing.assert_allclose(engine.infer(inputs)["size"], reference.infer(inputs)["size"], atol=1e-6)


def test_a_gpu_without_room_for_one_instance_is_an_error_and_is_freed(tiny_model, tmp_path):
    cuda = FakeCuda(capacity=100)
    with pytest.raises(DeviceMemoryError, match="cudaErrorMemoryAllocation"):
        _open(tiny_model, tmp_path, cuda)
    assert (cuda.used, cuda.live) == (0, [])


def test_memory_that_runs_out_while_running_halves_the_batch(tiny_model, tmp_path, make_inputs):
    engine, trt = _open(tiny_model, tmp_path)
    cuda, launch, failures = trt.cuda, trt.cuda.cudaGraphLaunch, [2, 2]

    def crowded(graph, stream):
        return (failures.pop(),) if failures else launch(graph, stream)

    cuda.cudaGraphLaunch = crowded
    crowded.__name__ = "cudaGraphLaunch"
    inputs = make_inputs(16)
    expected = open_engine(tiny_model, "onnxruntime").infer(inputs)
    np.testing.assert_allclose(engine.infer(inputs)["size"], expected["size"], atol=1e-6)
    assert engine.max_batch == 4
    assert cuda.live.count("graph") == 3  # of batches 1, 2, 4


def test_a_sticky_error_says_that_the_process_must_start_again(tiny_model, tmp_path, make_inputs):
    engine, trt = _open(tiny_model, tmp_path)
    trt.cuda.fault = 700
    with pytest.raises(DeviceLostError, match=r"cudaErrorIllegalAddress.*started again"):
        engine.infer(make_inputs(1))
    engine.close()


def test_closing_gives_everything_back_and_can_be_repeated(tiny_model, tmp_path, make_inputs):
    engine, trt = _open(tiny_model, tmp_path)
    engine.close()
    engine.close()
    assert (trt.cuda.used, trt.cuda.memory, trt.cuda.live) == (0, {}, [])
    with pytest.raises(EngineError, match="open the engine again"):
        engine.infer(make_inputs(1))


def test_the_installed_binding_reports_a_machine_without_a_driver():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if int(runtime.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match="no NVIDIA GPU"):
        Cuda(0)


def _public(fake):
    return [name for name in dir(fake) if not name.startswith("_")]


def test_the_fake_runtime_has_no_function_that_the_real_one_lacks():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for name in _public(FakeCuda):
        assert not name.startswith("cuda") or hasattr(runtime, name), name
    for enum in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        for member in vars(getattr(FakeCuda, enum)):
            assert hasattr(getattr(runtime, enum), member), member


def test_the_fake_tensorrt_has_no_method_that_the_real_one_lacks():
    trt = pytest.importorskip("tensorrt_rtx")
    own = {"builds", "loads", "refusals", "fails", "on_build"}
    assert [n for n in _public(FakeTensorRt) if n not in own and not hasattr(trt, n)] == []
    assert [n for n in _public(FakeEngineFile) if not hasattr(trt.ICudaEngine, n)] == []
    assert [n for n in _public(FakeContext) if not hasattr(trt.IExecutionContext, n)] == []
    assert hasattr(trt.ExecutionContextAllocationStrategy, "USER_MANAGED")
    assert hasattr(trt.TensorIOMode, "INPUT")


def test_a_missing_tensorrt_names_the_instructions(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
    with pytest.raises(DependencyError, match=r"docs/engines\.md"):
        load_tensorrt("tensorrt-rtx")


needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")


@needs_rtx
def test_the_real_builder_builds_the_tiny_model(tiny_model):
    assert len(build_plan(load_tensorrt("tensorrt-rtx"), tiny_model, batches=(1, 4))) > 1000


@needs_rtx
def test_the_real_builder_can_be_cancelled(tiny_model):
    with pytest.raises(EngineError, match="it was cancelled"):
        build_plan(load_tensorrt("tensorrt-rtx"), tiny_model, batches=(1,), is_cancelled=lambda: True)


@needs_rtx
def test_control_c_during_a_build_is_no_crash(tiny_model, request):
    # A shell's background job ignores SIGINT, and Python then installs no handler of its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    steps = []

    def press_control_c():
        steps.append(1)
        if len(steps) == 1:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0)  # Python delivers the signal between two instructions
        return False

    with pytest.raises(KeyboardInterrupt):
        build_plan(load_tensorrt("tensorrt-rtx"), tiny_model, batches=(1,), is_cancelled=press_control_c)
    assert len(steps) <= 3


@needs_rtx
def test_the_real_parsers_complaint_names_the_model(tiny_model):
    tiny_model.write_bytes(b"no model")
    with pytest.raises(EngineError, match=str(tiny_model)):
        build_plan(load_tensorrt("tensorrt-rtx"), tiny_model)
