"""Queues that RabbitMQ can't bring back to life though it answers: found and deleted, so that they are made anew.

Killed within half a second of declaring a quorum queue, RabbitMQ starts again with its name and nothing behind it:
whoever sends to it or consumes from it waits for ever, or gets an "internal error" each time. What was in it is in the
ledger, which sends it again.
"""

import logging
import threading
import time

from amqp.exceptions import InternalError, MessageNacked, NotFound
from kombu import Connection

from events.settings import Settings
from events.transport.connecting import connect

log = logging.getLogger("events.transport")

SUSPICIOUS = (TimeoutError, InternalError, MessageNacked)  # what users of a dead queue meet, among other causes
_ANSWERS_WITHIN = 10.0  # seconds; a cluster that lost a node has a new leader by then
_TRY_EVERY = 1.0
_DELETES_WITHIN = 60.0
_TRUSTED_FOR = 30.0  # seconds after a look in which it answered


class Revival:
    """Looks into queues that seem dead, in a thread of its own and one at a time; nobody has to wait for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._suspects: list[str] = []
        self._looked: dict[str, float] = {}

    def suspect(self, queue: str) -> None:
        """Look into this queue soon; from any thread."""
        with self._lock:
            if queue in self._suspects or time.monotonic() - self._looked.get(queue, -_TRUSTED_FOR) < _TRUSTED_FOR:
                return
            self._suspects.append(queue)
            if len(self._suspects) == 1:
                threading.Thread(target=self._look_into_all, name="events-revival", daemon=True).start()

    def _look_into_all(self) -> None:
        while True:
            with self._lock:
                queue = self._suspects[0]
            try:
                if not revive(self._settings, queue):
                    self._looked[queue] = time.monotonic()
            except Exception as error:  # the broker itself is away: whoever uses it says so
                log.debug("can't look into queue %s: %s", queue, error)
            with self._lock:
                self._suspects.pop(0)
                if not self._suspects:
                    return


def revive(settings: Settings, queue: str) -> bool:
    """Delete the queue if RabbitMQ knows it, nobody consumes it, and it doesn't answer; whether it was so.

    Raises:
        OSError, amqp.exceptions.AMQPError: the broker itself is away.
    """
    if not _is_known_and_unused(settings, queue) or _answers(settings, queue):
        return False
    if not _is_known_and_unused(settings, queue):  # another was faster
        return False
    with _connection(settings, _DELETES_WITHIN) as connection:
        connection.default_channel.queue_delete(queue)
    log.warning("queue %s did not answer, though RabbitMQ did: deleted, to be made anew from the ledger", queue)
    return True


def _is_known_and_unused(settings: Settings, queue: str) -> bool:
    with _connection(settings, settings.broker_timeout.total_seconds()) as connection:
        try:
            return bool(connection.default_channel.queue_declare(queue, passive=True).consumer_count == 0)
        except NotFound:
            return False


def _answers(settings: Settings, queue: str) -> bool:
    deadline = time.monotonic() + _ANSWERS_WITHIN
    while (left := deadline - time.monotonic()) > 0:
        with _connection(settings, left) as connection:
            try:
                connection.default_channel.basic_get(queue)  # what it gets goes back when the connection closes
                return True
            except TimeoutError:
                connection.collect()  # an orderly end would wait as long again, for the channel and for the connection
            except InternalError:
                connection.collect()
                time.sleep(_TRY_EVERY)
    return False


def _connection(settings: Settings, seconds: float) -> Connection:
    """Waits so long for an answer about a queue that may be dead; for the broker itself, as always."""
    return connect(settings, settings.broker_timeout.total_seconds(), read_timeout=seconds)
