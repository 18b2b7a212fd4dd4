"""How long a handler takes for one delivery, as this process sees it, told to the ledger for the relay to group by."""

import logging
import time
from dataclasses import dataclass

from events.ledger import Subscriptions

log = logging.getLogger("events.delivery")

_EVERY, _AT_ONCE = 2.0, 0.1  # seconds between reports of a small change, of one by half or more
_HINDERED = 1.0  # seconds: a pace at which nothing is grouped
_MANY = 100  # deliveries: a mean of so many changes slowly


@dataclass
class _Pace:
    mean: float
    seen: int  # deliveries that it is the mean of
    told: float = 0.0
    told_at: float = 0.0


class Pacing:
    """The means of one process."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions
        self._paces: dict[str, _Pace] = {}
        self._apart: set[str] = set()

    def note(self, handler: str, seconds: float, count: int = 1) -> None:
        """`count` deliveries took `seconds` together."""
        each = seconds / count
        pace = self._paces.get(handler)
        if pace is None:
            pace = self._paces[handler] = _Pace(each, 0)
        else:
            # The second counts instead of the first, which connects, imports and compiles; then each counts less.
            pace.mean += (each - pace.mean) * max(min(0.5, count / 20), 1 / max(pace.seen, 1))
        pace.seen += count
        if handler in self._apart:
            pace.mean = max(pace.mean, _HINDERED)
        self._tell(handler, pace)

    def keep_apart(self, handler: str) -> None:
        """From now on its deliveries travel by themselves, as far as this process can say."""
        if handler not in self._apart:
            self._apart.add(handler)
            log.info("handler %s changes more than rows: its deliveries share no transaction any more", handler,
                     extra={"handler": handler})  # fmt: skip
            self.hindered(handler)

    def is_apart(self, handler: str) -> bool:
        return handler in self._apart

    def hindered(self, handler: str) -> None:
        """A group of it did not end well: for a while, its deliveries travel by themselves."""
        pace = self._paces.setdefault(handler, _Pace(_HINDERED, 0))
        pace.mean, pace.seen = max(pace.mean, _HINDERED), _MANY
        self._tell(handler, pace)

    def _tell(self, handler: str, pace: _Pace) -> None:
        now = time.monotonic()
        changed = pace.mean / pace.told if pace.told else float("inf")
        since = now - pace.told_at
        if not (0.5 < changed < 2) and since >= _AT_ONCE:
            pass
        elif 0.8 < changed < 1.25 or since < _EVERY:
            return
        pace.told, pace.told_at = pace.mean, now
        try:
            self._subscriptions.note_pace(handler, pace.mean)
        except Exception as error:  # the next one is told; whoever can't do without the database says that it is away
            log.debug("can't tell how long %s takes: %s", handler, error)
