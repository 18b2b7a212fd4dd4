"""The bootstep that ties a worker to its ledger: checks the schema, subscribes the handlers, runs the relay.

It needs the pool, since children must be forked before there are connections; never the consumer, whose start blocks.
"""

import logging
import sys
import threading
from datetime import timedelta
from typing import Any

from celery import bootsteps

from events.errors import EventsError
from events.pipeline import Pipeline
from events.registry import all_handlers
from events.relay import Relay
from events.settings import redact
from events.transport.memory import MemoryTransport

log = logging.getLogger("events.worker")

_STOP_WITHIN = 10.0  # seconds that the relay has to finish its batch
_PER_SLOT = 4  # without a broker: wake-ups that a worker takes for each handler it can run at a time


class LedgerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool, stops before it."""

    name = "Ledger"
    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._pipeline: Pipeline = worker.app.pipeline
        self._relay: Relay | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        _or_exit(self._pipeline.check)
        self._pipeline.ledger.engine.dispose()  # or the children would inherit this connection

    def start(self, worker: Any) -> None:
        _or_exit(self._pipeline.subscribe)
        settings = self._pipeline.settings
        local = not settings.broker_url
        if not local and settings.relay == "off":
            return
        slots = int(worker.concurrency or 1)
        self._relay = self._pipeline.relay(
            handlers={handler.name for handler in all_handlers()} if local else None,
            queues=sorted(worker.app.amqp.queues.consume_from) if local else None,
            max_in_flight=slots * _PER_SLOT if local else None,
        )
        if isinstance(self._pipeline.transport, MemoryTransport):
            self._pipeline.transport.on_room(self._relay.wake)
        self._thread = threading.Thread(target=self._keep_relaying, name="events-relay", daemon=True)
        self._thread.start()

    def stop(self, _: Any) -> None:
        self._stopping.set()
        if self._relay is None or self._thread is None:
            return
        self._relay.stop()
        self._thread.join(_STOP_WITHIN)
        self._hand_back_unstarted()

    terminate = stop

    def _keep_relaying(self) -> None:
        """The relay outlives databases and brokers that are away; this is for what nobody thought of."""
        assert self._relay is not None
        while not self._stopping.is_set():
            try:
                self._relay.run()
            except Exception:
                log.exception("the relay ended unexpectedly; starting it again")
                self._stopping.wait(1)

    def _hand_back_unstarted(self) -> None:
        """What stands in this process's memory goes back at once, for a worker that lives on."""
        try:
            if held := self._pipeline.transport.held():
                self._pipeline.ledger.outbox.hand_back(held, timedelta(0))
        except Exception as error:  # found by its age instead
            log.warning("can't hand back what was not started: %s", error)


def _or_exit(action: Any) -> None:
    """An error of ours ends the worker with one line; Celery would print a traceback and go on."""
    try:
        action()
    except EventsError as error:
        print(f"events: {redact(str(error))}", file=sys.stderr)
        raise SystemExit(1) from None
