"""The command behind the times in docs/evaluation.md."""

from __future__ import annotations

import re

import numpy as np
from click.testing import CliRunner

from mkpose_ros.evaluation import NOCS, evaluate, speed


def test_the_command_counts_what_it_times():
    result = CliRunner().invoke(speed.main, ["--images", "5", "--pairs", "300", "--seed", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    shares = [int(s) for s in re.findall(r"(\d+)%", result.output)]
    assert len(shares) == 3
    assert shares[0] > 95 > shares[1] > shares[2]
    assert re.findall(r"(\w+): 5 images", result.output) == ["nocs", "corners", "exact"]


def test_the_images_have_all_categories_and_predictions_worth_measuring():
    predictions, truths = speed.random_images(np.random.default_rng(0), 60)
    report = evaluate(predictions, truths, "exact")
    assert report.images == 60
    assert (report.instances > 0).all()
    assert (report.instances == report.predictions).all()
    assert report.invalid == 0
    assert 0.0 < report.mean("iou50") < 100.0
    assert len(report.ap["iou50"]) == len(NOCS.categories)


def test_every_call_is_timed():
    calls = []
    assert (speed.seconds(lambda: calls.append(1), 3) >= 0.0).all()
    assert len(calls) == 3
