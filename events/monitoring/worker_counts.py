"""Counts of the deliveries that the processes of one worker handled, in memory that the processes share.

Each process has a block of numbers, so that no two processes write the same number, and none waits for another. The
successor of a pool process that died goes on in the same block: a kill loses no counts, and the memory doesn't grow.
All series are there from the start, one for each event type and handler that is registered: no label is made later.
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
from pathlib import Path
from typing import Any

from events.hooks import Watcher
from events.ledger import Claim, Outcome, Result

_MILLISECONDS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500)
_SECONDS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
BOUNDS = (*(bound / 1000 for bound in _MILLISECONDS), *_SECONDS)  # of histograms, in seconds
OTHER = "other"  # a label for all that isn't registered, such as an event type to which only older code subscribed

_SLOTS = 128  # blocks: one for the main process, one for each of 126 children, and one that all other children share
_OUTCOMES = {Outcome.SUCCEEDED: 0, Outcome.RETRY: 1, Outcome.DEAD: 2, Outcome.HANDED_BACK: 3}
_HISTOGRAM = len(BOUNDS) + 2  # a count for each bound, a count of the values above all bounds, and the sum
_TO_START = len(_OUTCOMES)
_TO_DONE = _TO_START + _HISTOGRAM
_IN_HANDLER = _TO_DONE + _HISTOGRAM
_SERIES = _IN_HANDLER + _HISTOGRAM


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts`: how many values lie between each of BOUNDS and the bound before, then how many lie above all bounds.
    `total`: the sum of all values."""

    counts: list[float]
    total: float

    @property
    def count(self) -> float:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Done:
    """The outcomes of the deliveries of one event type to one handler, since the worker started."""

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
    """Made in a worker's main process, before its pool forks; each child calls `enter`.

    Args:
        pairs: event type and handler of all deliveries that this worker may get.
        reasons: the reasons for which messages may be parked.
        slots: blocks of numbers.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], reasons: Iterable[str], slots: int = _SLOTS) -> None:
        known = sorted(set(pairs))
        handlers = sorted({handler for _, handler in known})
        self._pairs = [*known, *((OTHER, handler) for handler in handlers), (OTHER, OTHER)]
        self._of_pair = {pair: number * _SERIES for number, pair in enumerate(self._pairs)}
        end = len(self._pairs) * _SERIES
        self._reasons = {reason: end + number for number, reason in enumerate([*sorted(set(reasons)), OTHER])}
        self._width, self._slots = end + len(self._reasons), slots
        # Before the blocks stands a mark for each block that is in use: reading an unused block would take memory.
        self._numbers = memoryview(mmap.mmap(-1, 8 * slots * (1 + self._width))).cast("d")
        self._lock_file = _nameless_file()
        self._lock: AbstractContextManager[Any]
        self.enter(None)

    def enter(self, index: int | None) -> None:
        """Count into the block of this process: `index` is its number in the pool, None for the main process."""
        slot = 0 if index is None else min(index + 1, self._slots - 1)
        self._block = self._slots + slot * self._width
        self._lock = threading.Lock()  # the parent's may have been held when it forked
        if slot == self._slots - 1:
            self._lock = _SharedLock(self._lock_file)
        self._numbers[slot] = 1.0

    def attempted(self, claim: Claim, result: Result, took: float) -> None:
        outcome = _OUTCOMES.get(result.outcome)
        if outcome is None:  # the worker that has the delivery counts it
            return
        series = self._of_pair.get((claim.envelope.event_type, claim.handler))
        if series is None:
            series = self._of_pair.get((OTHER, claim.handler), self._of_pair[OTHER, OTHER])
        at = self._block + series
        numbers, age = self._numbers, max(claim.age, 0.0)  # the publisher's clock may be ahead
        with self._lock:
            numbers[at + outcome] += 1.0
            if took:
                place = at + _IN_HANDLER
                numbers[place + bisect_left(BOUNDS, took)] += 1.0
                numbers[place + _HISTOGRAM - 1] += took
            if claim.token == 1:
                place = at + _TO_START
                numbers[place + bisect_left(BOUNDS, age)] += 1.0
                numbers[place + _HISTOGRAM - 1] += age
            if outcome == 0:
                age += time.monotonic() - claim.taken
                place = at + _TO_DONE
                numbers[place + bisect_left(BOUNDS, age)] += 1.0
                numbers[place + _HISTOGRAM - 1] += age

    def parked(self, reason: str) -> None:
        with self._lock:
            self._numbers[self._block + self._reasons.get(reason, self._reasons[OTHER])] += 1.0

    def done(self) -> list[Done]:
        """All series of this worker; those of OTHER only if they counted a delivery."""
        sums = self._sums()
        series = []
        for pair, at in self._of_pair.items():
            if pair[0] != OTHER or any(sums[at : at + _SERIES]):
                succeeded, retried, dead, handed_back = sums[at : at + len(_OUTCOMES)]
                histograms = [_histogram(sums, at + start) for start in (_TO_START, _TO_DONE, _IN_HANDLER)]
                series.append(Done(*pair, succeeded, retried, dead, handed_back, *histograms))
        return series

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
    """A lock between processes, and between the threads of each. The death of a process releases its lock."""

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
    Path(name).unlink()
    return number
