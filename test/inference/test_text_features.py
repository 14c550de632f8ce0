"""Text features: padded, masked, extended by description, and clear about what is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from mkpose_ros.errors import DependencyError, InputError, ModelError
from mkpose_ros.inference.text_features import TextFeatures, load_text_features


def test_features_are_padded_and_masked():
    features = TextFeatures({"mug": np.ones((2, 3)), "can": np.full((4, 3), 2.0)}, tokens=5)
    text, mask = features.batch(["can", "mug", "can"])
    assert text.shape == (3, 5, 3)
    np.testing.assert_array_equal(mask.sum(axis=1), [4, 2, 4])
    np.testing.assert_array_equal(text[mask == 0], 0.0)
    assert text[1, 0, 0] == 1.0


def test_the_same_names_twice_cost_no_copy_until_a_description_changes(monkeypatch):
    features = TextFeatures({"mug": np.ones((2, 3)), "can": np.full((4, 3), 2.0)}, tokens=5)
    text, _ = features.batch(["can", "mug"])
    assert features.batch(("can", "mug"))[0] is text
    assert features.batch(["mug", "can"])[0][0, 0, 0] == 1.0
    monkeypatch.setitem(sys.modules, "mkpose_ros.network.text", _Encoder)
    features.batch(["can", "mug"])
    features.add({"can": "a can"})
    assert features.batch(["can", "mug"])[0][0, 0, 0] == 7.0


class _Encoder:
    """In the place of the module of the text encoder."""

    @staticmethod
    def encode_descriptions(descriptions):
        return {name: np.full((4, 3), 7.0) for name in descriptions}


def test_features_survive_a_file(tmp_path):
    values = {"mug": np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)}
    save_file(values, str(tmp_path / "text.safetensors"))
    loaded = load_text_features(tmp_path / "text.safetensors")
    text, mask = loaded.batch(["mug"])
    np.testing.assert_array_equal(text[mask > 0], values["mug"])
    assert loaded.fingerprint(["mug"]) == TextFeatures(values).fingerprint(["mug"])


def test_the_fingerprint_sees_any_change():
    features = TextFeatures({"mug": np.ones((2, 3)), "can": np.ones((2, 3))})
    changed = TextFeatures({"mug": np.ones((2, 3)), "can": np.full((2, 3), 1.001)})
    assert features.fingerprint(["mug"]) == changed.fingerprint(["mug"])
    assert features.fingerprint(["mug", "can"]) != changed.fingerprint(["mug", "can"])


@pytest.mark.parametrize("content", [None, b"", b"random bytes that are no header"])
def test_a_missing_or_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "text.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=str(path)):
        load_text_features(path)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (6, 3), (2, 4)])
def test_features_of_a_wrong_shape_are_refused_by_name(shape):
    with pytest.raises(InputError, match="text features of can are"):
        TextFeatures({"mug": np.ones((2, 3)), "can": np.ones(shape)}, tokens=5)


def test_a_new_category_without_the_text_encoder_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mkpose_ros.network.text", None)
    with pytest.raises(DependencyError, match=r"toaster.*pip install mkpose_ros\[train\]"):
        TextFeatures({"mug": np.ones((2, 3))}).add({"toaster": "A box with two slots on top."})


def test_a_new_category_is_served_once_it_is_described(monkeypatch):
    class Encoder:
        @staticmethod
        def encode_descriptions(descriptions):
            return {name: np.full((3, 3), len(text), np.float32) for name, text in descriptions.items()}

    monkeypatch.setitem(sys.modules, "mkpose_ros.network.text", Encoder)
    features = TextFeatures({"mug": np.ones((2, 3))}, tokens=4)
    features.add({"toaster": "A box.", "mug": "A cup."})
    assert features.names == ("mug", "toaster")
    assert features.batch(["toaster"])[0].max() == 6.0
    assert features.batch(["mug"])[1].sum() == 3.0
