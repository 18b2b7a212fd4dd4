"""The bootstep that serves metrics and health from a worker's main process, if EVENTS_HTTP_PORT is set."""

from typing import Any

from celery import bootsteps, signals

from events.pipeline import Pipeline
from events.worker.exits import or_exit


class MonitoringStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool has forked, and serves to the end of the process, while handlers finish, too."""

    name = "Monitoring"
    requires = ("events.worker.ledger_step:LedgerStep",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._pipeline: Pipeline = worker.app.pipeline

    def include_if(self, worker: Any) -> bool:
        return bool(worker.app.pipeline.settings.http_port)

    def start(self, worker: Any) -> None:
        or_exit(lambda: self._serve(worker))

    def _serve(self, worker: Any) -> None:
        # Imported here: a worker that serves nothing need not load these modules.
        from events.monitoring import Cached, Condition, EventsCollector, Health, database_probe, make_server

        settings, app, relay = self._pipeline.settings, worker.app, worker.relay
        conditions: dict[str, Condition] = {
            "consuming": lambda: _not_consuming(worker),
            "database": database_probe(self._pipeline),
            # For the pools threads and solo, which can't end a handler.
            "handlers": lambda: "; ".join(
                overdue for deliverer in list(self._pipeline.deliverers.values()) for overdue in deliverer.overdue()
            ),
        }
        if relay is not None:
            conditions["relay"] = lambda: "" if relay.relays else "the relay doesn't run"
        health = Health(worker.signs, settings.watchdog, conditions, lambda: bool(app.draining.begun))
        # A process that relays reports the numbers of the ledger, too; otherwise `events relay` reports them.
        ledger = None if relay is None else Cached(self._pipeline.ledger.overviews.unfinished)
        server = make_server(settings.http_port, EventsCollector(app.tally, app.moved, ledger), health)
        signals.worker_process_init.connect(lambda **_: server.leave_to_parent(), weak=False)
        server.start()


def _not_consuming(worker: Any) -> str:
    consumer: Any = getattr(worker, "consumer", None)
    connection = getattr(consumer, "connection", None)
    if connection is None or not connection.connected:
        return "the worker is not connected to the broker"
    return "" if consumer.task_consumer is not None else "the worker has not begun to consume"
