"""What each handler of a worker does a second, as of late: what the worker tells the ledger of itself."""

import time
from collections import Counter

from events.monitoring.worker_counts import WorkerCounts

_OUTCOMES = ("succeeded", "retried", "dead")


class Activity:
    """Looks at a tally now and then, and remembers how it stood."""

    def __init__(self, tally: WorkerCounts) -> None:
        self._tally = tally
        self._before, self._since = self._counts(), time.monotonic()

    def of_late(self) -> dict[str, dict[str, float]]:
        """Handler to outcome to how many a second, since the last call; only handlers that did something."""
        now, counts = time.monotonic(), self._counts()
        seconds = max(now - self._since, 0.001)
        rates: dict[str, dict[str, float]] = {}
        for (handler, outcome), count in counts.items():
            if count > self._before[handler, outcome]:
                theirs = rates.setdefault(handler, dict.fromkeys(_OUTCOMES, 0.0))
                theirs[outcome] = round((count - self._before[handler, outcome]) / seconds, 3)
        self._before, self._since = counts, now
        return rates

    def _counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for done in self._tally.done():
            for outcome in _OUTCOMES:
                counts[done.handler, outcome] += getattr(done, outcome)
        return counts
