"""Streams that stop, lag, repeat, loop and jump, against the real node."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rig import stamp_of
from std_srvs.srv import SetBool

MS = 1_000_000


@pytest.fixture(autouse=True)
def recorded_time(rig):
    """Stamps of a recording, far from now, without an age limit; each test starts with an empty input."""
    assert rig.set(max_age=0.0, stream_timeout=0.4)[0]
    enable(rig, False)
    enable(rig, True)
    yield
    assert rig.set(max_age=5.0, stream_timeout=2.0)[0]


def enable(rig, yes):
    assert rig.call(SetBool, "set_enabled", SetBool.Request(data=yes)).success


def input_says(rig, text):
    status = rig.status("input")
    return status is not None and status.level == DiagnosticStatus.WARN and text in status.message


def test_streams_further_apart_than_the_slop_are_reported_with_the_gap(rig, node):
    def reported():
        stamp = rig.now_ns()
        rig.send(stamp_ns=stamp, depth_stamp_ns=stamp + 40 * MS)
        rig.spin(0.25)
        return input_says(rig, "stamps are 40.0 ms apart, slop is 16.0 ms")

    rig.until(reported, 10, "the measured gap")
    assert "raise slop" in node.log
    assert rig.set(slop=0.05)[0]
    stamp = rig.now_ns()
    assert rig.detect(stamp_ns=stamp, depth_stamp_ns=stamp + 40 * MS).objects
    assert rig.set(slop=0.016)[0]


def test_a_stream_that_stops_is_stale_and_recovers_alone(rig, node):
    rig.detect()

    def stale():
        rig.send(with_depth=False)
        rig.spin(0.1)
        return input_says(rig, "/depth/image_raw: stale")

    rig.until(stale, 10, "a stale depth stream")
    rig.detect()
    rig.until(lambda: "/depth/image_raw: messages arrive again" in node.log, 5)


def test_a_camera_that_leaves_and_returns_is_used_again(rig):
    rig.detect()
    rig.until(lambda: input_says(rig, "stale"), 10, "stale streams")
    assert rig.detect().objects


def test_depth_at_half_rate_gives_half_the_rate(rig):
    start = 5_000_000_000
    for i in range(10):
        rig.send(stamp_ns=start + 33 * i * MS, with_depth=i % 2 == 0)
        rig.spin(0.08)
    stamps = {stamp_of(m) for m in rig.detections}
    assert stamps <= {start + 66 * i * MS for i in range(5)}
    assert len(stamps) >= 3  # transport is best effort


def test_a_recording_that_loops_is_processed_again_at_once(rig, node):
    first = [rig.detect(stamp_ns=10_000 * MS + 100 * i * MS) for i in range(30) if i % 10 == 0]
    assert len(first) == 3
    rig.detections.clear()
    again = rig.send(stamp_ns=10_000 * MS)  # once: the first frame of the second round must do
    assert rig.until(lambda: rig.result_of(again), 5, "the second round's first result").objects
    assert "stamps went back by 2.00 s" in node.log


def test_a_recording_shorter_than_the_jump_threshold_loops_too(rig):
    stamps = [20_000 * MS + 100 * i * MS for i in range(6)]
    for stamp in stamps:
        rig.detect(stamp_ns=stamp)
    rig.detections.clear()
    for _ in range(3):
        for stamp in stamps:
            rig.send(stamp_ns=stamp)
            rig.spin(0.05)
    assert rig.detections


def test_an_hour_forward_goes_on(rig):
    rig.detect(stamp_ns=30_000 * MS)
    assert rig.detect(stamp_ns=30_000 * MS + 3600 * 1000 * MS).objects


def test_a_stamp_of_zero_is_refused_and_counted(rig, node):
    before = rig.counter("rejected_stamp")
    rig.send(stamp_ns=0)
    rig.until(lambda: rig.counter("rejected_stamp") > before, 5)
    assert "the stamp is 0" in node.log


def test_a_repeated_stamp_is_processed_once(rig):
    stamp = stamp_of(rig.detect(stamp_ns=40_000 * MS))
    before = rig.counter("duplicates")
    rig.detections.clear()
    rig.until(lambda: (rig.send(stamp_ns=stamp), rig.counter("duplicates") > before)[1], 10)
    assert rig.detections == []


def test_a_frame_older_than_the_last_one_is_dropped(rig):
    rig.detect(stamp_ns=50_000 * MS)
    before = rig.counter("out_of_order")
    rig.send(stamp_ns=49_900 * MS)
    rig.until(lambda: rig.counter("out_of_order") > before, 5)
    assert rig.result_of(49_900 * MS) is None
    assert rig.detect(stamp_ns=50_100 * MS).objects


def test_old_and_future_frames_are_dropped_and_counted(rig, node):
    assert rig.set(max_age=0.5)[0]
    for shift_s, counter, text in (
        (-60, "dropped_old", "s old, max_age is 0.5"),
        (60, "dropped_future", "in the future"),
    ):
        enable(rig, False)
        enable(rig, True)
        before = rig.counter(counter)
        stamp = rig.send(stamp_ns=rig.now_ns() + shift_s * 1000 * MS)
        rig.until(lambda counter=counter, before=before: rig.counter(counter) > before, 5)
        assert rig.result_of(stamp) is None
        assert text in node.log


def test_a_slow_engine_gets_the_newest_frame_and_drops_are_counted(rig):
    before = rig.counter("dropped_busy")
    rig.detections.clear()
    sent = []
    for _ in range(60):  # into an engine that takes half a second
        sent.append(rig.send(1, delay_s=0.5))
        rig.spin(1 / 60)
    newest = set(sent[-5:])  # transport is best effort
    rig.until(lambda: newest & {stamp_of(m) for m in rig.detections}, 10, "the newest frame's result")
    rig.spin(1.0)
    assert len(rig.detections) < len(sent) / 2  # a queue would answer each of them
    assert rig.counter("dropped_busy") > before


def test_nothing_stale_comes_after_the_node_is_enabled_again(rig):
    rig.detect()
    rig.send(delay_s=0.5)  # in work while the node is disabled
    rig.spin(0.1)
    enable(rig, False)
    rig.detections.clear()
    hidden = [rig.send(), rig.send()]
    rig.spin(0.7)
    assert rig.detections == []
    enable(rig, True)
    rig.spin(0.3)
    assert rig.detections == []
    message = rig.detect()
    assert stamp_of(message) not in hidden
