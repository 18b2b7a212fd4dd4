"""Counts of this process's relay. The labels come from the ledger, not from a registry, so their number is bounded."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from events.hooks import Watcher
from events.ledger import FannedOut, Group
from events.monitoring.worker_counts import OTHER

_MOST = 500  # pairs of event type and handler that are counted apart; all others are counted as OTHER

Pair = tuple[str, str]  # event type and handler


class RelayCounts(Watcher):
    """Counts in this process alone: the relay is a thread of it, and so is the search for lost workers."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._published: Counter[str] = Counter()
        self._made: Counter[Pair] = Counter()
        self._sent: Counter[Pair] = Counter()
        self._expired = 0

    def fanned_out(self, result: FannedOut) -> None:
        with self._lock:
            for kind, count in result.published.items():
                known = kind in self._published or len(self._published) < self._most
                self._published[kind if known else OTHER] += count
            self._add(self._made, result.made)

    def sent(self, groups: Sequence[Group]) -> None:
        counts = Counter((wakeup.event_type, wakeup.handler) for group in groups for wakeup in group)
        with self._lock:
            self._add(self._sent, counts)

    def expired(self, count: int) -> None:
        with self._lock:
            self._expired += count

    def _add(self, counts: Counter[Pair], more: Mapping[Pair, int]) -> None:
        for pair, count in more.items():
            counts[pair if pair in counts or len(counts) < self._most else (OTHER, OTHER)] += count

    @property
    def published(self) -> dict[str, int]:
        """Events that became deliveries, by type."""
        with self._lock:
            return dict(self._published)

    @property
    def made(self) -> dict[Pair, int]:
        """Deliveries that were made of events."""
        with self._lock:
            return dict(self._made)

    @property
    def given_away(self) -> dict[Pair, int]:
        """Deliveries that the transport took. A delivery that is sent again counts again."""
        with self._lock:
            return dict(self._sent)

    @property
    def lost_workers(self) -> int:
        """Deliveries whose worker died or fell silent."""
        with self._lock:
            return self._expired
