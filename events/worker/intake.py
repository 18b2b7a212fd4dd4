"""Takes wake-ups from the broker for a worker that runs on an application's own Celery app.

It has a connection and a thread of its own: what the application's Celery has set for its broker (prefetch, time
limits, transport options) and what becomes of that connection is one thing, our messages are another. A wake-up goes
on to Celery by the memory of this process, and its message is acknowledged when Celery is done with it.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from kombu import Connection, Consumer
from kombu.asynchronous import Hub

from events.handling import all_handlers
from events.ledger import Group
from events.pipeline import Pipeline
from events.text import brief, redact
from events.throttle import Backoff, Throttle
from events.transport import MemoryTransport, dead_letter_queue, is_rabbitmq, told, work_queue
from events.watchdog import Pulse
from events.worker.config import longest_limit, transport_options
from events.worker.putting_aside import park, pass_on
from events.worker.validation import Problem, problem_of

log = logging.getLogger("events.worker")

_CAREFUL_REDIS = "events.transport.redis:Transport"
_HEARTBEAT = 10.0  # seconds, of RabbitMQ
_RATE = 2  # heartbeats are looked at so many times in this time
_RESTS = Backoff(first=0.4, longest=5.0)  # seconds before the next attempt to connect
_LEDGER_AWAY = 1.0  # seconds between attempts to write to a ledger that is away
_STOPS_WITHIN = 5.0  # seconds
_TICK = 0.5  # seconds between beats of the pulse


class Intake:
    """One connection to the broker, made again whenever it is lost.

    Args:
        queues: the names of the queues to read.
        most: messages that the worker may hold.
        worker: what parked messages say of who parked them.
        lacked: called if a message's handler is none of this worker's.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        queues: list[str],
        most: int,
        worker: str,
        lacked: Callable[[], None],
    ) -> None:
        self._pipeline = pipeline
        self._queues = list(queues)
        self._most = most
        self._worker = worker
        self._lacked = lacked
        self._handlers = {handler.name for handler in all_handlers()}
        self._memory = MemoryTransport()
        self._open: dict[Group, Any] = {}  # the messages of groups that Celery has; of this thread alone
        self._hub: Hub | None = None
        self._consumer: Consumer | None = None
        self._throttle = Throttle(log)
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events-intake", daemon=True)
        self.pulse = Pulse()

    def start(self) -> None:
        self._memory.on_done(self._done)
        self._thread.start()

    def read(self, queue: str) -> None:
        """Read this queue, too. May be called from any thread."""
        self._queues.append(queue)
        self._soon(self._add, queue)

    def leave(self, queue: str) -> None:
        """Read this queue no more. May be called from any thread."""
        self._queues.remove(queue)
        self._soon(self._drop, queue)

    def close(self) -> None:
        """Take no more messages; acknowledge those that Celery has, as it ends them. May be called from any thread."""
        self._closed.set()
        self._soon(self._cancel)

    def stop(self) -> None:
        """End the connection. What was not acknowledged, the broker gives to another worker."""
        self._stopping.set()
        self._soon(lambda: None)
        self._thread.join(_STOPS_WITHIN)

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        if (hub := self._hub) is not None:
            hub.call_soon(call, *arguments)

    def _done(self, group: Group) -> None:
        """Celery is done with a group. Called by other threads."""
        self._soon(self._acknowledge, group)

    def _acknowledge(self, group: Group) -> None:
        if (message := self._open.pop(group, None)) is not None:
            message.ack()

    def _cancel(self) -> None:
        if self._consumer is not None:
            self._consumer.cancel()

    def _add(self, name: str) -> None:
        if self._consumer is not None and name in self._queues and not self._closed.is_set():
            queue = work_queue(name, self._pipeline.settings).bind(self._consumer.channel)
            queue.declare()
            self._consumer.add_queue(queue)
            self._consumer.consume()

    def _drop(self, name: str) -> None:
        if self._consumer is not None and name not in self._queues:
            self._consumer.cancel_by_queue(name)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                with self._connected() as connection:
                    failures = 0
                    self._take(connection)
            except Exception as error:
                failures += 1
                broker = redact(self._pipeline.settings.broker_url)
                self._throttle.warn(f"can't take deliveries from {broker}, trying again: {redact(told(error))}")
            finally:
                self._hub = self._consumer = None
                self._open.clear()
            self.pulse.beat()
            self._stopping.wait(_RESTS.after(failures) if failures else 0)

    def _connected(self) -> Connection:
        settings = self._pipeline.settings
        timeout = settings.broker_timeout.total_seconds()
        connection = Connection(
            settings.broker_url,
            transport=None if is_rabbitmq(settings) else _CAREFUL_REDIS,
            heartbeat=_HEARTBEAT if is_rabbitmq(settings) else 0,
            connect_timeout=timeout,
            transport_options=transport_options(settings, longest_limit(settings)),
        )
        return connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout)

    def _take(self, connection: Connection) -> None:
        settings = self._pipeline.settings
        channel = connection.channel()
        queues = [work_queue(name, settings).bind(channel) for name in self._queues]
        for queue in [*([dead_letter_queue(settings).bind(channel)] if is_rabbitmq(settings) else []), *queues]:
            queue.declare()
        self._hub = hub = Hub()
        try:
            connection.register_with_event_loop(hub)
            hub.call_repeatedly(_TICK, self.pulse.beat)
            lost: list[Exception] = []
            if is_rabbitmq(settings):
                hub.call_repeatedly(_HEARTBEAT / _RATE, _look, connection, lost)
            self._consumer = taken = Consumer(
                channel, queues, on_message=self._received, accept=["json"], auto_declare=False
            )
            taken.on_decode_error = self._undecodable
            taken.qos(prefetch_count=self._most)
            if not self._closed.is_set():
                taken.consume()
            log.info("handlers' deliveries come from %s", redact(settings.broker_url))
            while not self._stopping.is_set() and not lost:
                hub.run_once()
            if lost:
                raise lost[0]
        finally:
            hub.close()

    def _received(self, message: Any) -> None:
        checked = problem_of(message)
        if isinstance(checked, Problem):
            self._insist(lambda: park(self._pipeline, message, checked, self._worker))
            message.ack()
        elif checked[0].handler not in self._handlers:
            self._lacked()
            self._insist(lambda: pass_on(self._pipeline, message, checked, self._worker))
            message.ack()
        elif checked in self._open:  # a repeat, of which Celery need not hear
            message.ack()
        else:
            is_there = checked in self._memory.held()  # from an earlier connection
            self._open[checked] = message
            if not is_there:
                self._memory.send([checked])

    def _undecodable(self, message: Any, error: Exception) -> None:
        checked = problem_of(message)
        problem = checked if isinstance(checked, Problem) else Problem("malformed message", brief(error, 1000))
        self._insist(lambda: park(self._pipeline, message, problem, self._worker))
        message.ack()

    def _insist(self, act: Callable[[], None]) -> None:
        """Do it, as soon as the ledger is there. No handler can run before that."""
        while True:
            try:
                act()
                return
            except Exception as error:
                log.warning("the ledger is away, so this worker holds a message: %s", brief(error, 200))
                self.pulse.beat()
                if self._stopping.wait(_LEDGER_AWAY):
                    raise


def _look(connection: Connection, lost: list[Exception]) -> None:
    """Send a heartbeat, and hear whether RabbitMQ sends its own. A timer of kombu's that raises is only logged."""
    try:
        connection.heartbeat_check(_RATE)
    except Exception as error:
        lost.append(error)
