"""Extends the leases of deliveries that run longer than a moment, from one thread a process."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from events.ports import Inbox
from events.records import Claim
from events.throttle import Throttle

LATE = 1.0  # seconds after which a run is a long one


@dataclass(eq=False)
class _Run:
    claims: Sequence[Claim]
    on_late: Callable[[], None] | None
    since: float
    extended: float


class Heartbeat:
    """Every third of a lease it extends what runs that long: short deliveries cost nothing."""

    def __init__(self, inbox: Inbox, lease: timedelta, throttle: Throttle) -> None:
        self._inbox = inbox
        self._lease = lease
        self._throttle = throttle
        self._lock = threading.Lock()
        self._running: list[_Run] = []
        self._thread: threading.Thread | None = None
        self._something_runs = threading.Event()

    @contextmanager
    def keep(self, claims: Sequence[Claim], on_late: Callable[[], None]) -> Iterator[None]:
        """Hold the claims' leases while the block runs; call `on_late`, once, if it takes longer than LATE."""
        now = time.monotonic()
        run = _Run(claims, on_late, now, now)
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

    def _beat(self) -> None:
        third = self._lease.total_seconds() / 3
        while True:
            self._something_runs.wait()
            time.sleep(min(third / 2, LATE / 2))
            with self._lock:
                running = list(self._running)
            for run in running:
                now = time.monotonic()
                try:
                    if (late := run.on_late) is not None and now - run.since >= LATE:
                        run.on_late = None
                        late()
                    if now - run.extended >= third:
                        self._inbox.extend(run.claims, self._lease)
                        run.extended = now  # not before: after an outage it is late, and comes at once
                except Exception as error:
                    first = run.claims[0]
                    self._throttle.warn(f"can't extend the lease of {first.handler} {first.envelope.id}: {error}")
