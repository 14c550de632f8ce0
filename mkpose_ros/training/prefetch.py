"""The next batch is made while the network works on this one."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mkpose_ros.datasets.samples import CropSamples
from mkpose_ros.training.sources import BatchSource

__all__ = ["Prefetched"]


class Prefetched:
    """A source one batch ahead in a thread; its state is that of the last batch handed out, not of the one ahead."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="next-batch")
        self._state = source.state_dict()
        self._ahead: Future[tuple[CropSamples, dict[str, Any]]] | None = None

    def next_batch(self, count: int) -> CropSamples:
        """The next `count` samples; the batch after it will have as many."""
        ahead = self._ahead or self._thread.submit(self._make, count)
        batch, self._state = ahead.result()
        self._ahead = self._thread.submit(self._make, count)
        return batch

    def _make(self, count: int) -> tuple[CropSamples, dict[str, Any]]:
        return self._source.next_batch(count), self._source.state_dict()

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._ahead is not None:
            self._ahead.exception()  # let it end: the source serves one caller at a time
            self._ahead = None
        self._source.load_state_dict(state)
        self._state = state

    def close(self) -> None:
        self._source.close()  # first: it may be what the thread waits for
        self._thread.shutdown(wait=False, cancel_futures=True)
