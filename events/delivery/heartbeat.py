"""Extends the leases of deliveries that run longer than a moment, from one thread a process. It also logs deliveries
that still run after their time limit: only the prefork pool enforces the limit."""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from events.delivery.event_loop import stack_of
from events.handling import handler_named
from events.ledger import Claim, Inbox
from events.settings import HARD_LIMIT_GRACE
from events.throttle import Throttle

log = logging.getLogger("events.delivery")

LATE = 1.0  # seconds after which a run counts as long
_GRACE = HARD_LIMIT_GRACE.total_seconds()
_FRAMES = 12  # frames of a stack that are logged


@dataclass(eq=False)
class _Run:
    """A run of a handler. `begun()` and `extended` are times by time.monotonic(): of its start, and its last lease."""

    claims: Sequence[Claim]
    on_late: Callable[[], None] | None
    begun: Callable[[], float]
    extended: float
    thread: int  # the identifier of the thread that runs it
    limit: float  # the seconds that it may take
    tell_after: float  # the seconds after which it is logged

    @property
    def since(self) -> float:
        return self.begun()


class Heartbeat:
    """Extends the lease of each running delivery, every third of the lease: short deliveries cost nothing.

    Args:
        inbox: the part of the ledger that extends leases.
        lease: the length of a lease.
        throttle: limits the warnings about a database that is away.
        time_limit: the time limit of handlers that have none of their own.
    """

    def __init__(self, inbox: Inbox, lease: timedelta, throttle: Throttle, time_limit: timedelta) -> None:
        self._inbox = inbox
        self._lease = lease
        self._time_limit = time_limit
        self._throttle = throttle
        self._lock = threading.Lock()
        self._running: list[_Run] = []
        self._thread: threading.Thread | None = None
        self._something_runs = threading.Event()

    @contextmanager
    def keep(
        self, claims: Sequence[Claim], on_late: Callable[[], None], since: Callable[[], float] | None = None
    ) -> Iterator[None]:
        """Extend the claims' leases while the block runs; call `on_late`, once, if the block takes longer than LATE.

        Args:
            claims: the block may take out those that have ended, and put others in.
            since: when the run began that is shown as over its limit, by time.monotonic(); by default the block's.
        """
        now = time.monotonic()
        limit = (handler_named(claims[0].handler).time_limit or self._time_limit).total_seconds()
        run = _Run(claims, on_late, since or (lambda: now), now, threading.get_ident(), limit, limit + _GRACE)
        with self._lock:
            self._running.append(run)
            self._something_runs.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="events-heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(run)
                if not self._running:
                    self._something_runs.clear()

    def overdue(self) -> list[str]:
        """Lines for people, about the handlers that have run over their time limit, and for how long."""
        now = time.monotonic()
        with self._lock:
            return [
                _described(run, now) for run in self._running if run.claims and now - run.since > run.limit + _GRACE
            ]

    def _beat(self) -> None:
        third = self._lease.total_seconds() / 3
        while True:
            self._something_runs.wait()
            time.sleep(min(third / 2, LATE / 2))
            with self._lock:
                running = list(self._running)
            for run in running:
                now, claims = time.monotonic(), tuple(run.claims)
                if not claims:  # all have ended
                    continue
                if now - run.since > run.tell_after:
                    run.tell_after *= 2
                    log.warning(
                        "%s; only the prefork pool ends it. It stands at:\n%s",
                        _described(run, now),
                        _stack(run.thread),
                        extra={"handler": claims[0].handler},
                    )
                try:
                    if (late := run.on_late) is not None and now - run.since >= LATE:
                        run.on_late = None
                        late()
                        if claims[0].lease is not None:
                            run.extended = -third  # what has run for so long is to be seen as running, row by row
                    if now - run.extended >= third:
                        whole = self._inbox.extend(claims, self._lease) == len(claims)
                        # This is noted only now: after an outage the lease is extended at once. A delivery whose row
                        # was locked is tried again soon.
                        run.extended = now if whole else now - third * 3 / 4
                except Exception as error:
                    first = claims[0]
                    self._throttle.warn(f"can't extend the lease of {first.handler} {first.envelope.id}: {error}")


def _described(run: _Run, now: float) -> str:
    first = run.claims[0]
    return (
        f"handler {first.handler} has run for {now - run.since:.0f} s on event {first.envelope.id}, "
        f"{(now - run.since) / run.limit:.0f} times its time limit of {run.limit:g} s"
    )


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "(the run has just ended)"
    return "".join((stack_of(thread) or traceback.format_stack(frame))[-_FRAMES:])
