"""Celery's consumer, except that a delivery whose handler this worker lacks goes back to wait for one that has it."""

import logging
from datetime import timedelta
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from events.transport.message import wakeup_of

log = logging.getLogger("events.worker")

_TRY_ELSEWHERE_AFTER = timedelta(seconds=2)


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Set by the setting `worker_consumer`."""

    def on_unknown_task(self, body: Any, message: Any, exc: Any) -> None:
        wakeup = wakeup_of(message.headers)
        if wakeup is None:
            super().on_unknown_task(body, message, exc)
            return
        try:
            self.app.pipeline.ledger.outbox.hand_back([wakeup], _TRY_ELSEWHERE_AFTER)
            log.warning(
                "no handler named %r here; event %s waits for a worker that has it", wakeup.handler, wakeup.event_id
            )
        except Exception as error:  # found by its age instead
            log.warning("can't hand back %s of event %s: %s", wakeup.handler, wakeup.event_id, error)
        message.ack_log_error(log, self.connection_errors)
