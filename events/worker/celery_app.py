"""Our Celery app, and what stands in for an application's own where it has none.

Ours runs deliveries and sends nothing: wake-ups are the relay's. Celery makes the app of a worker the current one, to
which all `@shared_task`s of the process belong; theirs would land in our queue, whose workers can't run them. So the
application's own app stays the current one, and if there is none, they are refused when somebody sends them.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

from celery import Celery, _state
from celery.app.control import Control, Inspect

from events.errors import ConfigurationError
from events.handling import all_handlers
from events.worker.host import Host

_CURE = (
    "`celery -A events worker` runs handlers only, and nobody would run it; send it by a Celery app of the "
    "application's own, made in a module that the handlers' modules import, with a worker and a broker of its own "
    "(app = Celery('shop', broker='redis://...')), or make it a handler and publish an event"
)


class LedgerApp(Celery):  # type: ignore[misc]
    """Runs handlers. Its tasks are theirs, and Celery's own.

    Args:
        host: what the parts of this worker share; they find it by `host_of(app)`.
    """

    def __init__(self, host: Host) -> None:
        # Without a broker there is nobody to be asked or told anything by remote control.
        control = None if host.pipeline.settings.broker_url else "events.worker.celery_app:NobodyElse"
        super().__init__("events", set_as_current=False, fixups=[], control=control)
        self.host = host
        found = _state._tls.current_app
        self.applications: Celery = found if found is not None and not isinstance(found, LedgerApp) else NoApp()
        self.give_way()

    def give_way(self) -> None:
        """The application's own app is the current one of this thread, and of all threads that have none."""
        self.applications.set_current()
        self.applications.set_default()

    set_current = set_default = give_way  # Celery's worker calls these

    def send_task(self, name: str, *_: Any, **__: Any) -> NoReturn:
        for handler in all_handlers():
            if handler.name == name:
                event = handler.events[0].__name__
                raise ConfigurationError(f"{name} is a handler, and runs when its event is published: {event}(...)")
        _refuse(name)

    def task(self, *arguments: Any, **options: Any) -> Any:
        if options.get("shared") is False:  # Celery's own
            return super().task(*arguments, **options)
        function = arguments[0] if arguments else None
        return _refuse(str(options.get("name") or getattr(function, "__name__", "@app.task")))

    def _task_from_fun(self, fun: Any, *arguments: Any, **options: Any) -> Any:
        """Called for each @shared_task of this process, too."""
        if fun.__module__.startswith("celery."):
            return super()._task_from_fun(fun, *arguments, **options)
        return None


class NoApp(Celery):  # type: ignore[misc]
    """Where the application has no Celery app of its own: its tasks can be called, and not sent."""

    def __init__(self) -> None:
        super().__init__("none", set_as_current=False, fixups=[])

    def producer_or_acquire(self, producer: Any = None) -> AbstractContextManager[Any]:
        """None at all: who sends several tasks asks for one first, and each of them is refused by its own name."""
        if self.conf.task_always_eager:
            return super().producer_or_acquire(producer)  # type: ignore[no-any-return]
        return nullcontext(producer)

    def send_task(self, name: str, *_: Any, **__: Any) -> NoReturn:
        _refuse(name)


class NobodyElse(Control):  # type: ignore[misc]
    """Remote control without a broker: nobody hears it, and nobody answers."""

    def broadcast(self, *_: Any, reply: bool = False, **__: Any) -> list[Any] | None:
        return [] if reply else None

    @property
    def inspect(self) -> Any:
        return self.app.subclass_with_self(_NoAnswer, reverse="control.inspect")


class _NoAnswer(Inspect):  # type: ignore[misc]
    def _request(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}


def _refuse(name: str) -> NoReturn:
    raise ConfigurationError(f"task {name!r} is not sent: {_CURE}")
