"""Decides when deliveries that run side by side look for others of their handler, to take them along.

A message ends, so that messages of other handlers have their turn: for some time deliveries that have no part in it are
taken along, and then only while one that was begun in that time still runs.
"""

TAKES_ALONG = 1.0  # seconds
# Seconds between looks. The relay leaves a delivery to them for ALONG_WITHIN (see events.ledger): while there is
# something to take, they are closer to each other.
_FIRST_LOOK, _NEXT_LOOK, _LONGEST_LOOK = 0.005, 0.015, 0.1


class Looks:
    """The looks of one message. Times are of one clock, in seconds; `now`: when the message begins."""

    def __init__(self, now: float) -> None:
        self.until = now + TAKES_ALONG
        self._next = now + _FIRST_LOOK
        self._every = _NEXT_LOOK

    def is_due(self, now: float) -> bool:
        return now >= self._next

    def wait(self, now: float) -> float:
        """The seconds until the next look."""
        return max(0.0, self._next - now)

    def looked(self, now: float, found: bool) -> None:
        """There was a look, and it found something or nothing."""
        self._every = _NEXT_LOOK if found else min(2 * self._every, _LONGEST_LOOK)
        self._next = now + self._every
