"""Runs plain tasks of an app that has no broker: each is a delivery, and Celery's own code runs it.

Its result, its callbacks, what follows it in a chain, and `self.retry` are Celery's, as in a worker of its own; what
these send is a row in the ledger again. A task that fails is a dead letter at once, which can be replayed.
"""

import logging
import socket
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

from celery import Celery, states
from celery.app.trace import trace_task
from celery.exceptions import Reject

from events.errors import ConfigurationError, TaskFailed
from events.publishing import running
from events.retry import RetryAfter
from events.worker.plain_tasks.message import TaskMessage

log = logging.getLogger("events.worker")


class Running:
    """Runs the tasks of one app."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def run(self, event: TaskMessage) -> None:
        """Run a task to its end.

        Raises:
            RetryAfter: it is not its time yet.
            ConfigurationError: this process has no such task.
            TaskFailed: the task failed; the cause is its own error.
        """
        options = event.options()
        headers = options["headers"]
        if (wait := _until(headers.get("eta"))) > 0:
            raise RetryAfter(wait, f"its time is {headers['eta']}")
        task = self._app.tasks.get(event.task)
        if task is None:
            self._app.loader.import_default_modules()
            task = self._app.tasks.get(event.task)
        if task is None:
            raise ConfigurationError(
                f"no task {event.task!r} in this worker: name the module that defines it in EVENTS_HANDLERS, or in "
                f"`include` of the Celery app {self._app.main!r}"
            )
        if headers.get("expires") and _until(headers["expires"]) <= 0:
            log.warning("task %s, %s, has expired (%s), and is not run", event.task, event.task_id, headers["expires"])
            task.backend.mark_as_revoked(event.task_id, reason="expired", store_result=not headers["ignore_result"])
            return
        args, kwargs, embedded = event.content()
        request = headers | {
            "correlation_id": event.task_id,
            "reply_to": options.get("reply_to"),
            "delivery_info": {"exchange": "", "routing_key": options.get("routing_key"), "redelivered": False}
            | ({"priority": options["priority"]} if "priority" in options else {}),
            "args": args,
            "kwargs": kwargs,
            "hostname": socket.gethostname(),
            "is_eager": False,
            **embedded,
        }
        # What the task sends or publishes is no part of the delivery: it may have sessions of its own, and retry.
        copy_context().run(self._trace, task, event, args, kwargs, request)

    def _trace(
        self, task: Any, event: TaskMessage, args: list[Any], kwargs: dict[str, Any], request: dict[str, Any]
    ) -> None:
        running.set(None)
        try:
            _, info, _, _ = trace_task(task, event.task_id, args, kwargs, request, app=self._app)
        except Reject as error:
            raise TaskFailed(f"task {event.task}, {event.task_id}, was rejected: {error.reason}") from error
        if info is not None and info.state == states.FAILURE:
            cause = getattr(info.retval, "exception", info.retval)
            cause = cause if isinstance(cause, BaseException) else None
            raise TaskFailed(f"task {event.task}, {event.task_id}: {type(cause).__name__}: {cause}") from cause


def _until(time: str | None) -> float:
    """The seconds until then; negative if it is past, and for no time."""
    if time is None:
        return -1
    moment = datetime.fromisoformat(time)
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return float((moment - datetime.now(UTC)).total_seconds())
