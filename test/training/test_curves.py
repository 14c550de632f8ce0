"""Learning curves: read from runs, drawn, and extrapolated by a power law."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mkpose_ros.commands.train import train
from mkpose_ros.errors import InputError
from mkpose_ros.training.curves import CURVES, fit_power_law, forecast_table, read_curve


@pytest.fixture
def run(tmp_path):
    """A run of batch 10 whose distances from the best fall with the root of the samples, from 80 at 1000 samples."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("batch: 10\n")
    rows = [{"group": "train", "step": 50, "loss": 1.0}]
    for step in range(100, 1001, 100):
        distance = 80.0 * (step / 100) ** -0.5
        rows.append({"group": "val", "step": step} | {k: abs(best - distance) for k, best in CURVES.items()})
    (folder / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return folder


def test_a_power_law_is_found_and_carried_on(run):
    curve = read_curve(run)
    law = fit_power_law(curve.samples, curve.values["median_rotation_deg"])
    assert law.exponent == pytest.approx(0.5)
    assert law.at(40_000) == pytest.approx(80.0 * 40**-0.5)
    row = next(line for line in forecast_table(curve).splitlines() if line.startswith("| iou50"))
    assert row == "| iou50 | 74.7 | 0.50 ± 0.00 | 87.4 (87.4 to 87.4) | 92.0 (92.0 to 92.0) |"


def test_noise_widens_the_forecast():
    rng = np.random.default_rng(0)
    samples = np.geomspace(1e3, 1e5, 30)
    law = fit_power_law(samples, 50.0 * (samples / 1e5) ** -0.3 * np.exp(rng.normal(0, 0.1, 30)))
    assert abs(law.exponent - 0.3) < 3 * law.error
    assert 0.01 < law.error < 0.1


def test_a_few_points_give_no_law():
    assert fit_power_law(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) is None


def test_the_command_draws_and_prints(run, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- curves -->\nold\n<!-- /curves -->\n\nEnd.\n")
    arguments = ["--curves", str(tmp_path / "c.png"), "--run", str(run), "--page", str(page)]
    result = CliRunner().invoke(train, arguments)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "![learning curves](c.png)" in text
    assert "| run | 10000 | 74.7 |" in text
    assert "old" not in text
    assert text.endswith("\nEnd.\n")
    assert "| run | 10000 | 74.7 |" in result.output
    assert cv2.imread(str(tmp_path / "c.png")).shape[1] > 500


def test_a_folder_that_is_no_run_is_said(tmp_path):
    with pytest.raises(InputError, match="expected a run folder"):
        read_curve(tmp_path)
