"""Lets what takes long take a twentieth of the time, and no more."""

import time

CHEAP = 0.001  # seconds: what takes less is no matter
_SHARE = 20


class Ration:
    """Of one kind of work that is done again and again, by one thread."""

    def __init__(self) -> None:
        self._next = 0.0

    @property
    def wait(self) -> float:
        """Seconds until it may be done again; 0 if it may be done now."""
        return max(0.0, self._next - time.monotonic())

    def took(self, seconds: float) -> None:
        """Called when it was done."""
        self._next = time.monotonic() + _SHARE * seconds if seconds > CHEAP else 0.0
