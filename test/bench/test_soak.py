"""The verdict of a soak on what a process might have held."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from mkpose_ros.bench.soak import Health, judge

SECONDS = 600


def _health(rss_mb, threads=None, handles=None) -> Health:
    steady = np.full(SECONDS, 20)
    return Health(
        list(range(SECONDS)),
        list(rss_mb),
        list(steady if threads is None else threads),
        list(steady if handles is None else handles),
    )


def test_memory_that_rises_while_it_warms_up_and_then_waves_is_flat():
    time_s = np.arange(SECONDS)
    memory = 700 - 60 * np.exp(-time_s / 50) + 2 * np.sin(time_s / 20)
    verdict = judge(_health(memory))
    assert verdict["flat"]
    assert verdict["sentences"][-1].startswith("FLAT: memory 698 to 698 MB")


def test_a_slow_leak_is_found():
    verdict = judge(_health(700 + 200 * np.arange(SECONDS) / 3600))  # 200 MB an hour: 2.8 % of it in six minutes
    assert not verdict["flat"]
    assert verdict["rss_mb"]["per_hour"] == pytest.approx(200)
    assert verdict["sentences"][-1].startswith("NOT FLAT")


@pytest.mark.parametrize("what", ["threads", "handles"])
def test_one_thread_or_handle_more_is_growth(what):
    more = np.where(np.arange(SECONDS) < 500, 20, 21)
    assert not judge(_health(np.full(SECONDS, 700), **{what: more}))["flat"]


def test_threads_that_come_while_it_warms_up_are_none():
    early = np.where(np.arange(SECONDS) < 100, 20, 33)
    assert judge(_health(np.full(SECONDS, 700), threads=early))["flat"]
