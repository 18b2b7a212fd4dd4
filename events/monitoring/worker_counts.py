"""What the processes of one worker did with deliveries, counted in memory that they share.

There is a block of numbers for each process, so that no two write the same number and none waits for another. A pool
process that died is replaced by one that goes on in the same block: a kill loses nothing, and nothing grows. All
series are there from the start, one for each event type and handler that is registered: labels are never made later.
"""

import fcntl
import mmap
import os
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from events.hooks import Watcher
from events.ledger import Claim, Outcome, Result

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
          3600.0)  # fmt: skip
OTHER = "other"  # what isn't registered, such as the event type of a subscription that older code left behind

_SLOTS = 128  # processes that have a block of their own: the main one, and 126 children; the others share the last
_OUTCOMES = {Outcome.SUCCEEDED: 0, Outcome.RETRY: 1, Outcome.DEAD: 2, Outcome.HANDED_BACK: 3}
_HISTOGRAM = len(BOUNDS) + 2  # a number for each bound, one for what is above them, and the sum
_TO_START = len(_OUTCOMES)
_TO_DONE = _TO_START + _HISTOGRAM
_IN_HANDLER = _TO_DONE + _HISTOGRAM
_SERIES = _IN_HANDLER + _HISTOGRAM


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many lay within each of BOUNDS and not within the one before, then how many above all; and their sum."""

    counts: list[float]
    total: float

    @property
    def count(self) -> float:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of the deliveries of one event type to one handler, since the worker started."""

    event_type: str
    handler: str
    succeeded: float
    retried: float
    dead: float
    handed_back: float
    commit_to_start: Histogram
    commit_to_done: Histogram
    in_handler: Histogram


class WorkerCounts(Watcher):
    """Made in a worker's main process, before its pool forks; each child says `enter`.

    Args:
        pairs: event type and handler of all that this worker may be given.
        reasons: for which messages may be parked.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], reasons: Iterable[str], slots: int = _SLOTS) -> None:
        known = sorted(set(pairs))
        handlers = sorted({handler for _, handler in known})
        self._pairs = [*known, *((OTHER, handler) for handler in handlers), (OTHER, OTHER)]
        self._of_pair = {pair: number * _SERIES for number, pair in enumerate(self._pairs)}
        end = len(self._pairs) * _SERIES
        self._reasons = {reason: end + number for number, reason in enumerate([*sorted(set(reasons)), OTHER])}
        self._width, self._slots = end + len(self._reasons), slots
        # First a mark for each block that is in use: to read the others would be to take memory for them.
        self._numbers = memoryview(mmap.mmap(-1, 8 * slots * (1 + self._width))).cast("d")
        self._lock_file = _nameless_file()
        self._lock: AbstractContextManager[Any]
        self.enter(None)

    def enter(self, index: int | None) -> None:
        """Count into the block of the pool's process of that number; None is the main process."""
        slot = 0 if index is None else min(index + 1, self._slots - 1)
        self._block = self._slots + slot * self._width
        self._lock = threading.Lock()  # the parent's may have been held when it forked
        if slot == self._slots - 1:
            self._lock = _SharedLock(self._lock_file)
        self._numbers[slot] = 1.0

    def attempted(self, claim: Claim, result: Result, took: float) -> None:
        which = _OUTCOMES.get(result.outcome)
        if which is None:  # not ours: whoever has it counts it
            return
        series = self._of_pair.get((claim.envelope.event_type, claim.handler))
        if series is None:
            series = self._of_pair.get((OTHER, claim.handler), self._of_pair[OTHER, OTHER])
        at = self._block + series
        numbers, age = self._numbers, max(claim.age, 0.0)  # the clock of whoever stored it may be ahead
        with self._lock:
            numbers[at + which] += 1.0
            if took:
                place = at + _IN_HANDLER
                numbers[place + bisect_left(BOUNDS, took)] += 1.0
                numbers[place + _HISTOGRAM - 1] += took
            if claim.token == 1:
                place = at + _TO_START
                numbers[place + bisect_left(BOUNDS, age)] += 1.0
                numbers[place + _HISTOGRAM - 1] += age
            if which == 0:
                age += time.monotonic() - claim.taken
                place = at + _TO_DONE
                numbers[place + bisect_left(BOUNDS, age)] += 1.0
                numbers[place + _HISTOGRAM - 1] += age

    def parked(self, reason: str) -> None:
        with self._lock:
            self._numbers[self._block + self._reasons.get(reason, self._reasons[OTHER])] += 1.0

    def done(self) -> list[Done]:
        """All series of this worker. `other` is among them only if something was counted there."""
        sums = self._sums()
        found = []
        for pair, at in self._of_pair.items():
            if pair[0] != OTHER or any(sums[at : at + _SERIES]):
                succeeded, retried, dead, handed_back = sums[at : at + len(_OUTCOMES)]
                histograms = [_histogram(sums, at + start) for start in (_TO_START, _TO_DONE, _IN_HANDLER)]
                found.append(Done(*pair, succeeded, retried, dead, handed_back, *histograms))
        return found

    def parked_messages(self) -> dict[str, float]:
        """How many messages this worker parked, by reason."""
        sums = self._sums()
        return {reason: sums[at] for reason, at in self._reasons.items() if reason != OTHER or sums[at]}

    def _sums(self) -> list[float]:
        starts = [self._slots + slot * self._width for slot in range(self._slots) if self._numbers[slot]]
        blocks = [self._numbers[start : start + self._width].tolist() for start in starts]
        return [sum(column) for column in zip(*blocks, strict=True)]


def _histogram(sums: list[float], at: int) -> Histogram:
    return Histogram(sums[at : at + _HISTOGRAM - 1], sums[at + _HISTOGRAM - 1])


class _SharedLock:
    """Between processes, and between the threads of each. Whoever is killed with it in hand lets go of it."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)
        self._threads.release()


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("events-tally")
    number, name = tempfile.mkstemp()
    os.unlink(name)  # noqa: PTH108
    return number
