"""What the node counts, times and says: throttled logs, counters and latencies, shared by its two threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping

from rclpy.impl.rcutils_logger import RcutilsLogger

__all__ = ["Monitor"]

_WINDOW = 300  # frames whose times the percentiles cover


class Monitor:
    """Counters and log lines. Safe to call from any thread; it never raises for a name it has not seen."""

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._times_ms: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_WINDOW))
        self._last_said: dict[str, float] = {}
        self._last_problem = ""

    def count(self, name: str, n: int = 1) -> None:
        """Add n to a counter."""
        if n:
            with self._lock:
                self._counts[name] += n

    def problem(self, name: str, sentence: str, *, period_s: float = 5.0) -> None:
        """Count a problem and warn of it, at most once in period_s."""
        self.count(name)
        with self._lock:
            self._last_problem = sentence
        if self._may_say(name, period_s):
            self._logger.warning(sentence)

    def error(self, name: str, sentence: str, *, period_s: float = 5.0) -> None:
        """Count a failure and log it as an error, at most once in period_s."""
        self.count(name)
        with self._lock:
            self._last_problem = sentence
        if self._may_say(name, period_s):
            self._logger.error(sentence)

    def once(self, name: str, sentence: str) -> None:
        """Warn the first time only."""
        if self._may_say(name, float("inf")):
            self._logger.warning(sentence)

    def record_ms(self, times_ms: Mapping[str, float]) -> None:
        """Keep the times of a frame, by stage."""
        with self._lock:
            for name, value in times_ms.items():
                self._times_ms[name].append(value)

    @property
    def last_problem(self) -> str:
        """The sentence of the newest problem; empty when there was none."""
        with self._lock:
            return self._last_problem

    def counts(self) -> dict[str, int]:
        """All counters."""
        with self._lock:
            return dict(self._counts)

    def percentiles_ms(self) -> dict[str, tuple[float, float, float]]:
        """For each stage p50, p95 and p99 of the last frames: of n times in order the one at n/2, 0.95 n, 0.99 n."""
        with self._lock:
            copies = {name: list(values) for name, values in self._times_ms.items()}
        # Sorted by hand: ten calls of np.percentile would hold up the inference thread for milliseconds.
        return {
            name: tuple(ordered[len(ordered) * percent // 100] for percent in (50, 95, 99))
            for name, ordered in ((name, sorted(values)) for name, values in copies.items())
        }

    def _may_say(self, name: str, period_s: float) -> bool:
        now = time.monotonic()
        with self._lock:
            if name in self._last_said and now - self._last_said[name] < period_s:
                return False
            self._last_said[name] = now
            return True
