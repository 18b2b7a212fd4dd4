"""The first lines of a worker: its database, broker, queues and handlers, then that it is ready. They replace Celery's
banner, which shows a transport of ours that users don't know."""

import logging
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from celery import signals
from sqlalchemy import make_url

from events.handling import all_handlers
from events.pipeline import Pipeline
from events.release import own_version
from events.settings import Settings
from events.text import redact
from events.worker.exits import or_exit
from events.worker.host import pool_of
from events.worker.queues import check_queues, idle_queues
from events.worker.tasks_beside import untold_tasks

log = logging.getLogger("events.worker")

_WORKER_PROGRAM = "celery.apps.worker"  # this logger says that a worker is ready, if its level is INFO


class FirstLines:
    """Prints the lines of the worker that this process becomes."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._settings = pipeline.settings
        self._prints = self._settings.log_format == "text"

    def listen(self) -> None:
        """Listen to Celery's signals. Call this before the worker starts."""
        signals.celeryd_init.connect(self._begin, weak=False)
        signals.celeryd_after_setup.connect(self._tell, weak=False)
        signals.worker_ready.connect(self._ready, weak=False)

    def _begin(self, instance: Any = None, options: Any = None, **_: Any) -> None:
        or_exit(lambda: check_queues(instance.app, options or {}))

    def _tell(self, instance: Any = None, **_: Any) -> None:
        self._prints = self._prints and not instance.quiet
        instance.quiet = True  # no banner of Celery's
        names = {handler.name: ", ".join(sorted(handler.event_types)) for handler in all_handlers()}
        facts = self._facts(instance)
        if self._prints:
            _print(f"events {own_version()}, Celery {version('celery')}, worker {instance.hostname}")
            handlers = [f"{name} <- {events}" for name, events in sorted(names.items())] or ["none"]
            for name, value in [*facts.items(), ("handlers", handlers[0]), *(("", line) for line in handlers[1:])]:
                _print(f"  {name:<9} {value}")
        elif self._settings.log_format == "json":
            log.info("worker %s starts", instance.hostname, extra=facts | {"handlers": sorted(names)})
        if "database_url" not in self._settings.model_fields_set:
            log.warning(
                "EVENTS_DATABASE_URL is not set, so the ledger is %s, in the folder in which this worker was started: "
                "a publisher that starts in another folder has another ledger; set EVENTS_DATABASE_URL for both",
                facts["database"],
            )
        for warning in filter(None, (idle_queues(instance.app), untold_tasks())):
            log.warning("%s", warning)

    def _facts(self, worker: Any) -> dict[str, str]:
        pool = pool_of(worker.pool_cls)
        concurrency = 1 if pool == "solo" else worker.concurrency
        most, least = worker.autoscale or (concurrency, concurrency)
        return {
            "database": database_shown(self._settings),
            "broker": redact(self._settings.broker_url) or "none: this worker takes its deliveries from the database",
            "queues": ", ".join(sorted(worker.app.amqp.queues.consume_from)),
            "pool": f"{pool}, {most if most == least else f'{least} to {most}'} at a time",
        }

    def _ready(self, sender: Any = None, **_: Any) -> None:
        if self._prints and not logging.getLogger(_WORKER_PROGRAM).isEnabledFor(logging.INFO):
            _print(f"{sender.hostname} ready.")


def database_shown(settings: Settings) -> str:
    """The kind and the place of the database, without a password."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        return f"SQLite {Path(url.database or '').resolve()}"
    named = url.query.get("host") or url.host or "this machine"
    hosts = named if isinstance(named, str) else ", ".join(named)
    port = f":{url.port}" if url.port else ""
    schema = f", schema {settings.ledger_schema}" if settings.ledger_schema else ""
    return f"PostgreSQL {url.database or url.username or ''} on {hosts}{port}{schema}"


def _print(line: str) -> None:
    """Print a line at any log level; into sys.__stdout__, since Celery replaces sys.stdout by a logger."""
    print(line, file=sys.__stdout__, flush=True)
