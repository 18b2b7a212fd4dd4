"""What stays wrong is told now and then, not each time, and tried again less and less often."""

import logging
import math
import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from events.text import brief

EVERY = 10.0  # seconds
_FORGET_AFTER = 600.0  # seconds; what comes again after that is told whole
_KINDS = 1000  # that are remembered
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
    seen: float  # when it last came
    told_whole: float = -math.inf
    line: str = ""  # of the last one, as it is told later
    extra: Mapping[str, object] = field(default_factory=dict)  # of that
    more: int = 0  # that were not told


class Repeats:
    """Failures that are alike: the first of a kind whole, then every `every` seconds a line with how many there were.

    No count is lost: `flush` tells what is left when the process ends. For any thread; each process has its own.
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
            later: what to say in place of `line` if it is told later, when what that says of the future is past.
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
        """Whether none of its kind was asked about of late."""
        with self._lock:
            self._known(kind)
            known, now = self._kinds[kind], time.monotonic()
            if now - known.told_whole < self._every:
                return False
            known.told_whole = now
            return True

    def flush(self) -> None:
        """Tell what was counted since the last time."""
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
        """None if it is new; from now on it is known."""
        now = time.monotonic()
        found = self._kinds.get(kind)
        if found is not None and now - found.seen < _FORGET_AFTER:
            found.seen = now
            return found
        if len(self._kinds) >= _KINDS:
            self._kinds = {key: one for key, one in self._kinds.items() if one.more}
        self._kinds[kind] = _Kind(now)
        return None
