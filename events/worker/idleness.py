"""Finds a worker that is connected and idle, and gets no messages although messages wait for it.

If other workers empty the queue, no message waits. Redis gives a surer sign: a worker with room asks for work every
second.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery.worker import state

from events.relay import Transport
from events.settings import Settings
from events.transport import is_rabbitmq, open_transport
from events.worker.host import pool_of

log = logging.getLogger("events.worker")

_BLOCKING_POOLS = ("solo",)


class Idleness:
    """A sign for the watchdog, which calls `look`. Asks the broker on a connection of its own.

    Args:
        queues: which queues the worker reads now: `cancel_consumer` may have taken some from it, or all.
        put_aside: how many messages the worker took, and passed on or parked before Celery saw them.
    """

    def __init__(
        self, settings: Settings, queues: Callable[[], Sequence[str]], put_aside: Callable[[], int] = lambda: 0
    ) -> None:
        self._settings = settings
        self._queues = queues
        self._put_aside = put_aside
        self._transport: Transport | None = None
        self._since: float | None = None
        self._received = -1
        self._has_room_since: float | None = None

    def reticence(self) -> float:
        """Seconds for which this worker had room and didn't ask Redis for work; 0 with RabbitMQ."""
        since = self._has_room_since
        if since is None:
            return 0.0
        from events.transport import asked  # here: workers with another broker need not load Redis's client

        return min(asked.silence(), time.monotonic() - since)

    def silence(self) -> float:
        """Seconds since messages were first seen to wait while this worker was idle."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def look(self, consumer: Any = None) -> None:
        """Find out whether messages wait while this worker is idle.

        If the broker doesn't answer, that can't be known, and none count as waiting.
        """
        received = self._received
        connected = consumer is not None and consumer.connection is not None and not consumer.held
        has_room = messages_wait = False
        try:
            received = sum(state.total_count.values()) + self._put_aside()  # each message that was taken
            if not state.reserved_requests and received == self._received:
                messages_wait = self._messages_wait()
                has_room = connected and not is_rabbitmq(self._settings) and bool(self._queues())
        except Exception as error:
            log.debug("can't ask the broker whether messages wait: %s", error)
        now = time.monotonic()
        self._received = received
        self._since = (self._since or now) if messages_wait else None
        self._has_room_since = (self._has_room_since or now) if has_room else None

    def blocked_by_task(self, worker: Any) -> bool:
        """Whether a task runs in the event loop's own thread, as on the solo pool."""
        pool = pool_of(worker.pool)
        return pool in _BLOCKING_POOLS and bool(state.active_requests)

    def _messages_wait(self) -> bool:
        if self._transport is None:
            self._transport = open_transport(self._settings)
        return any(self._transport.waiting(queue) for queue in self._queues())
