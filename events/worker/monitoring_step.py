"""The bootstep that serves metrics and health from a worker's main process, if EVENTS_HTTP_PORT says so."""

from typing import Any

from celery import bootsteps, signals

from events.pipeline import Pipeline
from events.worker.exits import or_exit


class MonitoringStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool has forked. Goes on to the end of the process: while handlers finish, somebody may ask."""

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
        # Here, since who serves nothing need not load what it takes.
        from events.monitoring import Condition, server_of

        app = worker.app
        conditions: dict[str, Condition] = {
            "consuming": lambda: _not_consuming(worker),
            # On threads and solo, where handlers run in this process and nothing ends them.
            "handlers": lambda: "; ".join(
                told for deliverer in list(self._pipeline.deliverers.values()) for told in deliverer.overdue()
            ),
        }
        server = server_of(
            self._pipeline,
            worker.signs,
            conditions,
            lambda: bool(app.draining.begun),
            relay=worker.relay,
            moved=app.moved,
            tally=app.tally,
        )
        signals.worker_process_init.connect(lambda **_: server.leave_to_parent(), weak=False)
        server.start()


def _not_consuming(worker: Any) -> str:
    consumer: Any = getattr(worker, "consumer", None)
    connection = getattr(consumer, "connection", None)
    if connection is None or not connection.connected:
        return "not connected to the broker"
    return "" if consumer.task_consumer is not None else "it has not begun"
