"""Extends the leases of deliveries that run longer than a moment, from one thread a process; and tells of those that
run over their time limit and are still there, since that is enforced by the prefork pool alone."""

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

LATE = 1.0  # seconds after which a run is a long one
_GRACE = HARD_LIMIT_GRACE.total_seconds()
_FRAMES = 12  # of a stack that is told


@dataclass(eq=False)
class _Run:
    claims: Sequence[Claim]
    on_late: Callable[[], None] | None
    since: float
    extended: float
    thread: int  # that it runs in
    limit: float  # seconds that it may take
    tell_after: float  # seconds


class Heartbeat:
    """Every third of a lease it extends what runs that long: short deliveries cost nothing.

    Args:
        time_limit: of handlers that name none.
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
    def keep(self, claims: Sequence[Claim], on_late: Callable[[], None]) -> Iterator[None]:
        """Hold the claims' leases while the block runs; call `on_late`, once, if it takes longer than LATE."""
        now = time.monotonic()
        limit = (handler_named(claims[0].handler).time_limit or self._time_limit).total_seconds()
        run = _Run(claims, on_late, now, now, threading.get_ident(), limit, limit + _GRACE)
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
        """What has run over its time limit, and for how long: for people."""
        now = time.monotonic()
        with self._lock:
            return [_told(run, now) for run in self._running if now - run.since > run.limit + _GRACE]

    def _beat(self) -> None:
        third = self._lease.total_seconds() / 3
        while True:
            self._something_runs.wait()
            time.sleep(min(third / 2, LATE / 2))
            with self._lock:
                running = list(self._running)
            for run in running:
                now = time.monotonic()
                if now - run.since > run.tell_after:
                    run.tell_after *= 2
                    log.warning(
                        "%s; only the prefork pool ends it. It stands at:\n%s", _told(run, now), _stack(run.thread),
                        extra={"handler": run.claims[0].handler},
                    )  # fmt: skip
                try:
                    if (late := run.on_late) is not None and now - run.since >= LATE:
                        run.on_late = None
                        late()
                    if now - run.extended >= third:
                        whole = self._inbox.extend(run.claims, self._lease) == len(run.claims)
                        # Not before: after an outage it is late, and comes at once. What was locked comes soon.
                        run.extended = now if whole else now - third * 3 / 4
                except Exception as error:
                    first = run.claims[0]
                    self._throttle.warn(f"can't extend the lease of {first.handler} {first.envelope.id}: {error}")


def _told(run: _Run, now: float) -> str:
    first = run.claims[0]
    return (
        f"handler {first.handler} has run for {now - run.since:.0f} s on event {first.envelope.id}, "
        f"{(now - run.since) / run.limit:.0f} times its time limit of {run.limit:g} s"
    )


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "(it has just ended)"
    return "".join((stack_of(thread) or traceback.format_stack(frame))[-_FRAMES:])
