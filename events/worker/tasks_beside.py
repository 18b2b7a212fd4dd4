"""`celery -A events` where plain tasks of Celery stand beside handlers: its workers run both.

If the handlers' modules have a Celery app of the application's own, `celery -A events` is that app, with handlers. If
they have `@shared_task`s and no app, these get an app of ours, with an outbox: it sends them to a queue of their own on
the broker of handlers; without a broker each is a delivery. What can't be run here is said when a worker starts, and
refused when it is sent: nothing waits in silence.
"""

import importlib
from typing import Any

from celery import Celery, signals
from kombu import Connection

from events.errors import ConfigurationError
from events.pipeline import Pipeline
from events.settings import Settings
from events.text import redact
from events.transport import is_rabbitmq
from events.worker.celery_app import PlainApp, own_app
from events.worker.config import CONFIG_MODULE, application_settings
from events.worker.installing import add_handlers, has_handlers
from events.worker.logs import log_in_json
from events.worker.plain_tasks.outbox import WITHOUT_BROKER, all_outboxes, outbox


def app_of_plain_tasks(pipeline: Pipeline) -> Celery | None:
    """The app whose workers run the plain tasks of the application, and handlers; None if ours runs handlers alone.

    Handlers must be loaded.

    Raises:
        ConfigurationError: the application's celeryconfig.py breaks the promise, or names a module that can't be
            imported.
    """
    app = own_app()
    if app is not None:
        if not _runs_here(app):
            return None
        if not has_handlers(app):
            _add_handlers(app, pipeline)
        return app
    if all_outboxes():
        return None  # of an app that is not the current one: its tasks are known to all apps, and are its own
    own = _new_app(pipeline.settings)
    if not own.known:
        return None
    own.set_current()
    own.set_default()  # in the other threads
    outbox(own)  # in both cases: who gets a broker later has rows that wait
    if not pipeline.settings.broker_url:
        return None
    _add_handlers(own, pipeline)
    return own


def _runs_here(app: Celery) -> bool:
    if has_handlers(app):  # what else its workers need is said by the checks of install()
        return bool(_broker_of(app))  # without one, its outbox brings its tasks to handlers' workers
    return bool(plain_tasks_of(app)) and not why_not(app)


def plain_tasks_of(app: Celery) -> list[str]:
    """The names of the application's tasks, without Celery's own."""
    app.finalize()
    return sorted(name for name, task in app.tasks.items() if not type(task).__module__.startswith("celery."))


def why_not(app: Celery) -> str:
    """Why `celery -A events` can't run the tasks of this app; "" if it can."""
    url = _broker_of(app)
    if not url:
        return "it has no broker_url"
    try:
        transport = Connection(url).get_transport_cls()
    except Exception as error:  # a module is missing, for example
        return f"its broker {redact(url)} can't be used here: {redact(str(error))}"
    if not transport.implements.asynchronous:
        return f"Celery has no event loop with its broker {redact(url)}, and handlers need one"
    return ""


def _broker_of(app: Celery) -> str:
    url = app.conf.broker_read_url or app.conf.broker_url or ""
    return url if isinstance(url, str) else ";".join(url)


def untold_tasks() -> str:
    """What to say of the application's plain tasks at the start of a worker that runs handlers alone; "" if nothing."""
    app = own_app()
    if app is None or has_handlers(app) or not (names := plain_tasks_of(app)):
        return ""
    return (
        f"plain tasks of the Celery app {app.main!r} don't run in this worker, since {why_not(app)}: "
        f"{', '.join(names)}; a worker of that app can run them"
    )


def _add_handlers(app: Celery, pipeline: Pipeline) -> None:
    add_handlers(app, "`celery -A events`")
    if pipeline.settings.log_format == "json":
        log_in_json(pipeline.hooks)
        signals.celeryd_after_setup.connect(_no_banner, weak=False)


def _no_banner(instance: Any = None, **_: Any) -> None:
    instance.quiet = True  # it is no JSON


def _new_app(settings: Settings) -> PlainApp:
    app = PlainApp(settings.queue)  # by which the ledger tells its tasks from those of other services
    app.conf.update(
        broker_url=settings.broker_url or WITHOUT_BROKER,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"confirm_publish": True} if is_rabbitmq(settings) else {},
        control_queue_exclusive=False,  # host names are reused
        task_default_queue=f"{settings.queue}.tasks",
        worker_send_task_events=True,  # for Flower
    )
    app.conf.update(application_settings())
    for name in (*app.conf.include, *app.conf.imports):
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ConfigurationError(
                f"{CONFIG_MODULE}.py: {name!r} of imports or include can't be imported: {type(error).__name__}: {error}"
            ) from error
    app.known = frozenset(plain_tasks_of(app))
    return app
