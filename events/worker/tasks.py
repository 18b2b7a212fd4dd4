"""One delivery as one Celery task, named after its handler.

The ledger holds the outcome; what the task returns or raises is for Celery's log and Flower to show: SUCCESS, RETRY or
FAILURE. Whatever it is, the message is acknowledged: Celery never retries, requeues or drops anything here.
"""

import logging
import os
from datetime import timedelta
from typing import Any
from uuid import UUID

from billiard import common as billiard_common
from billiard.exceptions import TimeLimitExceeded as CeleryTimeLimitExceeded
from billiard.exceptions import WorkerLostError
from celery import Task
from celery.exceptions import Retry

from events.delivery import Deliverer, Outcome
from events.errors import DeliveryFailed, TimeLimitExceeded, WorkerLost
from events.pipeline import Pipeline
from events.records import Wakeup
from events.registry import Handler
from events.settings import HARD_LIMIT_GRACE
from events.transport.message import HEADER, wakeup_of
from events.worker.parked import parked_wakeup

log = logging.getLogger("events.worker")


class DeliveryTask(Task):  # type: ignore[misc]
    """Base of the tasks that `delivery_task` makes; one instance a handler."""

    abstract = True
    acks_late = True
    reject_on_worker_lost = False
    acks_on_failure_or_timeout = True
    ignore_result = True
    max_retries = None
    pipeline: Pipeline

    def run(self, event_id: str, attempt: int) -> str:
        if self.app.draining.begun and (wakeup := self._wakeup()):
            self.pipeline.ledger.outbox.hand_back([wakeup], timedelta(0))
            return Outcome.HANDED_BACK.value
        worker = f"{self.request.hostname}/{self.app.run_token}.{os.getpid()}"
        result = self.deliverer(worker).deliver(UUID(event_id), self.name, int(attempt))
        if result.outcome is Outcome.RETRY:
            # Raised, not published: the ledger holds the time of the next attempt, and the relay sends it.
            raise Retry(result.summary, DeliveryFailed(result.summary), when=result.due_in.total_seconds()
                        if result.due_in is not None else None)  # fmt: skip
        if result.outcome is Outcome.UNKNOWN and (wakeup := self._wakeup()):
            # Well-formed, yet of no delivery: somebody's invention, or the ledger was restored or cleaned.
            self.pipeline.ledger.parked.park(parked_wakeup(wakeup, worker))
        if result.outcome is Outcome.DEAD:
            raise DeliveryFailed(result.summary)
        return result.summary

    def _wakeup(self) -> Wakeup | None:
        return wakeup_of({HEADER: self.request.get(HEADER)})

    def deliverer(self, worker: str) -> Deliverer:
        """The process's own: a forked child must not share its parent's heartbeat thread."""
        cached = self.pipeline.deliverers.get(worker)
        if cached is None:
            cached = self.pipeline.deliverers[worker] = self.pipeline.deliverer(
                worker, _pool_is_ending, lambda: self.app.draining.begun
            )
        return cached


def delivery_task(handler: Handler, pipeline: Pipeline) -> DeliveryTask:
    """The Celery task of a handler."""
    limit = (handler.time_limit or pipeline.settings.time_limit).total_seconds()
    attributes = {
        "name": handler.name,
        "pipeline": pipeline,
        "soft_time_limit": limit,  # raises inside the handler: an ordinary failure
        "time_limit": limit + HARD_LIMIT_GRACE.total_seconds(),  # ends the process
        "__module__": __name__,
        "__doc__": handler.call.__doc__,
    }
    task: DeliveryTask = type(f"Deliver_{handler.name}", (DeliveryTask,), attributes)()
    return task


def record_lost_process(sender: Any = None, exception: Any = None, kwargs: Any = None, **_: Any) -> None:
    """Celery's main process saw a child die or killed it for its time: tell the ledger, ahead of the lease's end."""
    if not isinstance(sender, DeliveryTask) or sender.app.draining.is_cut_short:  # then it is handed back
        return
    error: WorkerLost | TimeLimitExceeded
    if isinstance(exception, WorkerLostError):
        error = WorkerLost(f"the process that ran the handler died: {exception}")
    elif isinstance(exception, CeleryTimeLimitExceeded):
        error = TimeLimitExceeded(f"the handler ran over its time limit of {sender.soft_time_limit:g} s and didn't end")
    else:
        return
    try:
        event_id, attempt = UUID(kwargs["event_id"]), int(kwargs["attempt"])
        sender.deliverer("main").abandon(event_id, sender.name, attempt, error)
    except Exception as failure:  # the lease ends in any case, and the relay finds it
        log.warning("can't record the end of %s: %s", sender.name, failure)


def _pool_is_ending(error: BaseException) -> bool:
    """SystemExit is how billiard ends a child on shutdown, and a failure when a handler raises it."""
    fired = getattr(billiard_common, "terminate_handler_fired", None)
    return isinstance(error, SystemExit) and fired is not None and bool(fired())
