"""Strangers' pickles: their data comes through, their code does not."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mkpose_ros.datasets.pickles import load_pickle
from mkpose_ros.errors import InputError


class Bomb:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_values_come_through_every_protocol(tmp_path, protocol):
    content = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "strings": np.array(["mug", "can"]),
        "number": np.float64(2.5),
        "flags": np.array([True, False]),
        "fortran": np.asfortranarray(np.eye(3)),
        "list": [1, ("two", {3}), b"four", None],
    }
    path = tmp_path / "label.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = load_pickle(path)
    assert found["list"] == content["list"]
    for key in ("a", "strings", "number", "flags", "fortran"):
        assert (found[key] == content[key]).all()
        assert found[key].dtype == content[key].dtype


def test_the_module_names_of_old_and_new_numpy_are_read(tmp_path):
    new = pickle.dumps({"a": np.arange(3), "s": np.int64(7)}, protocol=2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    for content in (old, new):
        (tmp_path / "label.pkl").write_bytes(content)
        found = load_pickle(tmp_path / "label.pkl")
        assert found["a"].tolist() == [0, 1, 2]
        assert found["s"] == 7


def test_code_is_refused_by_file_and_global_and_never_run(tmp_path):
    path, proof = tmp_path / "label.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"class_ids": Bomb(proof)}))
    with pytest.raises(InputError, match=rf"{path}.*(posix|nt)\.system"):
        load_pickle(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "builtins getattr", "numpy.testing assert_equal", "numpy load", "os.path join"]
)
def test_only_the_few_known_globals_are_found(tmp_path, name):
    path = tmp_path / "label.pkl"
    path.write_bytes(b"c" + name.replace(" ", "\n").encode() + b"\n.")
    with pytest.raises(InputError, match=name.replace(" ", ".")):
        load_pickle(path)


@pytest.mark.parametrize("content", [b"", b"\x80", b"no pickle", pickle.dumps(np.arange(100))[:60]])
def test_a_damaged_pickle_is_named(tmp_path, content):
    path = tmp_path / "label.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"label\.pkl"):
        load_pickle(path)


def test_a_missing_pickle_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pkl"):
        load_pickle(tmp_path / "nowhere.pkl")
