"""Measures how long a handler takes for a delivery in this process, and tells the ledger: the relay groups by it."""

import logging
import time
from dataclasses import dataclass

from events.ledger import GROUP_TIME, ONE_BY_ONE, Subscriptions

log = logging.getLogger("events.delivery")

_EVERY, _AT_ONCE = 2.0, 0.1  # seconds between reports: of a small change; of a change by half or more
_HANDICAP = 1.0  # seconds: deliveries that take so long are not grouped
_MANY = 100  # deliveries: a mean of so many changes slowly


@dataclass
class _Pace:
    """The pace of one handler.

    Attributes:
        mean: the seconds that a delivery takes on average.
        seen: the number of deliveries that were measured.
        handicap: the seconds that are added after a group that did not end well. They melt as deliveries are done, so
            that first none of them are grouped, then few, and then as many as before.
        told: the seconds that the ledger knows.
        told_at: when the ledger was told, by time.monotonic().
    """

    mean: float = 0.0
    seen: int = 0
    handicap: float = 0.0
    told: float = 0.0
    told_at: float = 0.0

    def add(self, each: float, count: int) -> None:
        """Count `count` more deliveries, which took `each` seconds each."""
        # The second delivery replaces the first, which connects, imports and compiles. Later ones count less and less.
        share = max(min(0.5, count / 20), 1 / max(self.seen, 1))
        self.mean += (each - self.mean) * share if self.mean else each
        self.handicap -= self.handicap * share
        self.seen += count

    def to_tell(self) -> float:
        """The seconds to tell the ledger. Where only the handicap prevents groups, they are the mark ONE_BY_ONE, since
        people are not to be shown the handicap as a duration."""
        seconds = self.mean + self.handicap
        if seconds <= GROUP_TIME / 2:
            return seconds
        return self.mean if self.mean > GROUP_TIME / 2 else ONE_BY_ONE

    def is_news(self, seconds: float, now: float) -> bool:
        """Whether the ledger is to be told now: a small change can wait.

        The mark is told again and again while it stands: another process, which saw no group end badly, may have told
        a time since.
        """
        if seconds == self.told:
            return seconds == ONE_BY_ONE and now - self.told_at >= _EVERY
        changed = seconds / self.told if self.told else float("inf")
        if 0.8 < changed < 1.25:
            return False
        return now - self.told_at >= (_EVERY if 0.5 < changed < 2 else _AT_ONCE)


class Pacing:
    """The paces of the handlers of one process."""

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
        """From now on the handler's deliveries travel one by one, as far as this process has a say."""
        if handler not in self._apart:
            self._apart.add(handler)
            log.info(
                "handler %s changes more than rows: its deliveries share no transaction any more",
                handler,
                extra={"handler": handler},
            )
            self.hindered(handler)

    def is_apart(self, handler: str) -> bool:
        """Whether the handler's deliveries travel one by one, by `keep_apart`."""
        return handler in self._apart

    def hindered(self, handler: str) -> None:
        """A group of the handler did not end well: for a while, its deliveries travel one by one."""
        pace = self._paces.setdefault(handler, _Pace())
        pace.handicap, pace.seen = _HANDICAP, _MANY
        self._tell(handler, pace, again=pace.told == ONE_BY_ONE)

    def _tell(self, handler: str, pace: _Pace, *, again: bool = False) -> None:
        """Tell the ledger. `again`: that a group was made shows that the ledger doesn't know it any more."""
        now, seconds = time.monotonic(), ONE_BY_ONE if handler in self._apart else pace.to_tell()
        if not again and not pace.is_news(seconds, now):
            return
        pace.told, pace.told_at = seconds, now
        try:
            self._subscriptions.note_pace(handler, seconds)
        except Exception as error:  # a later measurement is told; statements that matter warn of an absent database
            log.debug("can't tell how long %s takes: %s", handler, error)
