"""A worker that is connected, has nothing to do, and gets nothing although messages wait for it."""

import time
from collections.abc import Sequence
from typing import Any

from celery.worker import state

from events.ports import Transport
from events.settings import Settings
from events.transport import open_transport

_BLOCKING_POOLS = ("solo",)


class Idleness:
    """A sign for the watchdog. Asks the broker itself, on a connection of its own."""

    def __init__(self, settings: Settings, queues: Sequence[str]) -> None:
        self._settings = settings
        self._queues = queues
        self._transport: Transport | None = None
        self._since: float | None = None
        self._received = -1

    def silence(self) -> float:
        """Seconds since messages were first seen to wait while this worker was idle. Raises TransportError."""
        received = sum(state.total_count.values())  # counts each message that was taken
        if state.reserved_requests or received != self._received or not self._messages_wait():
            self._since, self._received = None, received
            return 0.0
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since

    def blocked_by_task(self, worker: Any) -> bool:
        """Whether a task runs in the event loop's own thread, as on the solo pool."""
        pool = type(worker.pool).__module__.rpartition(".")[2]
        return pool in _BLOCKING_POOLS and bool(state.active_requests)

    def _messages_wait(self) -> bool:
        if self._transport is None:
            self._transport = open_transport(self._settings)
        return any(self._transport.waiting(queue) for queue in self._queues)
