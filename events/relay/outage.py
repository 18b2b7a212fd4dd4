"""How a relay bears a database or a broker that is away, or was: it backs off, and doesn't take a lease for lost that
a living worker couldn't extend meanwhile."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from events.throttle import Backoff

log = logging.getLogger("events.relay")

_PAUSES = Backoff(first=0.2, longest=3.0)  # seconds, while the database or broker is away
_LOG_EVERY = 5.0  # seconds between log lines while something is down
_COME_BACK = 5.0  # seconds that living workers have, after the relay has begun, to extend their leases


class Outage:
    """Remembers when the database was last away. A worker whose lease ended meanwhile couldn't extend it, and may live.

    Args:
        lease: the length of a lease in seconds. For as long after an outage workers may still come back.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._well_at = self._made_at = clock()
        self._begun_at: float | None = None
        self._over_at: float | None = None
        self._wait_until = 0.0

    def may_have_been(self) -> None:
        """The relay has just begun, and can't know whether the database was away."""
        self._made_at = self._clock()
        self._wait_until = self._made_at + self._lease

    def begun(self) -> None:
        """The database is away."""
        if self._begun_at is None or self._over_at is not None:
            self._begun_at, self._over_at = self._well_at, None

    def over(self) -> None:
        """The database answers."""
        self._well_at = self._clock()
        if self._begun_at is not None and self._over_at is None:
            self._over_at = self._well_at
            self._wait_until = self._well_at + self._lease

    def ended_ago(self) -> timedelta | None:
        """How long ago a lease must have ended to be lost; None while no lease counts as lost.

        A relay that has just begun takes those for lost that ended long ago. Else a relay that is restarted again and
        again would never find them.
        """
        now = self._clock()
        if now >= self._wait_until:
            return timedelta(0)
        if self._begun_at is None and now >= self._made_at + min(_COME_BACK, self._lease):
            return timedelta(seconds=self._lease)
        return None

    def since(self) -> timedelta | None:
        """How long ago the last outage began, if leases that it kept from being extended may end now; else None."""
        now = self._clock()
        if self._begun_at is None or (self._over_at is not None and now > self._over_at + 2 * self._lease):
            return None
        return timedelta(seconds=now - self._begun_at)


class FailedRounds:
    """Counts the rounds that failed: while the database or broker is away, the relay pauses longer and longer, and logs
    that now and then instead of in every round.

    Args:
        explained: returns an error as one line, with its cure: a role without rights, for example, is refused for ever.
    """

    def __init__(self, explained: Callable[[BaseException], str]) -> None:
        self._explained = explained
        self._count = 0
        self._logged_at = 0.0

    def met(self, error: Exception) -> timedelta:
        """Note a failed round. Returns how long to wait before the next one."""
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY or (self._count == 1 and now - self._logged_at >= 1):
            self._logged_at = now
            log.warning("relay: %s: %s (try %d)", type(error).__name__, self._explained(error), self._count)
        return timedelta(seconds=_PAUSES.after(self._count))

    def over(self) -> None:
        """Note a round that succeeded."""
        if self._count:
            log.warning("relay: works again after %d failed tries", self._count)
            self._count = 0
