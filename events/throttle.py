"""Faults that last: they are logged now and then, not each time, and tried again less and less often."""

import logging
import math
import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from events.text import brief

EVERY = 10.0  # seconds
_FORGET_AFTER = 600.0  # seconds; a failure that comes again later is logged whole
_KINDS = 1000  # of failures that are remembered
_DOUBLINGS = 60  # of a pause, after which it is the longest whatever the first one was
_LONGEST = 600  # characters: room for an error and its cure


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try: each time twice as long, in seconds.

    Attributes:
        first: the shortest pause.
        longest: the longest.
    """

    first: float
    longest: float

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row; `first` after one, or none."""
        doublings = min(max(failures - 1, 0), _DOUBLINGS)
        return min(self.first * 2.0**doublings, self.longest)


class Throttle:
    """Lets one line through each `every` seconds, and says how many it swallowed."""

    def __init__(self, log: logging.Logger, every: float = EVERY) -> None:
        self._log = log
        self._every = every
        self._lock = threading.Lock()
        self._next = 0.0
        self._swallowed = 0

    def warn(self, text: str) -> None:
        """Log the first line of `text`, or swallow it."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                self._swallowed += 1
                return
            self._next = now + self._every
            more, self._swallowed = self._swallowed, 0
        self._log.warning("%s%s", brief(text, _LONGEST), f" (and {more} times more)" if more else "")


@dataclass
class _Kind:
    seen: float  # when this failure last came
    told_whole: float = -math.inf
    line: str = ""  # of the last failure, as it is logged later
    extra: Mapping[str, object] = field(default_factory=dict)  # of the last failure
    more: int = 0  # failures that were counted and not logged


class Repeats:
    """Failures that are alike: the first is logged whole, then a line every `every` seconds says how many there were.

    No count is lost: `flush` logs the rest when the process ends. For any thread; each process has its own.
    """

    def __init__(self, log: logging.Logger, every: float = EVERY) -> None:
        self._log = log
        self._every = every
        self._lock = threading.Lock()
        self._kinds: dict[Hashable, _Kind] = {}
        self._timer: threading.Timer | None = None

    def warn(
        self, kind: Hashable, line: str, error: BaseException, extra: Mapping[str, object], later: str = ""
    ) -> None:
        """Log this failure with its traceback, or count it.

        Args:
            later: the line to log in place of `line` when time has passed and its words about the future are past.
        """
        with self._lock:
            known = self._known(kind)
            if known is not None:
                known.line, known.extra, known.more = later or line, extra, known.more + 1
                if self._timer is None:
                    self._timer = threading.Timer(self._every, self.flush)
                    self._timer.daemon = True
                    self._timer.start()
        if known is None:
            self._log.warning("%s", line, exc_info=error, extra=extra)

    def is_new(self, kind: Hashable) -> bool:
        """Whether no failure of its kind came lately."""
        with self._lock:
            self._known(kind)
            known, now = self._kinds[kind], time.monotonic()
            if now - known.told_whole < self._every:
                return False
            known.told_whole = now
            return True

    def flush(self) -> None:
        """Log the counts since the last time."""
        with self._lock:
            timer, self._timer = self._timer, None
            counted = [(one.line, one.extra, one.more) for one in self._kinds.values() if one.more]
            for one in self._kinds.values():
                one.extra, one.more = {}, 0
        if timer is not None:
            timer.cancel()
        for line, extra, more in counted:
            others = f" (and {more - 1} more like it)" if more > 1 else ""
            self._log.warning("in the last %g s: %s%s", self._every, line, others, extra=extra)

    def _known(self, kind: Hashable) -> _Kind | None:
        """The record of its kind; None if it is new, and known from now on."""
        now = time.monotonic()
        found = self._kinds.get(kind)
        if found is not None and now - found.seen < _FORGET_AFTER:
            found.seen = now
            return found
        if len(self._kinds) >= _KINDS:
            self._kinds = {key: one for key, one in self._kinds.items() if one.more}
        self._kinds[kind] = _Kind(now)
        return None
