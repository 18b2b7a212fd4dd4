"""Extends the leases of deliveries that run longer than a moment, from one thread a process."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from events.ports import Inbox
from events.records import Claim
from events.throttle import Throttle

log = logging.getLogger("events.heartbeat")


class Heartbeat:
    """Every third of a lease it extends what has been running for a sixth of one: short deliveries cost nothing."""

    def __init__(self, inbox: Inbox, lease: timedelta) -> None:
        self._inbox = inbox
        self._lease = lease
        self._throttle = Throttle(log)
        self._lock = threading.Lock()
        self._running: dict[Claim, float] = {}
        self._thread: threading.Thread | None = None
        self._something_runs = threading.Event()

    @contextmanager
    def keep(self, claim: Claim) -> Iterator[None]:
        """Hold the claim's lease while the block runs."""
        with self._lock:
            self._running[claim] = time.monotonic()
            self._something_runs.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="events-heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(claim, None)
                if not self._running:
                    self._something_runs.clear()

    def _beat(self) -> None:
        lease = self._lease.total_seconds()
        while True:
            self._something_runs.wait()
            time.sleep(lease / 3)
            with self._lock:
                due = [claim for claim, since in self._running.items() if time.monotonic() - since > lease / 6]
            for claim in due:
                try:
                    if not self._inbox.extend(claim, self._lease):
                        log.debug("delivery %s of %s is no longer ours", claim.handler, claim.envelope.id)
                except Exception as error:
                    self._throttle.warn(f"can't extend the lease of {claim.handler} {claim.envelope.id}: {error}")
