"""Wake-ups that come to Celery's consumer by the memory of this process: a second connection, on the same event loop.

A worker takes wake-ups that other workers passed on, and that it can run, from the ledger itself: by the broker they
would come to any worker again, often to one that can't run them. On an application's own Celery app all wake-ups come
in this way, so that Celery's connection to the broker is the application's alone.
"""

import logging
import math
import threading
import time
from datetime import timedelta
from typing import Any

from celery import Celery, bootsteps
from kombu import Connection, Consumer, Queue

from events.handling import all_forms, all_handled
from events.throttle import Throttle
from events.transport import MemoryTransport
from events.worker.host import host_of, queues_of
from events.worker.intake import Intake
from events.worker.queues import handlers_queues

log = logging.getLogger("events.worker")

_SELDOM = 10.0  # seconds between looks while no worker passes wake-ups on; a look costs next to nothing ...
_OFTEN, _AS_LONG = 0.5, 60.0  # ... and for a minute after a find: where versions are mixed, more will come
_ENDS_WITHIN = 1.0  # seconds; the thread may be waiting for a database that is away
_PER_SLOT = 2  # messages that a worker takes for each handler that can run at a time


class InletStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """A step of Celery's consumer: it starts and stops with each connection to the broker."""

    name = "events.Inlet"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._host = host = host_of(consumer.app)
        self._pipeline, self._draining = host.pipeline, host.draining
        self._transport = MemoryTransport()
        self._throttle = Throttle(log)
        self._connection: Connection | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def include_if(self, _: Any) -> bool:
        return not self._host.off and (bool(self._pipeline.settings.broker_url) or not self._host.alone)

    def start(self, consumer: Any) -> None:
        most, _ = consumer.controller.autoscale or (int(consumer.controller.concurrency or 1), 0)
        slots = _PER_SLOT * most
        queues = queues_of(consumer.app)
        mine = queues if self._host.alone else handlers_queues(self._pipeline)  # what comes is what was taken for us
        self._connection = connection = Connection(MemoryTransport.URL)
        channel = connection.channel()
        taken = Consumer(
            channel,
            [Queue(name, exchange="", channel=channel) for name in mine],
            on_message=consumer.create_task_handler(),
            accept=["json"],
            auto_declare=False,
        )
        if self._host.alone:
            taken.qos(prefetch_count=slots)
        taken.consume()
        if not self._pipeline.settings.broker_url:  # the relay itself puts wake-ups into the memory
            return
        if not self._host.alone:
            worker = self._host.worker_name(consumer.hostname)
            self._host.intake = Intake(self._pipeline, queues, most, worker, self._host.lacked.set)
            self._host.intake.start()
        self._stopping = threading.Event()
        arguments = (consumer.app, queues, slots, self._stopping)
        self._thread = threading.Thread(target=self._take, args=arguments, name="events-inlet", daemon=True)
        self._thread.start()

    def register_with_event_loop(self, _: Any, loop: Any) -> None:
        """Celery calls this when it has connected."""
        if self._connection is not None:
            self._connection.transport.register_with_event_loop(self._connection.connection, loop)

    def stop(self, _: Any) -> None:
        """Hand back what Celery hasn't begun: it forgets these messages when it connects anew."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_ENDS_WITHIN)
        if self._draining.begun and self._host.program and not self._host.alone:
            return  # for handlers that still run, and are acknowledged when they end
        if self._host.intake is not None:
            self._host.intake.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()
        unstarted = [wakeup for group in self._transport.forget() for wakeup in group]
        try:
            if unstarted:
                self._pipeline.ledger.outbox.hand_back(unstarted, timedelta(0))
        except Exception as error:  # the relay finds the wake-ups by their age instead
            log.warning("can't hand back the deliveries that other workers passed on: %s", error)

    shutdown = stop

    def _take(self, app: Celery, begun_with: list[str], slots: int, stopping: threading.Event) -> None:
        stale_after, ours = self._pipeline.settings.stale_after, (all_handled(), all_forms())
        found_at = -math.inf
        while not self._draining.begun:
            if stopping.wait(_OFTEN if time.monotonic() - found_at < _AS_LONG else _SELDOM):
                return
            try:
                room = slots - len(self._transport.held())
                now = queues_of(app)  # without what `cancel_consumer` took away
                queues = [name for name in begun_with if name in now] if self._host.alone else list(now)
                if room <= 0 or not queues:
                    continue
                if taken := self._pipeline.ledger.outbox.take_passed(queues, room, stale_after, *ours):
                    found_at = time.monotonic()
                    self._transport.send(taken)
            except Exception as error:
                self._throttle.warn(f"can't look for deliveries that other workers passed on: {error}")
