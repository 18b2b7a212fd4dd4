"""The bootstep that serves metrics and health from a worker's main process, if EVENTS_HTTP_PORT is set."""

from typing import Any

from celery import bootsteps, signals

from events.worker.exits import or_exit
from events.worker.host import host_of


class MonitoringStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool has forked, and serves to the end of the process, while handlers finish, too."""

    name = "events.Monitoring"
    requires = ("events.worker.ledger_step:LedgerStep",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._host = host_of(worker.app)
        self._pipeline = self._host.pipeline

    def include_if(self, _: Any) -> bool:
        return bool(self._pipeline.settings.http_port) and not self._host.off

    def start(self, worker: Any) -> None:
        or_exit(lambda: self._serve(worker))

    def _serve(self, worker: Any) -> None:
        # Imported here: a worker that serves nothing need not load these modules.
        from events.monitoring import Condition, server_of

        host = self._host
        conditions: dict[str, Condition] = {
            "consuming": lambda: _not_consuming(worker),
            # For the pools threads and solo, which can't end a handler.
            "handlers": lambda: "; ".join(
                overdue for deliverer in list(self._pipeline.deliverers.values()) for overdue in deliverer.overdue()
            ),
        }
        server = server_of(
            self._pipeline,
            host.signs,
            conditions,
            lambda: host.draining.begun,
            relay=host.relay,
            relay_counts=host.relay_counts,
            worker_counts=host.worker_counts,
        )
        signals.worker_process_init.connect(lambda **_: server.leave_to_parent(), weak=False)
        server.start()


def _not_consuming(worker: Any) -> str:
    consumer: Any = getattr(worker, "consumer", None)
    connection = getattr(consumer, "connection", None)
    if connection is None or not connection.connected:
        return "the worker is not connected to the broker"
    return "" if consumer.task_consumer is not None else "the worker has not begun to consume"
