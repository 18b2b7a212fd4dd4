"""`events.outbox(app)`: a task that is sent in a transaction is a row of it until it commits, and is sent then."""

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery, uuid
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events.current_pipeline import get_pipeline, surroundings
from events.errors import ConfigurationError, PayloadTooLarge, PublishError
from events.pipeline import register_late
from events.publishing import begun, choice_of, given, running, transacting, watch
from events.worker.celery_app import LedgerApp
from events.worker.plain_tasks.message import TaskMessage, body_of, message_class, message_of
from events.worker.plain_tasks.recording import recorded
from events.worker.plain_tasks.templates import Templates

WITHOUT_BROKER = "ledger://"
_NOTHING_FOLLOWS = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))


class Outbox:
    """What becomes of the tasks of one app.

    Args:
        name: what the ledger calls the app; the same in all processes of the application, and no other's.
        place: where it was made, for people.
    """

    def __init__(self, app: Celery, name: str, place: str) -> None:
        self.app = app
        self.name = name
        self.place = place
        self.event_class = message_class(name)
        self.is_for_all = False  # tasks, and not only for those that are Transactional
        self.among: Callable[[Session], bool] = lambda _: True
        self._templates = Templates(app)
        self._send: Callable[..., Any] = app.send_task
        app.send_task = self.send_task
        watch()
        register_late(_register)

    @property
    def has_broker(self) -> bool:
        """Whether the app sends its tasks to a broker. If not, workers run them."""
        url = str(self.app.conf.broker_url or "")
        return bool(url) and not url.startswith(WITHOUT_BROKER)

    def send_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: Any = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        **options: Any,
    ) -> Any:
        """Stands in for Celery's own `send_task`, which all ways to send a task come to.

        Raises:
            PublishError: the task can't be stored, or it can't be known in which transaction.
        """
        options |= {"args": args, "kwargs": kwargs, "countdown": countdown, "eta": eta}
        session = options.pop("session", None)
        task = options.get("task_type") or self._task(name)
        if getattr(task, "is_exactly_once", False):
            return task.apply_async(task_id=task_id, session=session, **options)
        if connection is not None or not self._is_for(task):
            if session is not None:
                raise PublishError(f"task {name}: session= and connection= exclude each other")
            return self._send(name, task_id=task_id, producer=producer, connection=connection, **options)
        joins, session = self.transaction(session)
        if not joins and self.has_broker:
            return self._send(name, task_id=task_id, producer=producer, **options)
        return self._store(name, task_id, session, options)

    def _task(self, name: str) -> Any:
        """The task of that name, if this process has it."""
        return self.app.tasks.get(name) if self.app.finalized or self.app.autofinalize else None

    def _is_for(self, task: Any) -> bool:
        return self.is_for_all or bool(getattr(task, "is_transactional", False))

    def transaction(self, session: object) -> tuple[bool, Session | Connection | None]:
        """Whether the present code is in a transaction; and its session, if that isn't the delivery's own."""
        if session is not None:
            return True, transacting(session)
        if (found := given()) is not None:
            return True, found
        if running.get() is not None:
            return True, None
        chosen = begun(self.among)
        around = surroundings()
        return chosen is not None or (around is not None and around.is_open()), chosen

    def _store(
        self, name: str, given: str | None, session: Session | Connection | None, options: dict[str, Any]
    ) -> Any:
        task_id = given or uuid()
        result_cls, add_to_parent = options.get("result_cls"), options.get("add_to_parent", True)
        key = self._templates.key(name, options)
        if (template := self._templates.get(key)) is not None:
            message, ignore_result = template.message(task_id), template.ignore_result
            body = body_of(
                name, (options["args"] or (), options["kwargs"] or {}, _NOTHING_FOLLOWS), template.serializer
            )
        else:
            taken = recorded(self.app, self._send, name, options | {"task_id": task_id})
            if not isinstance(taken.body, tuple):
                raise PublishError(f"task {name} in a transaction: task_protocol = 1 can't be stored; set it to 2")
            serializer = taken.options.get("serializer") or "json"
            ignore_result = (taken.options.get("headers") or {}).get("ignore_result")
            message, body = message_of(taken.options, name), body_of(name, taken.body, serializer)
            if given is None:
                self._templates.keep(key, message, task_id, serializer, ignore_result)
        self._publish(self.event_class(task=name, task_id=task_id, body=body, message=message), session)
        result = (result_cls or self.app.AsyncResult)(task_id)
        result.ignored = ignore_result
        if add_to_parent and (parent := self.app.current_worker_task):
            parent.add_trail(result)
        return result

    def _publish(self, event: TaskMessage, session: Session | Connection | None) -> None:
        try:
            get_pipeline().publisher.publish(event, session=session, in_time=True, is_text=True)
        except PayloadTooLarge as error:
            raise PayloadTooLarge(f"task {event.task}, as {error}") from None


