"""What stands in the ledger, as it was some seconds ago: read in the background, so that nobody waits for SQL.

To count a backlog takes the longer the larger it is. So it is counted only while somebody asks, and never for more
than a twentieth of the time.
"""

import logging
import threading
import time
from collections.abc import Callable

from events.overview import Overview
from events.throttle import Throttle

log = logging.getLogger("events.monitoring")

_EVERY = 5.0  # seconds between reads, at least
_SHARE = 20  # times as long as a read took, there is no other
_ASKED_WITHIN = 150.0  # seconds: Prometheus may ask but once in two minutes


class Snapshots:
    """One thread that reads, and the latest that it has read.

    Args:
        read: asks the ledger.
    """

    def __init__(self, read: Callable[[], Overview], every: float = _EVERY, share: int = _SHARE) -> None:
        self._read = read
        self._every, self._share = every, share
        self._throttle = Throttle(log)
        self._latest: Overview | None = None
        self._asked = threading.Event()
        self._asked_at = time.monotonic()
        threading.Thread(target=self._run, name="events-snapshots", daemon=True).start()

    def latest(self) -> Overview | None:
        """None while there is none: at first, while the database is away, and after nobody has asked for long."""
        self._asked_at = time.monotonic()
        self._asked.set()
        return self._latest

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            took = self._renew()
            pause.wait(max(self._every, self._share * took))
            self._asked.clear()
            if time.monotonic() - self._asked_at > _ASKED_WITHIN:
                self._latest = None  # it would be stale when somebody asks
                self._asked.wait()

    def _renew(self) -> float:
        begun = time.monotonic()
        try:
            self._latest = self._read()
        except Exception as error:
            self._latest = None  # what is not known is not shown
            self._throttle.warn(f"can't count what stands in the ledger: {error}")
        return time.monotonic() - begun
