"""The bootstep that ties a worker to its ledger: checks the schema, subscribes the handlers, runs the relay.

The step requires the pool, since children must be forked before there are connections. It can't require the consumer,
whose start blocks.
"""

import gc
import logging
import threading
from typing import Any

from celery import bootsteps

from events.handling import all_handled, without_handlers
from events.relay import Relay
from events.transport import MemoryTransport
from events.watchdog import Watchdog
from events.worker.children import end_children
from events.worker.draining import Drain
from events.worker.exits import or_exit
from events.worker.fitness import check_pool, fit_in
from events.worker.holding import Holding
from events.worker.host import new_host, pool_of, queues_of
from events.worker.idleness import Idleness
from events.worker.shared_drain import SharedDrain, running
from events.worker.signals import SignalListener

log = logging.getLogger("events.worker")

_TICK = 0.5  # seconds between beats of the event loop
_HANGS = 1.0  # seconds without a beat, after which the event loop is the culprit
_STOP_WITHIN = 10.0  # seconds that the relay may take to finish its batch
_DONE_WITHIN = 10.0  # seconds; after that an application's worker ends in Celery's way
_ENDED_WITHIN = 60.0  # seconds; after that Celery ends the worker in its own way
_PER_SLOT = 4  # without a broker: messages that a worker takes for each handler it can run at a time


class LedgerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts after the pool, stops before it."""

    name = "events.Ledger"  # an application may have steps of its own
    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._host = or_exit(lambda: new_host(worker.app))
        self._pipeline = self._host.pipeline
        self._thread: threading.Thread | None = None
        self._watchdog: Watchdog | None = None
        self._tick: Any = None
        self._pool: Any = None
        self._stopping = threading.Event()
        name = self._host.worker_name(worker.hostname)
        if not self._host.alone:
            fit_in(worker, self._host)
        self._host.drain = self._drain = self._new_drain(worker, name)
        soft_shutdown = float(worker.app.conf.worker_soft_shutdown_timeout or 0)
        self._signals = SignalListener(self._drain, soft_shutdown, self._host.alone)
        self._holding = Holding(self._pipeline, name)
        if self._host.off:
            return
        if self._host.alone:
            or_exit(lambda: check_pool(worker))
            or_exit(self._pipeline.check)
            or_exit(self._pipeline.check_listening)
            or_exit(self._pipeline.check_async)
        # This closes open connections, too, or the children would inherit them.
        self._pipeline.ledger.make_room(
            pool_of(worker.pool_cls),
            int(worker.concurrency or 1),
            self._pipeline.settings.pool_size,
        )
        gc.collect()
        gc.freeze()  # loaded modules stay: searching them for garbage costs 50 ms each time, and memory in the children

    def include_if(self, _: Any) -> bool:
        return not self._host.off

    def _new_drain(self, worker: Any, name: str) -> Drain:
        arguments = (self._pipeline, self._host.draining, name, self._stop_relay)
        if self._host.alone:
            return Drain(*arguments, end_children=lambda: end_children(worker))

        def end_handlers() -> bool:
            return end_children(worker, {request.worker_pid for request in running(handlers=True)})

        return SharedDrain(*arguments, end_children=end_handlers, ends_process=self._host.program)

    def start(self, worker: Any) -> None:
        self._pool = worker.pool
        if missing := without_handlers(self._pipeline.settings.handlers):
            log.warning("%s", missing)
        self._signals.start()
        or_exit(self._pipeline.subscribe)
        self._start_relay(worker)
        if self._host.alone:
            self._start_watchdog(worker)
        elif self._host.relay is not None:
            self._host.signs = {"the relay": self._host.relay.silence}
        if self._pipeline.settings.broker_url:  # without a broker, the relay itself holds wake-ups
            self._holding.start()

    def register_with_event_loop(self, _: Any, loop: Any) -> None:
        """Celery calls this whenever it has connected."""
        if self._tick is not None:
            self._tick.cancel()
        self._tick = loop.call_repeatedly(_TICK, self._beat)

    def _beat(self) -> None:
        self._host.pulse.beat()
        # If two children die at once, Celery may overlook one, and looks again only after five seconds.
        getattr(self._pool, "maintain_pool", lambda: None)()

    def stop(self, _: Any) -> None:
        self._drain.begin()  # remote control stops a worker without a signal
        self._stop_relay()
        self._drain.hand_back_unstarted()

    def terminate(self, _: Any) -> None:
        """A cold shutdown: running handlers are ended, through no fault of theirs."""
        self._drain.cut()
        if isinstance(self._drain, SharedDrain):
            self._drain.is_done.wait(_DONE_WITHIN)
        else:
            threading.Event().wait(_ENDED_WITHIN)  # the drain ends the process

    def _start_relay(self, worker: Any) -> None:
        settings = self._pipeline.settings
        local = not settings.broker_url
        if not local and settings.relay == "off":
            return
        slots = int(worker.concurrency or 1)
        relay = self._host.relay = self._pipeline.relay(
            handlers=all_handled() if local else None,
            queues=queues_of(worker.app) if local else None,
            max_messages=slots * _PER_SLOT if local else None,
        )
        if isinstance(self._pipeline.transport, MemoryTransport):
            self._pipeline.transport.on_room(relay.has_room)
        self._thread = threading.Thread(target=self._keep_relaying, args=(relay,), name="events-relay", daemon=True)
        self._thread.start()

    def _stop_relay(self) -> None:
        self._stopping.set()
        self._holding.stop()
        if self._watchdog is not None:
            self._watchdog.stop()  # Celery's event loop stands still while handlers finish
        if self._host.intake is not None:
            self._host.intake.close()
        if self._host.relay is not None and self._thread is not None:
            self._host.relay.stop()
            self._thread.join(_STOP_WITHIN)

    def _keep_relaying(self, relay: Relay) -> None:
        """Run the relay; start it again after an unexpected error. A database or broker that is away doesn't end it."""
        while not self._stopping.is_set():
            try:
                relay.run()
            except Exception:
                log.exception("the relay ended unexpectedly; starting it again")
                self._stopping.wait(1)

    def _start_watchdog(self, worker: Any) -> None:
        self._host.pulse.beat()
        app = worker.app
        idleness = Idleness(self._pipeline.settings, lambda: queues_of(app), lambda: self._host.put_aside)
        signs = {"Celery's event loop": lambda: 0.0 if idleness.blocked_by_task(worker) else self._host.pulse.silence()}
        if self._host.relay is not None:
            signs["the relay"] = self._host.relay.silence
        if self._pipeline.settings.broker_url:
            signs["consuming (messages wait, and none comes)"] = idleness.silence
            signs["asking Redis for work, of which it could do some,"] = lambda: (
                0.0
                if self._host.pulse.silence() > _HANGS
                else idleness.reticence()  # the event loop hangs, so it can't ask
            )
        self._host.signs = signs
        self._watchdog = Watchdog(
            self._pipeline.settings.watchdog,
            signs,
            (lambda: idleness.look(worker.consumer)) if self._pipeline.settings.broker_url else None,
        )
        self._watchdog.start()
