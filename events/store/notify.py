"""When publishing says NOTIFY: a hint for relays that idle, given with the INSERT, so that it shares its fate."""

import time

_AT_ONCE = 5
_EVERY = 0.05  # seconds


class WakeUps:
    """Hands out wake-ups: some at once, then one now and then. For any thread; a race costs one too many.

    A transaction with a NOTIFY takes a lock of the whole database when it commits, so under load few may. A steady
    stream needs few: after each event a relay polls for longer than the time between two of them.
    """

    def __init__(self) -> None:
        self._left = float(_AT_ONCE)
        self._last = time.monotonic()

    def take(self) -> bool:
        """Whether this one may."""
        now = time.monotonic()
        self._left = min(_AT_ONCE, self._left + (now - self._last) / _EVERY)
        self._last = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
