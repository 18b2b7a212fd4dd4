"""A worker tells the ledger that it is alive, which handlers it has, and for which form of which event.

A worker that can't read an event asks the ledger: during a deployment, another worker may have code that can. `events
status` and `events doctor` show the workers to operators, and the attempts per second of each handler.
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
from events.worker.host import host_of, pool_of, queues_of

log = logging.getLogger("events.worker")

_EVERY = 10.0  # seconds; see events.ledger.ALIVE
_LOOK_EVERY = 1.0  # seconds, at most, between looks at whether another worker has a handler that this worker lacks
_ANEW_EVERY = 30  # renewals, after which the worker announces itself anew: its clock may have gone wrong


class PresenceStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the ledger's checks."""

    name = "events.Presence"
    requires = ("events.worker.ledger_step:LedgerStep",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._app = worker.app
        self._host = host_of(worker.app)
        self._pipeline = self._host.pipeline
        self._stopping = threading.Event()
        self._lacked = self._host.lacked
        self._throttle = Throttle(log)
        self._activity = Activity(self._host.worker_counts)
        self._info: WorkerInfo | None = None
        self._seen = time.monotonic()  # when the ledger last heard of this worker
        self._thread: threading.Thread | None = None

    def include_if(self, _: Any) -> bool:
        return not self._host.off

    def start(self, worker: Any) -> None:
        self._info = WorkerInfo(
            name=self._host.worker_name(worker.hostname),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=own_version(),
            pool=pool_of(worker.pool),
            concurrency=int(worker.concurrency or 1),
            pool_size=self._pipeline.settings.pool_size,
            queues=list(queues_of(worker.app)),
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
            except Exception as error:  # the ledger forgets a worker that it doesn't hear of any more
                log.info("can't tell the ledger that this worker ends: %s", error)

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
            queues = list(queues_of(self._app))
            anew = anew or time.monotonic() - self._seen > ALIVE.total_seconds() or queues != self._info.queues
            self._info = replace(self._info, queues=queues)
            if (anew or not workers.renew(self._info.name, activity)) and not self._stopping.is_set():
                workers.announce(replace(self._info, activity=activity))
                # `events handlers retire` looks whether a living worker has the handler, and may have missed this one.
                self._pipeline.subscribe()
            self._seen = time.monotonic()
        except Exception as error:
            self._complain("can't tell the ledger that this worker lives", error)
        self._keep_subscribed()

    def _keep_subscribed(self) -> None:
        """Subscribe again what an operator retired while this worker seemed dead; note handlers that no worker has."""
        try:
            if not self._stopping.is_set():
                self._pipeline.keep_subscribed()
        except Exception as error:
            self._complain("can't tell the ledger what this worker's handlers want", error)

    def _complain(self, complaint: str, error: Exception) -> None:
        self._throttle.warn(f"{complaint}: {self._pipeline.ledger.recovery.explained(error)}")


def _definitions(pipeline: Pipeline) -> dict[str, dict[str, str]]:
    definitions: dict[str, dict[str, str]] = {}
    for subscription in pipeline.subscriptions():
        definitions.setdefault(subscription.handler, {})[subscription.event_type] = subscription.definition
    return definitions
