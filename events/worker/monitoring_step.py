"""The bootstep that serves metrics and health from a worker's main process, if EVENTS_HTTP_PORT says so."""

from typing import Any

from celery import bootsteps, signals

from events.worker.exits import or_exit
from events.worker.host import host_of


class MonitoringStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool has forked. Goes on to the end of the process: while handlers finish, somebody may ask."""

    name = "Monitoring"
    requires = ("events.worker.ledger_step:LedgerStep",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._host = host_of(worker.app)
        self._pipeline = self._host.pipeline

    def include_if(self, worker: Any) -> bool:
        return bool(host_of(worker.app).pipeline.settings.http_port)

    def start(self, worker: Any) -> None:
        or_exit(lambda: self._serve(worker))

    def _serve(self, worker: Any) -> None:
        # Here, since who serves nothing need not load what it takes.
        from events.monitoring import Condition, EventsCollector, Health, Kept, database_probe, make_server

        settings, host, relay = self._pipeline.settings, self._host, self._host.relay
        conditions: dict[str, Condition] = {
            "consuming": lambda: _not_consuming(worker),
            "database": database_probe(self._pipeline),
            # On threads and solo, where handlers run in this process and nothing ends them.
            "handlers": lambda: "; ".join(
                told for deliverer in list(self._pipeline.deliverers.values()) for told in deliverer.overdue()
            ),
        }
        if relay is not None:
            conditions["relay"] = lambda: "" if relay.relays else "it doesn't run"
        health = Health(host.signs, settings.watchdog, conditions, lambda: host.draining.begun)
        # Who relays tells of the ledger, too; otherwise `events relay` does.
        ledger = None if relay is None else Kept(self._pipeline.ledger.overviews.unfinished)
        server = make_server(settings.http_port, EventsCollector(host.tally, host.moved, ledger), health)
        signals.worker_process_init.connect(lambda **_: server.leave_to_parent(), weak=False)
        server.start()


def _not_consuming(worker: Any) -> str:
    consumer: Any = getattr(worker, "consumer", None)
    connection = getattr(consumer, "connection", None)
    if connection is None or not connection.connected:
        return "not connected to the broker"
    return "" if consumer.task_consumer is not None else "it has not begun"