_outboxes: WeakKeyDictionary[Celery, Outbox] = WeakKeyDictionary()


def outbox(app: Celery, *, sessions: Any = None, name: str | None = None) -> None:
    """Make each task of this Celery app a part of the transaction in which it is sent: in `celery.py`, once.

    `task.delay()` and all other ways to send a task, in a transaction of a SQLAlchemy session, in Django's
    `transaction.atomic()` or in a handler, store the task in that transaction. When it has committed, a worker with
    handlers sends it; if it rolls back, nobody does.
    Outside of a transaction a task is sent at once, as ever; or stored by itself, if the app has no broker.

    Args:
        sessions: whose transactions count: a sessionmaker, scoped_session, class of sessions or engine, or a list of
            them; also those of asyncio. Default all sessions of the process.
        name: what the ledger calls this app; default the app's own name.
    Raises:
        ConfigurationError: `app` is no Celery app, is that of `celery -A events`, has no name, or has an outbox
            already.
    """
    caller = sys._getframe(1)
    made = outbox_of(app, f"events.outbox() at {caller.f_code.co_filename}:{caller.f_lineno}", name)
    if made.is_for_all:
        raise ConfigurationError(
            f"events.outbox() at {caller.f_code.co_filename}:{caller.f_lineno}: app {made.name!r} has an outbox by "
            f"{made.place} already; remove one of the two calls"
        )
    if name is not None and made.name != name:
        raise ConfigurationError(
            f"events.outbox(..., name={name!r}) comes after {made.place}, which named it {made.name!r}; call it first"
        )
    if sessions is not None:
        made.among = choice_of(sessions)
    made.is_for_all = True
    made.place = f"{caller.f_code.co_filename}:{caller.f_lineno}"


def outbox_of(app: Celery, what: str, name: str | None = None) -> Outbox:
    """The outbox of this app, which is made if it has none yet. `what` begins the errors. Raises ConfigurationError."""
    if not isinstance(app, Celery):
        raise ConfigurationError(f"{what} takes the Celery app, and {app!r:.200} is none")
    if isinstance(app, LedgerApp):
        raise ConfigurationError(
            f"{what}: that is the app of `celery -A events worker`, which sends no tasks; take the application's own "
            "Celery app"
        )
    if (found := _outboxes.get(app)) is not None:
        return found
    name = name or (app.main if app.main != "__main__" else None)
    if not name or not isinstance(name, str):
        raise ConfigurationError(
            f"{what}: the app has no name, by which the ledger tells its tasks from those of other apps; write "
            "Celery('shop'), or events.outbox(app, name='shop')"
        )
    if other := next((one for one in _outboxes.values() if one.name == name), None):
        raise ConfigurationError(
            f"{what}: another Celery app of the name {name!r} has an outbox by {other.place}, and the tasks of the two "
            "would be taken for each other's; give one of them a name of its own, events.outbox(app, name=...)"
        )
    made = _outboxes[app] = Outbox(app, name, what)
    return made


def _register() -> None:
    from events.worker.plain_tasks.handlers import register_outboxes  # a process that only sends needs none of it

    register_outboxes()


def all_outboxes() -> list[Outbox]:
    """The outboxes of this process."""
    return list(_outboxes.values())
