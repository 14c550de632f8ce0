"""The fast evaluator against an independent, slow one on random scenes."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import random_scene
from slow_evaluator import evaluate_slowly

from mkpose_ros.evaluation import HOUSECAT6D, NOCS, evaluate


def assert_agree(mode, protocol, count, seed):
    rng = np.random.default_rng(seed)
    images = [random_scene(rng, protocol.categories) for _ in range(count)]
    report = evaluate([p for p, _ in images], [t for _, t in images], mode, protocol=protocol)
    slow = evaluate_slowly(images, mode, protocol.categories, protocol.symmetric, protocol.handle_category)
    for metric, expected in slow.items():
        found = dict(zip(protocol.categories, report.ap[metric], strict=True))
        assert found == pytest.approx(expected, abs=2e-3), metric


@pytest.mark.parametrize("protocol", [NOCS, HOUSECAT6D], ids=lambda p: p.name)
@pytest.mark.parametrize("mode", ["nocs", "corners"])
def test_a_hundred_random_scenes_agree(mode, protocol):
    assert_agree(mode, protocol, 100, seed=3)


def test_random_scenes_agree_with_half_space_intersection():
    assert_agree("exact", NOCS, 12, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["nocs", "corners", "exact"])
def test_a_thousand_random_scenes_agree(mode):
    assert_agree(mode, NOCS, 1000, seed=11)
