"""The engines: the same numbers from each, any batch, and clear words for what is wrong."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mkpose_ros.errors import DependencyError, DeviceLostError, DeviceMemoryError, EngineError, InputError
from mkpose_ros.inference.base import OUTPUTS, PoseEngine
from mkpose_ros.inference.engine import ENGINES, open_engine, physical_cores
from mkpose_ros.inference.metadata import read_metadata

CPU_ENGINES = ("onnxruntime", "openvino")


def _expected(inputs):
    """The tiny model's translation and size, in numpy."""
    points, mask = inputs["points"], inputs["text_mask"][..., None]
    extent = points.max(axis=1) - points.min(axis=1)
    grey = inputs["image"].mean(axis=(1, 2, 3))[:, None] / 1000.0
    return points.mean(axis=1), extent + grey + np.abs((inputs["text"] * mask).mean(axis=(1, 2)))[:, None]


@pytest.mark.parametrize("backend", CPU_ENGINES)
@pytest.mark.parametrize("batch", [1, 2, 5, 16, 37])
def test_an_engine_gives_the_models_numbers_for_any_batch(tiny_model, make_inputs, backend, batch):
    engine = open_engine(tiny_model, backend)
    inputs = make_inputs(batch)
    outputs = engine.infer(inputs)
    translation, size = _expected(inputs)
    np.testing.assert_allclose(outputs["translation"], translation, atol=1e-6)
    np.testing.assert_allclose(outputs["size"], size, atol=1e-5)
    assert set(outputs) == set(OUTPUTS)
    assert all(len(value) == batch and value.dtype == np.float32 for value in outputs.values())
    engine.close()


@pytest.mark.parametrize("backend", CPU_ENGINES)
def test_an_empty_batch_gives_empty_outputs_of_the_right_shapes(tiny_model, make_inputs, backend):
    outputs = open_engine(tiny_model, backend).infer(make_inputs(0))
    assert outputs["rotation"].shape == (0, 3, 3)
    assert outputs["keypoints"].shape[0] == 0


@pytest.mark.parametrize("backend", CPU_ENGINES)
def test_outputs_of_one_call_survive_the_next_call(tiny_model, make_inputs, backend):
    engine = open_engine(tiny_model, backend)
    first = engine.infer(make_inputs(3, seed=1))
    kept = {name: value.copy() for name, value in first.items()}
    engine.infer(make_inputs(3, seed=2))
    for name in OUTPUTS:
        np.testing.assert_array_equal(first[name], kept[name])


@pytest.mark.parametrize("backend", CPU_ENGINES)
def test_a_closed_engine_says_so(tiny_model, make_inputs, backend):
    engine = open_engine(tiny_model, backend)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="open the engine again"):
        engine.infer(make_inputs(1))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("points", lambda x: x[:, :20], r"points is float32 \(2, 20, 3\), expected float32 \(2, 32, 3\)"),
        ("image", lambda x: x.astype(np.float32), "image is float32"),
        ("image", lambda x: x[:, :8], "image"),
        ("pixels", lambda x: x[:1], "pixels"),
        ("text", lambda x: x[0], "text"),
        ("text_mask", lambda x: x[:, :1], "text_mask"),
        ("points", lambda x: x * np.nan, "NaN"),
        ("pixels", lambda x: x + np.inf, "NaN or infinity"),
    ],
)
def test_wrong_inputs_are_refused_by_name(tiny_model, make_inputs, name, change, message):
    inputs = make_inputs(2)
    inputs[name] = change(inputs[name])
    with pytest.raises(InputError, match=message):
        open_engine(tiny_model, "onnxruntime").infer(inputs)


def test_missing_inputs_are_named(tiny_model, make_inputs):
    inputs = make_inputs(1)
    del inputs["text"], inputs["pixels"]
    with pytest.raises(InputError, match="lack pixels, text"):
        open_engine(tiny_model, "onnxruntime").infer(inputs)


def test_auto_opens_an_engine_and_logs_the_reason(tiny_model, make_inputs, caplog):
    with caplog.at_level(logging.INFO, logger="mkpose_ros"):
        engine = open_engine(tiny_model, "auto")
    assert engine.name in ENGINES
    assert f"engine {engine.name} chosen" in caplog.text
    assert "not onnxruntime-cuda: " in caplog.text or "cuda" in engine.name or "tensorrt" in engine.name


def test_auto_passes_over_what_is_not_installed(tiny_model, monkeypatch, caplog):
    monkeypatch.setattr("mkpose_ros.inference.engine.find_spec", lambda name: None if name != "openvino" else object())
    with caplog.at_level(logging.INFO, logger="mkpose_ros"):
        assert open_engine(tiny_model).name == "openvino"
    assert "onnxruntime is not installed" in caplog.text
    with pytest.raises(DependencyError, match="install mkpose_ros"):
        open_engine(tiny_model, "onnxruntime")


