"""A mailbox with one slot: what is put last wins, so a slow reader works on the newest frame and no queue grows."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Mailbox"]

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands single items from one thread to another."""

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leave an item; True when it replaced one that nobody had taken. A closed mailbox takes nothing."""
        with self._filled:
            replaced = self._item is not None
            if not self._closed:
                self._item = item
                self._filled.notify()
            return replaced

    def take(self) -> T | None:
        """Wait for an item and take it; None once the mailbox is closed."""
        with self._filled:
            self._filled.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> bool:
        """Throw away a waiting item; True when there was one."""
        with self._filled:
            had_item, self._item = self._item is not None, None
            return had_item

    def close(self) -> None:
        """Wake the reader for good: every `take` returns None from now on."""
        with self._filled:
            self._closed, self._item = True, None
            self._filled.notify_all()
