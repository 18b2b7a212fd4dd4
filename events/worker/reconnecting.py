"""Connects to a broker again quickly. Celery itself waits 2 s longer after each failed attempt, up to 30 s.

A broker that takes connections and then refuses requests gets time: Celery would connect again at once, over and over.
A RabbitMQ that takes the connection and doesn't answer may have lost a queue whose name it still has.
"""

import logging
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer.consumer import CONNECTION_RETRY
from celery.worker.state import maybe_shutdown

from events.text import redact
from events.throttle import Backoff, Throttle
from events.transport import SUSPICIOUS, Revival, is_rabbitmq, told
from events.worker.host import host_of

log = logging.getLogger("events.worker")

_FIRST, _STEP, _MOST = 0.2, 0.3, 2.0  # seconds between attempts
_LOG_EVERY = 5.0  # seconds
_COMPLAIN_EVERY = 1.0  # seconds, about a broker that takes connections and refuses requests
_LASTED = 15.0  # seconds after which a connection was a success
_RESTS = Backoff(first=0.4, longest=5.0)  # seconds before the next attempt, after several that were no success

_complaints = Throttle(log, _COMPLAIN_EVERY)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether to log this record: Celery's lines about each connection name our transport, which users don't know."""
    return "Connected to" not in str(record.msg) and CONNECTION_RETRY not in (record.args or ())


for _name in ("celery.worker.consumer.consumer", "celery.worker.consumer.connection"):
    logging.getLogger(_name).addFilter(_is_wanted)


class Reconnecting:
    """Mixed into the consumer."""

    app: Any
    first_connection_attempt: bool
    broker_connection_retry_attempt: int
    _revival: Revival | None = None
    _failures, _failed_at = 0, 0.0
    _opened: Any = None  # the connection that is being made

    def ensure_connected(self, conn: Any) -> Any:
        logged = 0.0

        def failed(error: Exception, _: float) -> None:
            nonlocal logged
            if time.monotonic() - logged >= _LOG_EVERY:
                logged = time.monotonic()
                reason = redact(told(error))
                # Not conn.as_uri(), which names our transport in place of the scheme that was set.
                broker = redact(host_of(self.app).pipeline.settings.broker_url) or conn.as_uri()
                log.error("can't reach the broker %s: %s; trying every %g s", broker, reason, _MOST)

        connected = conn.ensure_connection(
            failed,
            self.app.conf.broker_connection_max_retries,
            interval_start=_FIRST,
            interval_step=_STEP,
            interval_max=_MOST,
            callback=self._still_here,
        )
        self._opened = connected
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0
        return connected

    def connect(self) -> Any:
        """Connect; close a connection that was made and then can't be used, since Celery doesn't."""
        try:
            connection = super().connect()  # type: ignore[misc]
            if url := host_of(self.app).pipeline.settings.broker_url:
                log.info("connected to %s", redact(url))
            return connection
        except BaseException:
            if self._opened is not None:
                with suppress(Exception):
                    self._opened.close()
            raise
        finally:
            self._opened = None

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        _complaints.warn(f"lost the broker, connecting again: {redact(told(exc))}")
        with warnings.catch_warnings():  # Celery warns each time of a default that changes with Celery 6
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            try:
                super().on_connection_error_after_connected(exc)  # type: ignore[misc]
            except Exception as error:  # kombu may fail to close a broken connection, and Celery would end the worker
                log.warning("can't close the broken connection: %r", error)
        self._rest()
        settings = host_of(self.app).pipeline.settings
        if isinstance(exc, SUSPICIOUS) and is_rabbitmq(settings):
            self._revival = self._revival or Revival(settings)
            for queue in self.app.amqp.queues.consume_from:
                self._revival.suspect(queue)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        _complaints.warn(f"can't reach the broker, trying again: {redact(told(exc))}")
        self._rest()

    def _rest(self) -> None:
        """Wait, longer and longer while connections don't last; not at all after a connection that lasted."""
        self._failures = self._failures + 1 if time.monotonic() - self._failed_at < _LASTED else 0
        until = time.monotonic() + (_RESTS.after(self._failures) if self._failures else 0)
        while (left := until - time.monotonic()) > 0:
            self._still_here()
            time.sleep(min(left, _FIRST))
        self._failed_at = time.monotonic()

    @property
    def _still_here(self) -> Callable[[], None]:
        """Call this while waiting: it obeys SIGTERM, and tells the watchdog that the worker doesn't hang."""

        def callback() -> None:
            maybe_shutdown()
            host_of(self.app).pulse.beat()

        return callback
