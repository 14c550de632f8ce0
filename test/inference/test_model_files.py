"""Files of models: what is in them is read, and what is wrong with them is said with their name."""

from __future__ import annotations

import numpy as np
import pytest

from mkpose_ros.errors import EngineError, ModelError
from mkpose_ros.inference.engine import open_engine
from mkpose_ros.inference.metadata import read_metadata

CPU_ENGINES = ("onnxruntime", "openvino")


@pytest.mark.parametrize("backend", CPU_ENGINES)
def test_a_checkpoint_is_left_to_torch(tmp_path, backend):
    (tmp_path / "best.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(EngineError, match=r"best\.safetensors is a checkpoint.*mkpose export"):
        open_engine(tmp_path / "best.safetensors", backend)


def test_metadata_is_read_without_an_engine(tiny_model):
    metadata = read_metadata(tiny_model)
    assert (metadata.size, metadata.crop_px, metadata.n_points) == ("tiny", 16, 32)
    assert metadata.categories == ("mug", "bottle")


@pytest.mark.parametrize(
    ("version", "advice"), [(2, r"newer: update mkpose_ros"), (0, r"older: run `mkpose export` again")]
)
def test_a_model_of_another_format_says_what_to_do(make_tiny_model, tmp_path, version, advice):
    path = make_tiny_model(tmp_path / "model.onnx", {"format_version": version})
    with pytest.raises(ModelError, match=f"format version {version}.*reads 1.*{advice}"):
        open_engine(path)


@pytest.mark.parametrize("backend", ["auto", *CPU_ENGINES])
def test_a_missing_model_is_named(tmp_path, backend):
    with pytest.raises(ModelError, match=r"model\.onnx is missing"):
        open_engine(tmp_path, backend)


@pytest.mark.parametrize("backend", ["auto", *CPU_ENGINES])
@pytest.mark.parametrize("damage", ["empty", "truncated", "random", "other"])
def test_a_damaged_model_is_a_model_error_that_names_the_file(tiny_model, backend, damage):
    content = tiny_model.read_bytes()
    damaged = {
        "empty": b"",
        "truncated": content[: len(content) // 2],
        "random": np.random.default_rng(0).bytes(1000),
        "other": b"\x89PNG\r\n\x1a\n" + bytes(500),
    }[damage]
    tiny_model.write_bytes(damaged)
    with pytest.raises(ModelError, match=str(tiny_model)):
        open_engine(tiny_model, backend)


def test_metadata_that_lacks_keys_names_them(make_tiny_model, tmp_path):
    path = make_tiny_model(tmp_path / "model.onnx", {"crop_px": None})
    with pytest.raises(ModelError, match="mkpose export"):
        read_metadata(path)


@pytest.mark.parametrize("backend", CPU_ENGINES)
def test_a_model_with_other_outputs_is_refused(tiny_model, backend):
    import onnx

    model = onnx.load(str(tiny_model))
    del model.graph.output[-1]
    onnx.save(model, str(tiny_model))
    with pytest.raises(ModelError, match="axis_symmetric"):
        open_engine(tiny_model, backend)
