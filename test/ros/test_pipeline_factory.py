"""How the cores are shared out before anything is loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from mkpose_ros.inference.engine import physical_cores
from mkpose_ros.ros.parameters import Settings
from mkpose_ros.ros.pipeline_factory import shared_threads

AUTO = Settings(segment_every="auto")


@pytest.mark.parametrize(("threads", "shares"), [(1, (1, 1)), (2, (1, 1)), (3, (1, 2)), (8, (4, 4))])
def test_networks_that_work_at_once_never_have_more_threads_than_there_are_cores(threads, shares):
    assert shared_threads(replace(AUTO, threads=threads)) == shares
    assert threads == 1 or sum(shares) == threads


@pytest.mark.parametrize(
    "changes", [{"segment_every": "1"}, {"segment_every": "3"}, {"segmenter_device": "cuda"}, {"segmenter": "outside"}]
)
def test_networks_that_take_turns_have_all_cores_each(changes):
    assert shared_threads(replace(AUTO, threads=4, **changes)) == (4, 4)


def test_without_a_wish_there_is_a_thread_for_each_core():
    assert shared_threads(replace(AUTO, segment_every="1")) == (physical_cores(), physical_cores())
