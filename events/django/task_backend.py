"""A backend for `django.tasks`, by its backport django-tasks: an enqueued task is an event of the open transaction.

    TASKS = {"default": {"BACKEND": "events.django.task_backend.EventsBackend"}}

The module isn't called `tasks`, for Celery's autodiscovery would import it in each project that has Celery.

A task is enqueued if and only if that transaction commits. It runs as a handler does, with the ORM on the delivery's
transaction: what it writes, its result and its outcome are committed together, once.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django_tasks import task_backends
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
from django_tasks.exceptions import TaskResultDoesNotExist
from django_tasks.signals import task_enqueued, task_finished, task_started
from django_tasks.utils import get_exception_traceback, get_module_path, normalize_json

from events.current_pipeline import get_pipeline
from events.django.configuration import ledger_alias
from events.django.models import TaskReturn
from events.errors import NoSuchEvent
from events.event import DomainEvent
from events.handling import Delivery, handles
from events.ledger import DeliveryRecord, EventRecord, State
from events.publishing import publish
from events.retry import Retry

_STATUS = {
    State.RUNNING.value: TaskResultStatus.RUNNING,
    State.SUCCEEDED.value: TaskResultStatus.SUCCESSFUL,
    State.DEAD.value: TaskResultStatus.FAILED,
    State.DISCARDED.value: TaskResultStatus.FAILED,
}


class TaskEnqueued(DomainEvent, name="django.task-enqueued", aggregate_id="path"):
    """A task that is to be run; its id is that of the task's result.

    Attributes:
        path: of the task's function, as module and name.
        arguments, options: what the function is called with.
    """

    path: str
    arguments: list[Any]
    options: dict[str, Any]
    backend: str
    queue: str


class EventsBackend(BaseTaskBackend):
    """Enqueues tasks as events. Tasks may be `async def`, and their results can be read in every process."""

    supports_async_task = True
    supports_get_result = True

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """See BaseTaskBackend. Raises as events.publish does."""
        self.validate_task(task)
        event = TaskEnqueued(
            path=task.module_path,
            arguments=normalize_json(list(args)),
            options=normalize_json(dict(kwargs)),
            backend=self.alias,
            queue=task.queue_name,
        )
        publish(event)
        result = _new_result(task, event)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """See BaseTaskBackend."""
        try:
            record = get_pipeline().history.event(UUID(str(result_id)))
        except (ValueError, NoSuchEvent):
            raise TaskResultDoesNotExist(result_id) from None
        if record.event_type != TaskEnqueued.event_name:
            raise TaskResultDoesNotExist(result_id)
        return _result_of(record)

    def check(self, **_: Any) -> Iterable[CheckMessage]:
        """Our application must be there."""
        from django.apps import apps

        if not apps.is_installed("events.django"):
            yield Error("the tasks' backend needs the ledger", hint="add 'events.django' to INSTALLED_APPS")


@handles(TaskEnqueued, name="django_task", retry=Retry(max_attempts=3, never=(Exception, SystemExit)), group=False)
def run_task(event: TaskEnqueued, delivery: Delivery) -> None:
    """Run a task. An error is its end; a worker that is lost is not."""
    task = _task_of(event.path, event.backend, event.queue)
    result = _new_result(task, event)
    now = _now()
    _set(result, status=TaskResultStatus.RUNNING, started_at=now, last_attempted_at=now)
    result.worker_ids.extend([delivery.worker] * delivery.attempt)
    sender = type(task.get_backend())
    task_started.send(sender, task_result=result)
    context = [TaskContext(task_result=result)] if task.takes_context else []
    try:
        value = normalize_json(task.call(*context, *result.args, **result.kwargs))
    except (Exception, SystemExit) as error:
        _set(result, status=TaskResultStatus.FAILED, finished_at=_now())
        result.errors.append(_error(get_module_path(type(error)), get_exception_traceback(error)))
        task_finished.send(sender, task_result=result)
        raise
    if value is not None:
        TaskReturn.objects.using(ledger_alias()).create(event_id=event.event_id, value=value)
    _set(result, status=TaskResultStatus.SUCCESSFUL, finished_at=_now(), _return_value=value)
    transaction.on_commit(lambda: task_finished.send(sender, task_result=result), using=ledger_alias())


def _result_of(record: EventRecord) -> Any:
    stored = json.loads(record.data)
    event = TaskEnqueued.model_construct(**stored)
    task = _task_of(event.path, event.backend, event.queue)
    delivery = next((one for one in record.deliveries if one.handler == "django_task"), None)
    result = _empty(task, str(record.event_id), event, record.occurred_at)
    if delivery is None:
        return result
    failed = [one for one in record.attempts if one.handler == "django_task"]
    workers = [one.worker or "" for one in failed]
    if delivery.state in (State.RUNNING, State.SUCCEEDED):
        workers.append(delivery.worker or "")
    started = _first_start(record, delivery)
    is_over = delivery.state in (State.SUCCEEDED, State.DEAD, State.DISCARDED)
    _set(
        result,
        status=_STATUS.get(delivery.state, TaskResultStatus.READY),
        started_at=_local(started),
        last_attempted_at=_local(delivery.started_at or started),
        finished_at=_local(delivery.finished_at) if is_over else None,
    )
    result.worker_ids.extend(workers)
    result.errors.extend(_error(_path_of(one.error_type), one.traceback) for one in failed)
    if delivery.state == State.SUCCEEDED:
        returned = TaskReturn.objects.using(ledger_alias()).filter(event_id=record.event_id).first()
        _set(result, _return_value=returned.value if returned else None)
    return result


def _first_start(record: EventRecord, delivery: DeliveryRecord) -> datetime | None:
    starts = [one.started_at for one in record.attempts if one.started_at is not None]
    return min(starts) if starts else delivery.started_at


def _task_of(path: str, backend: str, queue: str) -> Any:
    task = import_string(path)
    if not isinstance(task, Task):
        raise TypeError(f"{path} is no task of django-tasks, as it was when it was enqueued: mend that, and replay it")
    return task.using(queue_name=queue, backend=backend if backend in task_backends.settings else None)


def _new_result(task: Any, event: TaskEnqueued) -> Any:
    return _empty(task, str(event.event_id), event, event.occurred_at)


def _empty(task: Any, result_id: str, event: TaskEnqueued, enqueued_at: datetime | None) -> Any:
    return TaskResult(
        task=task,
        id=result_id,
        status=TaskResultStatus.READY,
        enqueued_at=_local(enqueued_at),
        started_at=None,
        last_attempted_at=None,
        finished_at=None,
        args=event.arguments,
        kwargs=event.options,
        backend=event.backend,
        errors=[],
        worker_ids=[],
    )


def _error(path: str, traceback: str) -> Any:
    return TaskError(exception_class_path=path, traceback=traceback)


def _path_of(error_type: str) -> str:
    return error_type if "." in error_type else f"builtins.{error_type}"


def _set(result: Any, **values: Any) -> None:
    """Results are frozen; the backends set their attributes in this way."""
    for name, value in values.items():
        object.__setattr__(result, name, value)


def _now() -> datetime:
    now: datetime = timezone.now()
    return now


def _local(time: datetime | None) -> datetime | None:
    if time is None or settings.USE_TZ:
        return time
    naive: datetime = timezone.make_naive(time)
    return naive
