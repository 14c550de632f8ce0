"""The command behind the times in docs/synthesis.md."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner

from mkpose_ros.synthesis import speed

STAGES = ["scene", "render", "expose", "structured-light", "fill_holes", "active-stereo", "time-of-flight"]


@pytest.mark.usefixtures("renderer")
def test_each_stage_is_timed_in_each_frame_and_warming_up_is_left_out():
    times = speed.time_stages(frames=2, objects=1, seed=3, warm_up=1)
    assert list(times) == STAGES
    for stage, values in times.items():
        assert len(values) == (6 if stage == "fill_holes" else 2), stage  # once for each of three sensors
        assert np.isfinite(values).all()
        assert (values > 0.0).all()


def test_the_command_prints_a_line_a_stage(monkeypatch):
    asked = []

    def measured(frames, objects, seed):
        asked.append((frames, objects, seed))
        return {"scene": np.array([10.0, 20.0, 30.0]), "render": np.array([40.0])}

    monkeypatch.setattr(speed, "time_stages", measured)
    result = CliRunner().invoke(speed.main, ["--frames", "3", "--objects", "2", "--seed", "4"], catch_exceptions=False)
    assert result.exit_code == 0
    assert asked == [(3, 2, 4)]
    rows = [re.findall(r"[\w.]+", line) for line in result.output.splitlines()]
    assert ["scene", "20.0", "28.0", "29.0", "30.0", "50.0"] in rows
    assert ["render", "40.0", "40.0", "40.0", "40.0", "25.0"] in rows
