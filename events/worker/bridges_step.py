"""The bootstep that runs the inbound bridges of EVENTS_BRIDGES inside the worker, each in a thread."""

import logging
import threading
from typing import Any

from celery import bootsteps

from events import bridges
from events.bridges import Receiver
from events.text import redact
from events.worker.host import host_of

log = logging.getLogger("events.worker")

_STOP_WITHIN = 10.0  # seconds in which a bridge may write and acknowledge the batch that it has received


class BridgesStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the ledger's checks, and after the pool has forked its children."""

    name = "events.Bridges"
    requires = ("events.worker.ledger_step:LedgerStep",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._host = host_of(worker.app)
        self._pipeline = self._host.pipeline
        self._running: list[tuple[Receiver, threading.Thread]] = []

    def include_if(self, _: Any) -> bool:
        return bool(self._pipeline.settings.bridges) and not self._host.off

    def start(self, worker: Any) -> None:
        for address, bridge in bridges.opened(self._pipeline.settings):
            if address.inbound:
                receiver = self._pipeline.receiver(address, bridge, self._host.worker_name(worker.hostname))
                thread = threading.Thread(target=receiver.run, name=f"events-bridge-{address.name}", daemon=True)
                self._running.append((receiver, thread))
                thread.start()
                log.info("bridge %s: receiving from %s", address.name, redact(address.url))

    def stop(self, _: Any) -> None:
        for receiver, _thread in self._running:
            receiver.stop()
        for _receiver, thread in self._running:
            thread.join(_STOP_WITHIN)

    terminate = stop
