"""Attempts per second of each handler of a worker, of late: the worker tells the ledger."""

import time
from collections import Counter

from events.monitoring.worker_counts import WorkerCounts

_OUTCOMES = ("succeeded", "retried", "dead")


class Activity:
    """Looks at a worker's counts now and then, and remembers their last state."""

    def __init__(self, worker_counts: WorkerCounts) -> None:
        self._worker_counts = worker_counts
        self._before, self._since = self._counts(), time.monotonic()

    def of_late(self) -> dict[str, dict[str, float]]:
        """Attempts per second since the last call, by handler and outcome; only of handlers that ended an attempt."""
        now, counts = time.monotonic(), self._counts()
        seconds = max(now - self._since, 0.001)
        rates: dict[str, dict[str, float]] = {}
        for (handler, outcome), count in counts.items():
            if count > self._before[handler, outcome]:
                of_handler = rates.setdefault(handler, dict.fromkeys(_OUTCOMES, 0.0))
                of_handler[outcome] = round((count - self._before[handler, outcome]) / seconds, 3)
        self._before, self._since = counts, now
        return rates

    def _counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for done in self._worker_counts.done():
            for outcome in _OUTCOMES:
                counts[done.handler, outcome] += getattr(done, outcome)
        return counts
