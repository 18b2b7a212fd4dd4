"""A worker tells the ledger that it lives, which handlers it has for which form of which event, and what they want.

Other workers ask when they can't read an event: during a deployment, somebody else may. Operators see it by
`events status` and `events doctor`, and what each handler does a second.
"""

import logging
import os
import socket
import threading
import time
from dataclasses import replace
from typing import Any

from celery import bootsteps

from events.event import fingerprint
from events.handling import all_handlers
from events.ledger import ALIVE, WorkerInfo
from events.monitoring import Activity
from events.pipeline import Pipeline
from events.release import own_version
from events.throttle import Throttle
from events.worker.host import host_of

log = logging.getLogger("events.worker")

_EVERY = 10.0  # seconds; see events.ledger.ALIVE
_LOOK_EVERY = 1.0  # seconds, at most, between looks at whether anybody has what this worker lacks
_ANEW_EVERY = 30  # renewals, after which all is said again: the clock may have gone wrong


class PresenceStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the ledger was found to be in order."""

    name = "Presence"
    requires = ("events.worker.ledger_step:LedgerStep",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._host = host_of(worker.app)
        self._pipeline = self._host.pipeline
        self._stopping = threading.Event()
        self._lacked = self._host.lacked
        self._throttle = Throttle(log)
        self._activity = Activity(self._host.tally)
        self._info: WorkerInfo | None = None
        self._seen = time.monotonic()  # when the ledger last heard of this worker
        self._thread: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        self._info = WorkerInfo(
            name=self._host.worker_name(worker.hostname),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=own_version(),
            pool=type(worker.pool).__module__.rpartition(".")[2],
            concurrency=int(worker.concurrency or 1),
            pool_size=self._pipeline.settings.pool_size,
            queues=sorted(worker.app.amqp.queues.consume_from),
            handlers={
                handler.name: {event.event_name: fingerprint(event) for event in handler.events}
                for handler in all_handlers()
            },
            definitions=_definitions(self._pipeline),
        )
        self._announce()
        self._thread = threading.Thread(target=self._renew, name="events-presence", daemon=True)
        self._thread.start()

    def stop(self, _: Any) -> None:
        self._stopping.set()
        self._lacked.set()
        if self._info is not None:
            try:
                self._pipeline.ledger.workers.gone(self._info.name)
            except Exception as error:  # it is forgotten as soon as it isn't seen any more
                log.info("can't sign off: %s", error)

    terminate = stop

    def _renew(self) -> None:
        renewals, due = 0, time.monotonic() + _EVERY
        while not self._stopping.is_set():
            if self._lacked.wait(max(0.0, due - time.monotonic())):
                self._lacked.clear()
                self._keep_subscribed()
                self._stopping.wait(_LOOK_EVERY)
            if time.monotonic() >= due:
                due = time.monotonic() + _EVERY
                renewals += 1
                self._announce(anew=renewals % _ANEW_EVERY == 0)

    def _announce(self, *, anew: bool = True) -> None:
        assert self._info is not None
        activity = self._activity.of_late()
        try:
            workers = self._pipeline.ledger.workers
            anew = anew or time.monotonic() - self._seen > ALIVE.total_seconds()
            if (anew or not workers.renew(self._info.name, activity)) and not self._stopping.is_set():
                workers.announce(replace(self._info, activity=activity))
                # Whoever retires a handler looks first whether any worker lives that has it, and may not have seen us.
                self._pipeline.subscribe()
            self._seen = time.monotonic()
        except Exception as error:
            self._complain("can't tell the ledger that this worker lives", error)
        self._keep_subscribed()

    def _keep_subscribed(self) -> None:
        """What an operator retired while this worker seemed dead, for example; and what nobody has is noted."""
        try:
            if not self._stopping.is_set():
                self._pipeline.keep_subscribed()
        except Exception as error:
            self._complain("can't tell the ledger what this worker's handlers want", error)

    def _complain(self, what: str, error: Exception) -> None:
        self._throttle.warn(f"{what}: {self._pipeline.ledger.recovery.explained(error)}")


def _definitions(pipeline: Pipeline) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for one in pipeline.subscriptions():
        found.setdefault(one.handler, {})[one.event_type] = one.definition
    return found
