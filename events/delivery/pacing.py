"""How long a handler takes for one delivery, as this process sees it, told to the ledger for the relay to group by."""

import logging
import time
from dataclasses import dataclass

from events.ledger import ONE_BY_ONE, Subscriptions
from events.relay import GROUP_TIME

log = logging.getLogger("events.delivery")

_EVERY, _AT_ONCE = 2.0, 0.1  # seconds between reports of a small change, of one by half or more
_HANDICAP = 1.0  # seconds: with so many nothing is grouped
_MANY = 100  # deliveries: a mean of so many changes slowly


@dataclass
class _Pace:
    """Of one handler.

    Attributes:
        mean: seconds that a delivery takes.
        seen: deliveries that it is the mean of.
        handicap: seconds that are added, after a group that did not end well. They melt as deliveries are done, so that
            first none of them are grouped, then few, and then as many as before.
        told, told_at: what the ledger knows, and since when.
    """

    mean: float = 0.0
    seen: int = 0
    handicap: float = 0.0
    told: float = 0.0
    told_at: float = 0.0

    def add(self, each: float, count: int) -> None:
        """So many more took so many seconds each."""
        # The second counts instead of the first, which connects, imports and compiles; then each counts less.
        share = max(min(0.5, count / 20), 1 / max(self.seen, 1))
        self.mean += (each - self.mean) * share if self.mean else each
        self.handicap -= self.handicap * share
        self.seen += count

    def to_tell(self) -> float:
        """Seconds; or the mark, where only the handicap keeps them from being grouped: that is no time to be shown."""
        seconds = self.mean + self.handicap
        if seconds <= GROUP_TIME / 2:
            return seconds
        return self.mean if self.mean > GROUP_TIME / 2 else ONE_BY_ONE

    def is_news(self, seconds: float, now: float) -> bool:
        """Whether the ledger is to be told now: a small change can wait."""
        if seconds == self.told:
            return False
        changed = seconds / self.told if self.told else float("inf")
        if 0.8 < changed < 1.25:
            return False
        return now - self.told_at >= (_EVERY if 0.5 < changed < 2 else _AT_ONCE)


class Pacing:
    """The means of one process."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions
        self._paces: dict[str, _Pace] = {}
        self._apart: set[str] = set()

    def note(self, handler: str, seconds: float, count: int = 1) -> None:
        """`count` deliveries took `seconds` together."""
        pace = self._paces.get(handler)
        if pace is None:
            pace = self._paces[handler] = _Pace()
        pace.add(seconds / count, count)
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
        pace = self._paces.setdefault(handler, _Pace())
        pace.handicap, pace.seen = _HANDICAP, _MANY
        self._tell(handler, pace)

    def _tell(self, handler: str, pace: _Pace) -> None:
        now, seconds = time.monotonic(), ONE_BY_ONE if handler in self._apart else pace.to_tell()
        if not pace.is_news(seconds, now):
            return
        pace.told, pace.told_at = seconds, now
        try:
            self._subscriptions.note_pace(handler, seconds)
        except Exception as error:  # the next one is told; whoever can't do without the database says that it is away
            log.debug("can't tell how long %s takes: %s", handler, error)
