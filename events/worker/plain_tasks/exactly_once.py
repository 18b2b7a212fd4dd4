"""A task that runs as a delivery: its effects in the database are committed together with its outcome.

To the application it is a task of its Celery app; `delay()` stores an event, and a handler calls the function. Of all
that Celery offers beyond that, what can't be kept is refused where it is asked for.
"""

import functools
import inspect
import types
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from celery import Celery, Task, uuid
from kombu.utils.json import loads

from events.current_pipeline import get_pipeline
from events.definition import here, uuid7
from events.errors import DefinitionError, EventIdTaken, PublishError
from events.event import DomainEvent
from events.handling import (
    Handler,
    Wanted,
    as_limit,
    as_retry,
    async_session_class,
    injected,
    is_async,
    place_of,
    remember,
    session_class,
)
from events.retry import Retry
from events.worker.plain_tasks.message import body_of
from events.worker.plain_tasks.outbox import outbox_of

RUNS = "once."  # begins the names of these handlers: a handler can't have the name of a task
_EVENT = "events_call"  # the keyword by which a handler gets its event; no parameter of a task is named so
_HARMLESS = {  # options that say nothing, or nothing that matters without a message
    "task_id", "producer", "publisher", "headers", "shadow", "ignore_result", "group_id", "group_index", "root_id",
    "parent_id", "reply_to", "serializer", "add_to_parent", "route_name", "task_type", "result_cls", "router", "origin",
    "stamped_headers", "delivery_info", "argsrepr", "kwargsrepr", "replaced_task_nesting", "retries",
}  # fmt: skip


class CallOfTask(DomainEvent, abstract=True, aggregate_id="task_id"):
    """A call of an exactly-once task; each task has a subclass. `body`: args and kwargs as JSON."""

    task_id: str
    body: str


class ExactlyOnceTask(Task):  # type: ignore[misc]
    """Base of the tasks that `exactly_once_task` makes."""

    abstract = True
    is_exactly_once = True
    typing = True
    ignore_result = True
    event_class: type[CallOfTask]

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Store the call, in the caller's transaction if there is one.

        Raises:
            PublishError: an option that can't be kept, or an argument that is no JSON.
            TypeError: wrong arguments.
        """
        session = options.pop("session", None)
        self._refuse({name for name, value in options.items() if value is not None} - _HARMLESS)
        self.__header__(*(args or ()), **(kwargs or {}))
        _, session = outbox_of(self.app, self.name).transaction(session)
        task_id = task_id or uuid()
        self._store(uuid7(), task_id, args, kwargs, session)
        result = self.app.AsyncResult(task_id)
        result.ignored = True
        return result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A direct call is that of the function. A message, from a program that hasn't this outbox, is stored."""
        request = self.request
        if request.called_directly:
            return super().__call__(*args, **kwargs)
        self._refuse({name for name in ("chain", "chord", "callbacks") if getattr(request, name)})
        try:
            self._store(uuid5(NAMESPACE_OID, f"{self.name}/{request.id}"), request.id, args, kwargs, None)
        except EventIdTaken:  # the message was delivered again
            return None
        return None

    def _store(self, event_id: UUID, task_id: str, args: Any, kwargs: Any, session: Any) -> None:
        body = body_of(self.name, (list(args or ()), dict(kwargs or {}), {}), "json")
        event = self.event_class(event_id=event_id, task_id=task_id, body=body)
        get_pipeline().publisher.publish(event, session=session, in_time=True, is_text=True)

    def _refuse(self, options: set[str]) -> None:
        if options:
            raise PublishError(
                f"task {self.name} is exactly_once=True, so it is no Celery message, and {', '.join(sorted(options))} "
                f"can't be kept; send a plain task that sends this one, or leave that out"
            )


def exactly_once_task(
    app: Celery,
    retry: Retry | None,
    queue: str | None,
    time_limit: timedelta | float | None,
    options: dict[str, Any],
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: see `events.transactional`."""

    def decorate(function: Callable[..., Any]) -> Any:
        where = place_of(function)
        name = options.get("name") or app.gen_task_name(function.__name__, function.__module__)
        what = f"exactly-once task {name!r} ({where})"
        if options.get("bind"):
            raise DefinitionError(f"{what}: bind=True gives it the task, which a delivery isn't; leave it out")
        given = injected(function, what)
        if given.keys() & {"self"}:
            raise DefinitionError(f"{what}: 'self' is injected by bind=True alone")
        event_class = _event_class(name)
        remember(
            Handler(
                name=f"{RUNS}{name}",
                call=_called(function),
                events=(event_class,),
                defined_at=where,
                wants={_EVENT: Wanted.EVENT, **given},
                retry=as_retry(retry, name, where),
                queue=queue,
                time_limit=as_limit(time_limit, name, where),
                session=session_class(function, what),
                async_session=async_session_class(function, what),
                origin=here(),
            )
        )
        base = options.pop("base", None) or app.Task
        kind = type(
            "ExactlyOnceTask",
            (ExactlyOnceTask, base),
            {"abstract": True, "event_class": event_class, "__module__": __name__},
        )
        return app.task(base=kind, **options | {"name": name})(_as_task(function, given))

    return decorate


def _event_class(task: str) -> type[CallOfTask]:
    def fill(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = __name__
        namespace["__doc__"] = f"A call of task {task!r}."

    return types.new_class("CallOfTask", (CallOfTask,), {"name": f"{RUNS}{task}"}, fill)


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """The handler: calls the function with the arguments of the event, and with what is injected."""
    if is_async(function):

        @functools.wraps(function)
        async def call_awaited(**given: Any) -> None:
            args, kwargs, _ = loads(given.pop(_EVENT).body)
            await function(*args, **kwargs, **given)

        return call_awaited

    @functools.wraps(function)
    def call(**given: Any) -> None:
        args, kwargs, _ = loads(given.pop(_EVENT).body)
        function(*args, **kwargs, **given)

    return call


def _as_task(function: Callable[..., Any], given: dict[str, Wanted]) -> Callable[..., Any]:
    """The function as its callers see it: without what is injected."""

    @functools.wraps(function)
    def task(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    whole = inspect.signature(function)
    left = [one for name, one in whole.parameters.items() if name not in given]
    task.__signature__ = whole.replace(parameters=left)  # type: ignore[attr-defined]
    return task
