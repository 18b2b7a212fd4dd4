"""Finds its way back to a broker quickly. Celery waits 2 s longer after each failed try, up to 30.

A broker that takes connections and then refuses what is asked of it is given time: Celery would be back at once, again
and again. One that takes the connection and doesn't answer may have lost what is behind a queue's name.
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

log = logging.getLogger("events.worker")

_FIRST, _STEP, _MOST = 0.2, 0.3, 2.0  # seconds between tries
_LOG_EVERY = 5.0
_COMPLAIN_EVERY = 1.0  # of a broker that takes connections and refuses what is asked
_LASTED = 15.0  # seconds after which a connection was a good one
_RESTS = Backoff(first=0.4, longest=5.0)  # before the next try, if the last connections were none

_complaints = Throttle(log, _COMPLAIN_EVERY)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Not what Celery says each time that a connection is lost, or made, by a transport that nobody need know."""
    return "Connected to" not in str(record.msg) and CONNECTION_RETRY not in (record.args or ())


for _name in ("celery.worker.consumer.consumer", "celery.worker.consumer.connection"):
    logging.getLogger(_name).addFilter(_is_wanted)


class Reconnecting:
    """Mixed into the consumer."""

    app: Any
    controller: Any
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
                broker = redact(self.app.pipeline.settings.broker_url) or conn.as_uri()
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
        """Nobody else would close a connection that was made, and could then not be used."""
        try:
            connection = super().connect()  # type: ignore[misc]
            if url := self.app.pipeline.settings.broker_url:
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
        with warnings.catch_warnings():  # of a default that changes with Celery 6, at each time
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            try:
                super().on_connection_error_after_connected(exc)  # type: ignore[misc]
            except Exception as error:  # kombu may fail to close what is broken; Celery would end the worker for it
                log.warning("the broken connection did not close well: %r", error)
        self._rest()
        settings = self.app.pipeline.settings
        if isinstance(exc, SUSPICIOUS) and is_rabbitmq(settings):
            self._revival = self._revival or Revival(settings)
            for queue in self.app.amqp.queues.consume_from:
                self._revival.suspect(queue)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        _complaints.warn(f"can't reach the broker, trying again: {redact(told(exc))}")
        self._rest()

    def _rest(self) -> None:
        """Longer and longer while connections don't last; not at all after one that did."""
        self._failures = self._failures + 1 if time.monotonic() - self._failed_at < _LASTED else 0
        until = time.monotonic() + (_RESTS.after(self._failures) if self._failures else 0)
        while (left := until - time.monotonic()) > 0:
            self._still_here()
            time.sleep(min(left, _FIRST))
        self._failed_at = time.monotonic()

    @property
    def _still_here(self) -> Callable[[], None]:
        """Called while waiting: obeys SIGTERM, and tells the watchdog that this is no hang."""

        def callback() -> None:
            maybe_shutdown()
            self.controller.pulse.beat()

        return callback
