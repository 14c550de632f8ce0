from __future__ import annotations

import threading

from mkpose_ros.ros.mailbox import Mailbox


def test_the_latest_item_wins_and_replacing_one_is_reported():
    mailbox = Mailbox()
    assert mailbox.put(1) is False
    assert mailbox.put(2) is True
    assert mailbox.take() == 2


def test_a_reader_waits_until_something_comes():
    mailbox, got = Mailbox(), []
    reader = threading.Thread(target=lambda: got.append(mailbox.take()))
    reader.start()
    mailbox.put("frame")
    reader.join(5)
    assert got == ["frame"]


def test_closing_wakes_the_reader_and_drops_what_waits():
    mailbox, got = Mailbox(), []
    reader = threading.Thread(target=lambda: got.append(mailbox.take()))
    reader.start()
    mailbox.close()
    reader.join(5)
    mailbox.put("late")
    assert got == [None]
    assert mailbox.take() is None


def test_clearing_tells_whether_something_waited():
    mailbox = Mailbox()
    assert mailbox.clear() is False
    mailbox.put(1)
    assert mailbox.clear() is True
