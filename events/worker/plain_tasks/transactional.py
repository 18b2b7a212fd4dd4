"""`@transactional(app)`: a task that is a part of the transaction in which it is sent, where not all of its app are."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import Celery, Task

from events.errors import DefinitionError
from events.handling import place_of
from events.retry import Retry
from events.worker.plain_tasks.exactly_once import exactly_once_task
from events.worker.plain_tasks.outbox import outbox_of


class TransactionalTask(Task):  # type: ignore[misc]
    """Base class of tasks that are sent when the transaction commits in which they were sent, and never if it rolls
    back: `@shared_task(base=TransactionalTask)`. With `events.outbox(app)` all tasks of the app are so."""

    abstract = True
    is_transactional = True

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Celery calls this when it knows the task's app."""
        outbox_of(app, f"TransactionalTask {cls.name}")
        super().on_bound(app)


def transactional(
    app: Celery,
    *,
    exactly_once: bool = False,
    retry: Retry | None = None,
    queue: str | None = None,
    time_limit: timedelta | float | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """Make a function a task of the app, as `app.task` does, that is sent when the caller's transaction commits.

    Args:
        exactly_once: run it as a delivery, as handlers are: parameters that are a Session, Connection, AsyncSession or
            AsyncConnection are injected, and what it writes there is committed together with its outcome, once. It is
            no Celery message then: it takes no countdown, link and the like, has no result, and is in no chain.
        retry: of an exactly-once task: when to try again; default `Retry()`.
        queue: the queue that its messages go to; of an exactly-once task one of handlers, default EVENTS_QUEUE.
        time_limit: as of app.task; of an exactly-once task as of @handles.
        options: as of app.task, such as name= and base=.
    Raises:
        DefinitionError: retry= without exactly_once; or an exactly-once task that can't be one.
        ConfigurationError: see `events.outbox`.
    """
    what = "@events.transactional(app)"
    if callable(app) and not isinstance(app, Celery):
        raise DefinitionError(f"@transactional at {place_of(app)} takes the Celery app, in parentheses: {what}")
    outbox_of(app, what)
    if exactly_once:
        return exactly_once_task(app, retry, queue, time_limit, options)
    if retry is not None:
        raise DefinitionError(f"{what}: retry=... is for exactly_once=True; a plain task retries as Celery says")
    own = {"queue": queue, "time_limit": time_limit}
    options |= {name: value for name, value in own.items() if value is not None}
    base = options.pop("base", None) or app.Task
    if not issubclass(base, TransactionalTask):
        base = type("TransactionalTask", (TransactionalTask, base), {"abstract": True, "__module__": __name__})
    return app.task(base=base, **options)  # type: ignore[no-any-return]
