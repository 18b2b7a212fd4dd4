"""A message of wake-ups as one Celery task, with the name of its handler.

The ledger holds the outcome. The result of the task is only for Celery's log and Flower: SUCCESS, RETRY or FAILURE.
With any result the message is acknowledged: Celery never retries, requeues or drops a delivery.
"""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn
from uuid import UUID

from billiard import common as billiard_common
from celery import Task
from celery.exceptions import Retry, SoftTimeLimitExceeded, WorkerLostError
from celery.exceptions import TimeLimitExceeded as CeleryTimeLimitExceeded

from events.delivery import TAKES_ALONG, Deliverer, runs_side_by_side, takes_along
from events.errors import ConfigurationError, DeliveryFailed, TimeLimitExceeded, WorkerLost
from events.handling import Handler, handler_named
from events.ledger import Group, Outcome, Result
from events.pipeline import Pipeline
from events.settings import HARD_LIMIT_GRACE
from events.transport import HEADER, group_of
from events.worker.children import ending_process
from events.worker.host import host_of
from events.worker.outcome_lines import tell_not_ours
from events.worker.parking import parked_wakeup, tell_parked

log = logging.getLogger("events.worker")

_WORST = (Outcome.DEAD, Outcome.RETRY, Outcome.UNKNOWN)  # the task of a group shows the reason of the worst outcome
_CANCELLED_WITHIN = 2.0  # seconds


class DeliveryTask(Task):  # type: ignore[misc]
    """Base of the tasks that `delivery_task` makes; each handler has one instance."""

    abstract = True
    acks_late = True
    reject_on_worker_lost = False
    acks_on_failure_or_timeout = acks_on_failure = acks_on_timeout = True
    retry_on_worker_lost = False
    ignore_result = True
    store_errors_even_if_ignored = False
    track_started = False
    max_retries = None
    Request = "events.worker.revoking:Request"
    Strategy = "events.worker.outcome_lines:receive_quietly"
    pipeline: Pipeline
    limit: float  # seconds

    @classmethod
    def annotate(cls) -> None:
        """Nothing: an application's annotations for all tasks ("*") would change what the promise needs."""

    @classmethod
    def on_bound(cls, _: Any) -> None:
        """Celery calls this once it has given the task an application's default rate limit."""
        cls.rate_limit = None

    def apply_async(self, *_: Any, **__: Any) -> NoReturn:
        event = handler_named(self.name).events[0].__name__
        raise ConfigurationError(f"{self.name} is a handler: publish its event to run it, {event}(...)")

    def run(self, **_: Any) -> str:
        group = group_of({HEADER: self.request.get(HEADER)})
        if not group:  # sent by its name, by a program that hasn't the handler
            self.apply_async()
        host = host_of(self.app)
        if host.draining.begun:
            self.pipeline.ledger.outbox.hand_back(group, timedelta(0))
            return Outcome.HANDED_BACK.value
        worker = f"{host.worker_name(self.request.hostname)}.{os.getpid()}"
        results = self.deliverer(worker).deliver(self.name, _tokens(group))
        for wakeup in group:
            if results[wakeup.event_id].outcome is Outcome.UNKNOWN:
                # A well-formed wake-up without a delivery: it is forged, or the ledger was restored or cleaned.
                parked = parked_wakeup(wakeup, worker)
                self.pipeline.ledger.parked.park(parked)
                self.pipeline.hooks.parked(parked.reason)
                tell_parked(parked)
        not_ours = Result(Outcome.NOT_OURS)
        tell_not_ours(self.name, [wakeup.event_id for wakeup in group if results[wakeup.event_id] == not_ours])
        return _shown([results[wakeup.event_id] for wakeup in group])

    def deliverer(self, worker: str) -> Deliverer:
        """The deliverer of this process: a forked child must not share its parent's heartbeat thread."""
        cached = self.pipeline.deliverers.get(worker)
        if cached is None:
            cached = self.pipeline.deliverers[worker] = self.pipeline.deliverer(
                worker,
                _pool_is_ending,
                lambda: host_of(self.app).draining.begun,
                _is_soft_limit,
                takes_along=True,
            )
        return cached


