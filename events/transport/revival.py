"""Finds and deletes queues that RabbitMQ can't bring back to life though it answers, so that they are made anew.

If RabbitMQ is killed within half a second of declaring a quorum queue, it starts again with the queue's name and
nothing behind it: senders and consumers of the queue wait for ever, or get an "internal error" each time. The wake-ups
of the queue are in the ledger, and the relay sends them again.
"""

import logging
import threading
import time

from amqp.exceptions import InternalError, MessageNacked, NotFound
from kombu import Connection

from events.settings import Settings
from events.transport.connecting import connect

log = logging.getLogger("events.transport")

SUSPICIOUS = (
    TimeoutError,
    InternalError,
    MessageNacked,
)  # the errors that a dead queue causes; they have other causes, too
_ANSWERS_WITHIN = 10.0  # seconds; a cluster that lost a node has a new leader by then
_TRY_EVERY = 1.0  # seconds
_DELETES_WITHIN = 60.0  # seconds
_TRUSTED_FOR = 30.0  # seconds in which a queue that has answered is not examined again


class Revival:
    """Examines queues that seem dead, one after the other, in a thread of its own: no caller waits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._suspects: list[str] = []
        self._looked: dict[str, float] = {}

    def suspect(self, queue: str) -> None:
        """Examine this queue soon. May be called from any thread."""
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
            except Exception as error:  # the broker itself is away, which its users report
                log.debug("can't look into queue %s: %s", queue, error)
            with self._lock:
                self._suspects.pop(0)
                if not self._suspects:
                    return


def revive(settings: Settings, queue: str) -> bool:
    """Delete the queue if RabbitMQ knows it, it has no consumer, and it doesn't answer. Returns whether it was deleted.

    Raises:
        OSError, amqp.exceptions.AMQPError: the broker itself is away.
    """
    if not _is_known_and_unused(settings, queue) or _answers(settings, queue):
        return False
    if not _is_known_and_unused(settings, queue):  # another process has deleted it, or uses it
        return False
    with _connection(settings, _DELETES_WITHIN) as connection:
        connection.default_channel.queue_delete(queue)
    log.warning(
        "RabbitMQ answers, but its queue %s doesn't: the relay deletes the queue, and makes it anew from the ledger",
        queue,
    )
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
                connection.default_channel.basic_get(queue)  # the message goes back when the connection closes
                return True
            except TimeoutError:
                connection.collect()  # an orderly end would wait as long again, twice: for channel and connection
            except InternalError:
                connection.collect()
                time.sleep(_TRY_EVERY)
    return False


def _connection(settings: Settings, seconds: float) -> Connection:
    """A connection that waits `seconds` for an answer about a queue, and as always for the connection itself."""
    return connect(settings, settings.broker_timeout.total_seconds(), read_timeout=seconds)