def test_auto_passes_over_a_gpu_engine_without_a_gpu(tiny_model, caplog):
    pytest.importorskip("tensorrt_rtx")
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if int(runtime.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("this machine has a GPU")
    with caplog.at_level(logging.INFO, logger="mkpose_ros"):
        open_engine(tiny_model)
    assert "not tensorrt-rtx: GPU 0 does not exist; found no NVIDIA GPU" in caplog.text


@pytest.mark.parametrize("options", [{"threads": -1}, {"precision": "fp8"}, {"device_index": -1}])
def test_engine_options_out_of_range_are_refused(tiny_model, options):
    with pytest.raises(InputError, match=r"engine options.*expected"):
        open_engine(tiny_model, "openvino", **options)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_the_result(tiny_model, make_inputs, threads):
    inputs = make_inputs(4)
    expected = _expected(inputs)[1]
    for backend in CPU_ENGINES:
        outputs = open_engine(tiny_model, backend, threads=threads).infer(inputs)
        np.testing.assert_allclose(outputs["size"], expected, atol=1e-5)


def test_an_unknown_engine_is_refused_with_the_list(tiny_model):
    with pytest.raises(InputError, match=r"'openvion' is unknown: expected auto, .*openvino"):
        open_engine(tiny_model, "openvion")


def test_a_folder_stands_for_the_model_in_it(tiny_model):
    assert open_engine(tiny_model.parent, "onnxruntime").metadata.size == "tiny"


class _SmallMemory(PoseEngine):
    """Has memory for a few instances only, as a GPU that others use too."""

    name = "small-memory"

    def __init__(self, metadata, room):
        self.metadata, self.room, self.freed, self.batches = metadata, room, 0, []

    def _run(self, inputs):
        batch = len(inputs["points"])
        self.batches.append(batch)
        if batch > self.room:
            raise DeviceMemoryError("out of memory")
        return {"translation": inputs["points"].mean(axis=1)}

    def _free_memory(self):
        self.freed += 1

    def close(self):
        pass


def test_a_full_device_gets_smaller_batches_and_no_frame_is_lost(tiny_model, make_inputs):
    engine = _SmallMemory(read_metadata(tiny_model), room=5)
    inputs = make_inputs(20)
    np.testing.assert_allclose(engine.infer(inputs)["translation"], inputs["points"].mean(axis=1))
    assert engine.batches == [16, 8, 4, 4, 4, 4, 4]
    assert engine.freed == 2
    engine.batches.clear()
    engine.infer(inputs)
    assert max(engine.batches) == 4


def test_a_device_without_room_for_one_instance_is_an_error(tiny_model, make_inputs):
    with pytest.raises(EngineError, match="one instance does not fit"):
        _SmallMemory(read_metadata(tiny_model), room=0).infer(make_inputs(3))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=robot", DeviceMemoryError),
        (
            "BFCArena: Failed to allocate memory for requested buffer of size 4096",
            DeviceMemoryError,
        ),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", DeviceLostError),
        ("CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR ; GPU=0", DeviceLostError),
        ("Invalid input name: nocs", EngineError),
    ],
)
def test_what_onnx_runtime_says_of_a_gpu_is_told_apart(tiny_model, make_inputs, monkeypatch, text, kind):
    engine = open_engine(tiny_model, "onnxruntime")

    class Failing:
        def run(self, names, inputs):
            raise RuntimeError(text)

    monkeypatch.setattr(engine, "_session", Failing())
    with pytest.raises(EngineError) as raised:
        engine._run(make_inputs(2))
    assert type(raised.value) is kind
    assert text in str(raised.value)


def test_threads_default_to_the_physical_cores_allowed():
    assert 1 <= physical_cores() <= 1024


def test_warming_up_runs_the_sizes_that_are_slow_to_start(tiny_model, monkeypatch):
    engine = open_engine(tiny_model, "openvino")
    seen, run = [], engine._run
    monkeypatch.setattr(engine, "_run", lambda inputs: (seen.append(len(inputs["points"])), run(inputs))[1])
    engine.warm_up((4, 6))
    assert seen == [4, 2, 1]
    engine.warm_up((4, 6), batches=(2, 5))
    assert seen[3:] == [2, 5]


def test_openvino_compiles_a_few_sizes_and_runs_others_in_pieces(tiny_model, make_inputs):
    engine = open_engine(tiny_model, "openvino")
    assert sorted(engine._requests) == [1]
    engine.infer(make_inputs(7))
    assert sorted(engine._requests) == [1, 2, 4]
    engine.infer(make_inputs(16))
    assert sorted(engine._requests) == [1, 2, 4]


def test_auto_takes_the_faster_cpu_engine(tiny_model, monkeypatch):
    cpu = {name: spec for name, spec in ENGINES.items() if name in CPU_ENGINES}
    monkeypatch.setattr("mkpose_ros.inference.engine.ENGINES", cpu)
    assert open_engine(tiny_model).name == "openvino"


def test_warming_up_an_engine_without_slow_starts_is_one_run(tiny_model):
    engine = _SmallMemory(read_metadata(tiny_model), room=1)
    engine.warm_up((4, 6))
    assert engine.batches == [1]
