"""Decides which INSERTs also send a NOTIFY: a hint for idle relays, committed or rolled back with the event."""

import time

_AT_ONCE = 5
_EVERY = 0.05  # seconds


class WakeUps:
    """Allows wake-ups: some at once, then one now and then. Any thread may ask; a race allows one too many.

    A transaction with a NOTIFY takes a lock of the whole database when it commits, so only few may have one under load.
    A steady stream needs few: after each event, a relay polls for longer than the time between two wake-ups.
    """

    def __init__(self) -> None:
        self._left = float(_AT_ONCE)
        self._last = time.monotonic()

    def take(self) -> bool:
        """Whether this INSERT may send a NOTIFY."""
        now = time.monotonic()
        self._left = min(_AT_ONCE, self._left + (now - self._last) / _EVERY)
        self._last = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
