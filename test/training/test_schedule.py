from __future__ import annotations

import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.training.config import load_train_config, save_train_config
from mkpose_ros.training.schedule import cosine, cyclic


def test_cosine_rises_then_falls_to_its_floor():
    rates = [cosine(i, steps=1000, warmup=100) for i in range(1001)]
    assert rates.index(max(rates)) in (99, 100)
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(0.01)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_cyclic_has_the_published_peak_and_floor():
    lr = 5e-4
    rates = [lr * cyclic(i, steps=0, warmup=20000) for i in (0, 20000, 40000, 60000)]
    assert rates == pytest.approx([2e-5, 5e-4, 2e-5, 5e-4])


def test_overrides_reach_nested_keys():
    config = load_train_config("train_small", ["optim.lr=3e-3", "data.exclude=[shoe]", "steps=7"])
    assert (config.optim.lr, config.data.exclude, config.steps) == (3e-3, ["shoe"], 7)


@pytest.mark.parametrize("wrong", ["stepz=3", "steps=many", "optim.schedule=linear", "batch=1", "augment.hue=[1]"])
def test_a_wrong_key_or_value_is_named(wrong):
    with pytest.raises(InputError, match=wrong.split("=")[0].split(".")[-1]):
        load_train_config("train_small", [wrong])


def test_a_saved_configuration_is_read_back_equal(tmp_path):
    config = load_train_config("train_small", ["loss.nocs=3.0"])
    save_train_config(config, tmp_path / "config.yaml")
    assert load_train_config(tmp_path / "config.yaml") == config
