"""Runs the deliveries of one message side by side on this thread's event loop.

Each has a transaction and an outcome of its own, which is committed as soon as its handler has returned: a slow or
failing one neither holds nor spoils its neighbours. The message is done when all have ended.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from events.delivery.awaiting import wants_sql
from events.delivery.blocking import BlockedLoop
from events.delivery.company import Along, Company
from events.delivery.event_loop import run
from events.delivery.outcomes import Aside
from events.delivery.tools import Tools
from events.delivery.verdict import Results
from events.handling import Handler
from events.ledger import Claim

_LAST = 2.0  # seconds before the end of the process in which cancelled handlers clean up


def runs_side_by_side(handler: Handler, at_once: int) -> bool:
    """Whether deliveries of this handler run here. Without SQL and one by one they run as those of others."""
    return handler.is_awaited and (at_once > 1 or wants_sql(handler))


def takes_along(handler: Handler, at_once: int) -> bool:
    """Whether several of its deliveries run at a time, so that those of other messages are taken along."""
    return handler.is_awaited and at_once > 1 and handler.most > 1 and not handler.batch


class SideBySideRunner:
    """Runs groups of deliveries of `async def` handlers.

    Args:
        at_once: handlers that run at a time on one event loop.
        shutdown_timeout: the time that running handlers have when the process shall end.
        limit_of: the time limit of a handler.
        overtime: tells whether an exception is the time limit of the whole message.
        along: takes further deliveries of a handler, up to a number, beside those that it has; None to take none.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        at_once: int,
        shutdown_timeout: timedelta,
        limit_of: Callable[[Handler], timedelta],
        overtime: Callable[[BaseException], bool],
        along: Along | None,
    ) -> None:
        self._tools = tools
        self._aside = Aside()
        self._at_once = at_once
        last = shutdown_timeout.total_seconds()
        self._leave_after = last - min(_LAST, last / 4)
        self._limit_of = limit_of
        self._overtime = overtime
        self._along = along
        self._blocked = BlockedLoop()

    def takes(self, handler: Handler) -> bool:
        """Whether deliveries of this handler run here."""
        return runs_side_by_side(handler, self._at_once)

    def run(self, handler: Handler, claims: Sequence[Claim], along: list[Claim]) -> Results:
        """Run one attempt of each delivery, and write the outcomes. Returns them.

        Args:
            along: gets what is taken along.
        """
        begin = self._tools.inbox.awaited(handler.name) if wants_sql(handler) else None
        take = self._along if takes_along(handler, self._at_once) else None
        group = Company(
            self._tools,
            self._aside,
            handler,
            claims,
            begin=begin,
            at_once=self._at_once,
            limit=self._limit_of(handler).total_seconds(),
            leave_after=self._leave_after,
            take=take,
            along=along,
        )
        waiting = self._blocked.waiting(
            handler.name, lambda error: self._overtime(error) and group.interrupt(), group.stands_at
        )
        begun = time.monotonic()
        with self._tools.heartbeat.keep(group.running, lambda: None, group.since):
            results: Results = run(group.run(), waiting)
        self._tools.pacing.note(handler.name, time.monotonic() - begun, len(results))
        return results
