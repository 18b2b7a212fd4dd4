"""A worker that is connected, has nothing to do, and gets nothing although messages wait for it."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery.worker import state

from events.ports import Transport
from events.settings import Settings
from events.transport import open_transport

log = logging.getLogger("events.worker")

_BLOCKING_POOLS = ("solo",)


class Idleness:
    """A sign for the watchdog, which calls `look`. Asks the broker itself, on a connection of its own.

    `put_aside`: messages that were taken, and passed on or parked before Celery saw them.
    """

    def __init__(self, settings: Settings, queues: Sequence[str], put_aside: Callable[[], int] = lambda: 0) -> None:
        self._settings = settings
        self._queues = queues
        self._put_aside = put_aside
        self._transport: Transport | None = None
        self._since: float | None = None
        self._received = -1

    def silence(self) -> float:
        """Seconds since messages were first seen to wait while this worker was idle."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def look(self) -> None:
        """Do messages wait while this worker is idle? Of a broker that doesn't answer nobody can tell."""
        received = self._received
        try:
            received = sum(state.total_count.values()) + self._put_aside()  # each message that was taken
            waits = not state.reserved_requests and received == self._received and self._messages_wait()
        except Exception as error:
            log.debug("can't judge: %s", error)
            waits = False
        if not waits:
            self._since, self._received = None, received
        elif self._since is None:
            self._since = time.monotonic()

    def blocked_by_task(self, worker: Any) -> bool:
        """Whether a task runs in the event loop's own thread, as on the solo pool."""
        pool = type(worker.pool).__module__.rpartition(".")[2]
        return pool in _BLOCKING_POOLS and bool(state.active_requests)

    def _messages_wait(self) -> bool:
        if self._transport is None:
            self._transport = open_transport(self._settings)
        return any(self._transport.waiting(queue) for queue in self._queues)
