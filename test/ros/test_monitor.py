"""What the node counts, times and says."""

from __future__ import annotations

import numpy as np

from mkpose_ros.ros.monitor import Monitor


class _Log:
    def __init__(self):
        self.lines = []

    def warning(self, text):
        self.lines.append(text)

    error = warning


def test_percentiles_are_those_of_the_last_frames():
    monitor, rng = Monitor(_Log()), np.random.default_rng(0)
    times_ms = rng.exponential(10.0, 500)
    for value in times_ms:
        monitor.record_ms({"engine": value})
    expected = np.percentile(times_ms[-300:], (50, 95, 99), method="higher")
    np.testing.assert_allclose(monitor.percentiles_ms()["engine"], expected)
    monitor.record_ms({"crops": 2.0})
    assert monitor.percentiles_ms()["crops"] == (2.0, 2.0, 2.0)


def test_repeats_are_counted_and_said_once_in_a_while():
    log = _Log()
    monitor = Monitor(log)
    for _ in range(3):
        monitor.problem("dropped", "a frame was dropped")
        monitor.once("lens", "the lens is bent")
    monitor.problem("dropped", "another one", period_s=0.0)
    assert log.lines == ["a frame was dropped", "the lens is bent", "another one"]
    assert monitor.counts() == {"dropped": 4}
    assert monitor.last_problem == "another one"
