"""Lets Celery make the message of a task, with all its options, routes, stamps and signals, and takes it in place of a
broker."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from celery import Celery, signals

LATER = "..."  # in place of the text that people are shown of the arguments, which is made where the message is sent


class _Recorded(BaseException):
    """Ends Celery's sending once the message is there: nothing was sent, so Celery must not say that it was."""


class Recorder:
    """What Celery takes for a producer. Attributes: `body` and `options` of the message."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self.body: Any = None
        self.options: dict[str, Any] = {}

    def publish(self, body: Any, **options: Any) -> None:
        self.body, self.options = body, options
        raise _Recorded

    @property
    def connection(self) -> "Recorder":
        return self

    def _reraise_as_library_errors(self) -> AbstractContextManager[None]:
        """Celery asks a connection to do so."""
        return nullcontext()

    @property
    def channel(self) -> Any:
        """For a result backend that has its answers come by the broker, `rpc://`: it declares its queue there."""
        with self._app.producer_or_acquire() as producer:
            return producer.channel


def recorded(app: Celery, send: Callable[..., Any], name: str, options: dict[str, Any]) -> Recorder:
    """The message that `send` (Celery's send_task) would have sent. Raises what Celery raises for wrong options."""
    recorder = Recorder(app)
    if not signals.before_task_publish.receivers:  # nobody sees the message before it is sent
        options = {"argsrepr": LATER, "kwargsrepr": LATER} | options
    try:
        send(name, **options | {"producer": recorder, "retry": False})  # of publishing, which the ledger does
    except _Recorded:
        return recorder
    raise RuntimeError(f"Celery sent task {name} by none of the ways that are known")
