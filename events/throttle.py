"""Log lines about something that stays wrong: now and then, not each time."""

import logging
import threading
import time

from events.redaction import brief

EVERY = 10.0  # seconds


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
        self._log.warning("%s%s", brief(text), f" (and {more} times more)" if more else "")
