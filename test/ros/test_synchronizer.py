"""Both synchronisers pass the same tests; message_filters' runs where it is installed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rig import to_time

from mkpose_ros.ros import synchronizer

MS = 1_000_000
KINDS = [
    synchronizer.OwnSynchronizer,
    pytest.param(
        synchronizer.RosSynchronizer,
        marks=pytest.mark.skipif(synchronizer.SimpleFilter is None, reason="message_filters is not installed"),
    ),
]


@pytest.fixture(params=KINDS)
def make(request):
    """(n_streams, queue_size, slop_s) -> (synchroniser, list of matched stamps in ms)."""

    def make(n_streams=2, queue_size=10, slop_s=0.010):
        matches = []

        def on_match(*messages):
            matches.append(tuple(synchronizer.stamp_ns(m) // MS for m in messages))

        return request.param(n_streams, queue_size, slop_s, on_match), matches

    return make


def message(stamp_ms):
    return SimpleNamespace(header=SimpleNamespace(stamp=to_time(round(stamp_ms * MS))))


def test_equal_stamps_match_also_with_a_slop_of_zero(make):
    sync, matches = make(slop_s=0.0)
    sync.add(0, message(1000))
    sync.add(1, message(1001))
    sync.add(1, message(1000))
    assert matches == [(1000, 1000)]


def test_stamps_match_up_to_the_slop_and_not_beyond(make):
    sync, matches = make(slop_s=0.010)
    sync.add(0, message(1000))
    sync.add(1, message(1010))
    sync.add(0, message(2000))
    sync.add(1, message(2011))
    assert matches == [(1000, 1010)]


def test_the_nearest_message_is_chosen(make):
    sync, matches = make()
    for stamp in (1000, 1006, 1009):
        sync.add(0, message(stamp))
    sync.add(1, message(1005))
    assert matches == [(1006, 1005)]


def test_order_of_arrival_does_not_matter(make):
    sync, matches = make()
    sync.add(1, message(1002))
    sync.add(0, message(1000))
    assert matches == [(1000, 1002)]


def test_each_message_is_used_once(make):
    sync, matches = make()
    sync.add(0, message(1000))
    sync.add(1, message(1001))
    sync.add(1, message(1002))
    assert matches == [(1000, 1001)]


def test_a_stream_at_half_rate_matches_at_half_rate(make):
    sync, matches = make()
    for i in range(10):
        sync.add(0, message(1000 + 33 * i))
        if i % 2 == 0:
            sync.add(1, message(1000 + 33 * i + 3))
    assert len(matches) == 5


def test_the_queue_is_bounded_and_drops_the_oldest(make):
    sync, matches = make(queue_size=3)
    for stamp in (1000, 1100, 1200, 1300):
        sync.add(0, message(stamp))
    sync.add(1, message(1000))
    sync.add(1, message(1100))
    assert matches == [(1100, 1100)]


def test_after_a_full_queue_of_newer_stamps_older_ones_starve_until_reset(make):
    sync, matches = make(queue_size=3)
    for stamp in (9000, 9100, 9200):
        sync.add(0, message(stamp))
    sync.add(0, message(1000))
    sync.add(1, message(1000))
    assert matches == []
    sync.reset()
    sync.add(0, message(1000))
    sync.add(1, message(1000))
    assert matches == [(1000, 1000)]


def test_three_streams_match_only_when_all_lie_within_the_slop(make):
    sync, matches = make(n_streams=3)
    sync.add(0, message(1000))
    sync.add(1, message(992))
    sync.add(2, message(1008))
    assert matches == []
    sync.add(1, message(1004))
    assert matches == [(1000, 1004, 1008)]


def test_an_exception_in_the_callback_does_not_lock_the_synchroniser(make, request):
    sync, matches = make()
    record, sync._callback = sync._callback, lambda *_: 1 / 0
    sync.add(0, message(1000))
    with pytest.raises(ZeroDivisionError):
        sync.add(1, message(1000))
    sync._callback = record
    sync.add(0, message(1100))
    sync.add(1, message(1100))
    assert matches == [(1100, 1100)]