def delivery_task(handler: Handler, pipeline: Pipeline) -> DeliveryTask:
    """The Celery task of a handler."""
    limit = (handler.time_limit or pipeline.settings.time_limit).total_seconds()
    soft, at_once = limit, pipeline.settings.async_concurrency
    if runs_side_by_side(handler, at_once):  # each is cancelled at its own limit; this ends only a blocked event loop
        soft += _CANCELLED_WITHIN
    if takes_along(handler, at_once):  # the last may begin when the first is at its limit
        soft += limit + TAKES_ALONG
    attributes = {
        "name": handler.name,
        "pipeline": pipeline,
        "limit": limit,
        "soft_time_limit": soft,  # raises inside the handler, as any error of the handler
        "time_limit": soft + HARD_LIMIT_GRACE.total_seconds(),  # ends the process
        "__module__": __name__,
        "__doc__": handler.call.__doc__,
    }
    task: DeliveryTask = type(f"Deliver_{handler.name}", (DeliveryTask,), attributes)()
    return task


def _tokens(group: Group) -> dict[UUID, int]:
    return {wakeup.event_id: wakeup.token for wakeup in group}


def _shown(results: Sequence[Result]) -> str:
    """The result for Celery and Flower. Raises for FAILURE, if a delivery is a dead letter; for RETRY, if all retry."""
    counts = Counter(result.outcome for result in results)
    worst = next((result for outcome in _WORST for result in results if result.outcome is outcome), results[0])
    summary = worst.summary
    if len(results) > 1:
        summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        summary += f" ({worst.summary})" if worst.error is not None else ""
    if counts[Outcome.DEAD]:
        raise DeliveryFailed(summary) from worst.error
    if counts[Outcome.RETRY] == len(results):
        # Raised, not sent: the ledger holds the time of the next attempt, and the relay sends its wake-up.
        wait = worst.due_in.total_seconds() if worst.due_in is not None else None
        failed = DeliveryFailed(summary)
        failed.__cause__ = worst.error
        raise Retry(summary, failed, when=wait)
    return summary


def record_lost_process(sender: Any = None, exception: Any = None, kwargs: Any = None, **_: Any) -> None:
    """Celery's main process saw a child die or killed it for its time: tell the ledger, ahead of the lease's end."""
    if not isinstance(sender, DeliveryTask) or host_of(sender.app).draining.is_cut_short:  # then it is handed back
        return
    error: WorkerLost | TimeLimitExceeded
    if isinstance(exception, WorkerLostError):
        error = WorkerLost(f"the process that ran the handler died: {exception}")
    elif isinstance(exception, CeleryTimeLimitExceeded):
        error = TimeLimitExceeded(f"the handler ran over its time limit of {sender.limit:g} s and didn't end")
    else:
        return
    try:
        group = group_of({HEADER: {"handler": sender.name, "queue": "", **kwargs}})
        sender.deliverer("main").abandon(sender.name, _tokens(group), error, ending_process())
    except Exception as failure:  # the lease ends in any case, and the relay finds it
        ids = ", ".join(str(wakeup.event_id) for wakeup in group_of({HEADER: {"handler": "", "queue": "", **kwargs}}))
        complaint = "can't record the end of %s of event %s: %s"
        log.warning(complaint, sender.name, ids, failure, extra={"handler": sender.name})


def _pool_is_ending(error: BaseException) -> bool:
    """Whether billiard raised this SystemExit to end a child on shutdown. A SystemExit of a handler is a failure."""
    fired = getattr(billiard_common, "terminate_handler_fired", None)
    return isinstance(error, SystemExit) and fired is not None and bool(fired())


def _is_soft_limit(error: BaseException) -> bool:
    return isinstance(error, SoftTimeLimitExceeded)
