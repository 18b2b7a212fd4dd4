"""Our Celery app, and a stand-in for the application's own Celery app if it has none.

Our app runs deliveries and sends nothing: the relay sends wake-ups. Celery makes the app of a worker the current app,
to which all `@shared_task`s of the process belong; but tasks of the application would land in our queue, whose workers
can't run them. So the application's own app stays the current app; without one, sending a task is refused. For those
who have plain tasks and no app, events.worker.tasks_beside makes one.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

from celery import Celery, _state
from celery.app.control import Control, Inspect

from events.errors import ConfigurationError
from events.handling import all_handlers
from events.worker.host import Host, lend_host

_CURE = (
    "the app of `celery -A events` has no tasks but handlers; make it a @shared_task in a module of EVENTS_HANDLERS, "
    "or a handler, and publish an event"
)
_LATE = (
    "it is no task of a module that EVENTS_HANDLERS imports, so no worker would run it; import its module there, and "
    "start the worker again"
)


class LedgerApp(Celery):  # type: ignore[misc]
    """Runs handlers. Its tasks are the deliveries of handlers, and Celery's own tasks.

    Args:
        host: what the parts of this worker share; they find it by `host_of(app)`.
    """

    def __init__(self, host: Host) -> None:
        # Without a broker remote control reaches no worker.
        control = None if host.pipeline.settings.broker_url else "events.worker.celery_app:NobodyElse"
        super().__init__("events", set_as_current=False, fixups=[], control=control)
        lend_host(self, lambda: host)
        self.applications: Celery = _others_app() or NoApp()
        self.give_way()

    def give_way(self) -> None:
        """Make the application's own app the current app of this thread, and of all threads that have none."""
        self.applications.set_current()
        self.applications.set_default()

    set_current = set_default = give_way  # Celery's worker calls these

    def send_task(self, name: str, *_: Any, **__: Any) -> NoReturn:
        for handler in all_handlers():
            if handler.name == name:
                event = handler.events[0].__name__
                raise ConfigurationError(f"{name} is a handler: publish its event to run it, {event}(...)")
        _refuse(name)

    def task(self, *arguments: Any, **options: Any) -> Any:
        if options.get("shared") is False:  # Celery's own
            return super().task(*arguments, **options)
        function = arguments[0] if arguments else None
        return _refuse(str(options.get("name") or getattr(function, "__name__", "@app.task")))

    def _task_from_fun(self, fun: Any, *arguments: Any, **options: Any) -> Any:
        """Celery calls this for each @shared_task of the process, too."""
        if fun.__module__.startswith("celery."):
            return super()._task_from_fun(fun, *arguments, **options)
        return None


class NoApp(Celery):  # type: ignore[misc]
    """Stands in for the Celery app of an application that has none: its tasks can be called, but not sent."""

    def __init__(self) -> None:
        super().__init__("none", set_as_current=False, fixups=[])

    def producer_or_acquire(self, producer: Any = None) -> AbstractContextManager[Any]:
        """No producer. A caller that sends several tasks asks for one first; then each task is refused by its name."""
        if self.conf.task_always_eager:
            return super().producer_or_acquire(producer)  # type: ignore[no-any-return]
        return nullcontext(producer)

    def send_task(self, name: str, *_: Any, **__: Any) -> NoReturn:
        _refuse(name, _LATE)


class PlainApp(Celery):  # type: ignore[misc]
    """The app of `@shared_task`s whose application has none: it runs them beside handlers, or as rows of the ledger.

    Attributes:
        known: the names of the tasks that workers of this app have. They would drop a message with any other name, as
            all of Celery's workers do; so to send one into their queue is refused.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, set_as_current=False, fixups=[])
        self.known: frozenset[str] = frozenset()

    def send_task(self, name: str, *arguments: Any, **options: Any) -> Any:
        goes_elsewhere = any(options.get(where) is not None for where in ("queue", "exchange", "routing_key"))
        if name not in self.known and not name.startswith("celery.") and not goes_elsewhere:
            _refuse(name, _LATE)
        return super().send_task(name, *arguments, **options)


class NobodyElse(Control):  # type: ignore[misc]
    """Remote control without a broker: it reaches no worker, and no worker answers."""

    def broadcast(self, *_: Any, reply: bool = False, **__: Any) -> list[Any] | None:
        return [] if reply else None

    @property
    def inspect(self) -> Any:
        return self.app.subclass_with_self(_NoAnswer, reverse="control.inspect")


class _NoAnswer(Inspect):  # type: ignore[misc]
    def _request(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}


def own_app() -> Celery | None:
    """The application's own Celery app, if this thread has one: the one that was made last, or was made current."""
    app = _others_app()
    return None if isinstance(app, PlainApp) else app


def _others_app() -> Celery | None:
    current = _state._tls.current_app
    return None if isinstance(current, LedgerApp | NoApp) else current


def _refuse(name: str, cure: str = _CURE) -> NoReturn:
    raise ConfigurationError(f"task {name!r} is not sent: {cure}")
