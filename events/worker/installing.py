"""`events.install(app)`: handlers become tasks of an application's own Celery app."""

import sys
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery, signals

from events.errors import ConfigurationError
from events.settings import stand_in
from events.worker.app_broker import broker_of
from events.worker.celery_app import LedgerApp
from events.worker.exits import is_run_by_celery, or_exit

_installed: WeakKeyDictionary[Celery, str] = WeakKeyDictionary()


def install(app: Celery) -> None:
    """Make handlers tasks of this Celery app, beside its own: in its `celery.py`, once, below `app = Celery(...)`.

    It connects to nothing and imports no handler. Workers of the app import the modules of EVENTS_HANDLERS after all
    modules of the application, and read the queues of handlers beside those of the app. Handlers use the app's broker
    if that is Redis or RabbitMQ, unless EVENTS_BROKER_URL is set.

    Raises:
        ConfigurationError: `app` is no Celery app, is that of `celery -A events`, or has handlers already.
    """
    caller = sys._getframe(1)
    place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    if not isinstance(app, Celery):
        raise ConfigurationError(f"events.install() at {place} takes the Celery app, and {app!r:.200} is none")
    if isinstance(app, LedgerApp):
        raise ConfigurationError(
            f"events.install() at {place}: that is the app of `celery -A events worker`, which has handlers already; "
            "install() is for an application's own Celery app"
        )
    if has_handlers(app):
        raise ConfigurationError(
            f"events.install() at {place}: app {app.main!r} has its handlers by {_installed[app]} already; remove one "
            "of the two calls"
        )
    add_handlers(app, place)
    stand_in("broker_url", lambda: broker_of(app))


def has_handlers(app: Celery) -> bool:
    """Whether workers of this app will run handlers beside its own tasks."""
    return app in _installed


def add_handlers(app: Celery, place: str) -> None:
    """Let workers of this app run handlers. `place`: who says so, for people."""
    _installed[app] = place
    signals.import_modules.connect(_modules_imported, sender=app, weak=False)


def _modules_imported(sender: Celery, **_: Any) -> None:
    from events.worker.joining import join  # here: it is heavy, and of no use to a process that only publishes

    if is_run_by_celery():
        or_exit(lambda: join(sender))
    else:
        join(sender)
