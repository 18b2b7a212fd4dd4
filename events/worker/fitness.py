"""Can handlers run in this worker of an application's own Celery app, and which queues of theirs does it read?"""

import logging
import os
from typing import Any

from celery import Celery
from celery.apps.worker import Worker
from kombu import Queue
from sqlalchemy.exc import DBAPIError

from events.errors import ConfigurationError, EventsError
from events.pipeline import Pipeline
from events.store import refusal
from events.text import redact
from events.worker.app_broker import broker_of, why_unusable
from events.worker.exits import or_exit
from events.worker.host import Host, pool_of
from events.worker.queues import handlers_queues

log = logging.getLogger("events.worker")

_POOLS = ("prefork", "thread", "solo")


def add_queues(app: Celery, pipeline: Pipeline) -> None:
    """Let `-Q` and `-X` name the queues of handlers. Raises ConfigurationError if a plain task has one of them."""
    for name in handlers_queues(pipeline):
        if name in app.amqp.queues:
            raise ConfigurationError(
                f"queue {name!r} is one of the Celery app's own queues, and of handlers as well: handlers need queues "
                "of their own; set EVENTS_QUEUE, or name another by @handles(..., queue=...)"
            )
    for name in handlers_queues(pipeline):
        app.amqp.queues.select_add(Queue(name))


def fit_in(worker: Any, host: Host) -> None:
    """Take the queues of handlers out of Celery's hands, and find out whether handlers can run in this worker.

    If not, `host.off` says why. The program `celery worker` ends with that line, unless its `-Q` is the reason.
    """
    queues, names = worker.app.amqp.queues, handlers_queues(host.pipeline)
    host.program = isinstance(worker, Worker)
    host.queues = [name for name in names if name not in queues or name in queues.consume_from]
    queues.deselect(names)
    for name in names:
        queues.pop(name, None)
    if names and not host.queues:
        reads = ", ".join(sorted(queues.consume_from))
        host.off = f"this worker reads {reads}, and no queue of handlers ({', '.join(names)}), so it runs none"
        log.info("%s", host.off)
        return

    def check() -> None:
        _check(worker, host)

    if host.program:
        or_exit(check)
        _tell_brokers(worker.app, host.pipeline)
        return
    try:
        check()
    except (EventsError, DBAPIError) as error:
        host.off = refusal(error) if isinstance(error, DBAPIError) else str(error)
        log.warning("no handler runs in this worker: %s", host.off)


def _tell_brokers(app: Celery, pipeline: Pipeline) -> None:
    """Log whose broker is which, if it isn't one for all."""
    ours, theirs = pipeline.settings.broker_url, app.conf.broker_url
    if "EVENTS_BROKER_URL" in os.environ:
        if ours and theirs and ours != broker_of(app):
            log.warning(
                "handlers use EVENTS_BROKER_URL, %s; the app's broker_url is %s", redact(ours), redact(str(theirs))
            )
    elif theirs and not ours and broker_of(app):
        log.info("handlers take their deliveries from the database, as EVENTS_BROKER_URL is not set")
    elif theirs and not ours:
        log.info(
            "handlers take their deliveries from the database, since they can't use the app's broker: %s; "
            "EVENTS_BROKER_URL can name another",
            why_unusable(app),
        )


def check_pool(worker: Any, otherwise: str = "") -> None:
    """Raises ConfigurationError if handlers can't run on this worker's pool. `otherwise`: what else would help."""
    if (pool := pool_of(worker.pool_cls)) not in _POOLS:
        start = ", ".join(filter(None, ("start this worker with -P prefork, threads or solo", otherwise)))
        raise ConfigurationError(f"pool {pool} can't run handlers: {start}")


def _check(worker: Any, host: Host) -> None:
    check_pool(worker, "or with -Q and the queues of plain tasks alone")
    if not worker.use_eventloop:
        scheme = str(worker.app.conf.broker_url).partition(":")[0]
        raise ConfigurationError(
            f"handlers need a broker with which Celery has an event loop, such as Redis or RabbitMQ, and {scheme} is "
            "none: set another broker_url, or start this worker with -Q and the queues of plain tasks alone"
        )
    host.pipeline.check()
    host.pipeline.check_listening()
    host.pipeline.check_async()
