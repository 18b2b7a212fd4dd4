"""Sends plain tasks that were committed: a handler of batches, with a connection of its own to the app's broker.

RabbitMQ confirms each message, and returns one for which there is no queue; Redis gets a batch at once. While the
broker is away no task is to blame: all are tried again, for about 16 hours.
"""

import os
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from amqp.exceptions import FrameSyntaxError
from celery import Celery, signals
from kombu import Connection, Exchange, Producer, Queue
from kombu.compression import get_encoder
from kombu.serialization import dumps

from events.current_pipeline import get_pipeline
from events.errors import PartlySent, TransportError, Unsendable
from events.text import redact
from events.throttle import Backoff
from events.transport import Confirms, told
from events.worker.plain_tasks.message import TaskMessage
from events.worker.plain_tasks.recording import LATER

_AT_ONCE = 500  # messages in one pipeline of Redis
_PAUSES = Backoff(first=0.5, longest=15.0)  # after a failure: so long a process doesn't try again
_SHOWN = 1024  # characters of arguments that people are shown, as Celery has it
_JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
_OF_THE_MESSAGE = (ValueError, TypeError, KeyError, struct.error, FrameSyntaxError)  # raised before the broker is asked


class _Unwritable(Exception):
    """This message can't be written, whatever the broker says."""

    def __init__(self, event: TaskMessage, error: Exception) -> None:
        self.event, self.error = event, error
        super().__init__(str(error))


class Sending:
    """Sends the tasks of one app. Threads may share it; each process makes its own connection."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._process = 0
        self._connection: Connection | None = None
        self._confirms: Confirms | None = None
        self._refused: dict[str, TransportError] = {}  # by task id: what RabbitMQ returned or refused
        self._sent: list[str] = []  # the task ids of its messages, in order
        self._declared: set[tuple[str, str]] = set()
        self._failures, self._again_at, self._why = 0, 0.0, ""

    def send(self, events: Sequence[TaskMessage]) -> None:
        """Send these tasks.

        Raises:
            PartlySent: some could not be sent, each for its reason; or all, as the broker is away.
            Unsendable: the only one can never be sent.
        """
        with self._lock:
            failed = self._send(events)
        if len(events) == len(failed) == 1:
            raise next(iter(failed.values()))
        if failed:
            raise PartlySent(failed)

    def close(self) -> None:
        connection, self._connection, self._confirms = self._connection, None, None
        self._declared.clear()
        self._refused.clear()
        self._sent.clear()
        if connection is not None and self._process == os.getpid():  # else it is the parent's
            with suppress(Exception):
                connection.release()

    def _send(self, events: Sequence[TaskMessage]) -> dict[str, Exception]:
        """Returns the errors of those that were not sent, by event id."""
        if (left := self._again_at - time.monotonic()) > 0:
            away = TransportError(f"tried again in {left:.1f} s, after: {self._why}")
            return {str(event.event_id): away for event in events}
        failed: dict[str, Exception] = {}
        ready = []
        for event in events:
            try:
                ready.append((event, self._prepared(event)))
            except Exception as error:
                failed[str(event.event_id)] = _unsendable(event, error)
        try:
            refused = self._publish(ready) if ready else {}
        except _Unwritable as culprit:  # what stood before it may have been sent, and is again: no other is to blame
            self.close()
            key = str(culprit.event.event_id)
            rest = [event for event, _ in ready if event is not culprit.event]
            return failed | {key: _unsendable(culprit.event, culprit.error)} | (self._send(rest) if rest else {})
        except Exception as error:
            self.close()
            broker = redact(str(self._app.conf.broker_write_url or self._app.conf.broker_url))
            self._why = redact(f"can't send tasks to {broker}: {type(error).__name__}: {told(error)}")
            self._failures += 1
            self._again_at = time.monotonic() + _PAUSES.after(self._failures)
            return failed | {str(event.event_id): TransportError(self._why) for event, _ in ready}
        self._failures = 0
        for event, options in ready:
            if (trouble := refused.get(event.task_id)) is not None:
                failed[str(event.event_id)] = trouble
            else:
                self._tell(event, options)
        return failed

    def _prepared(self, event: TaskMessage) -> dict[str, Any]:
        """What kombu is to publish, body included."""
        options = event.options()
        serializer = options.pop("serializer", None) or self._app.conf.task_serializer
        headers = options["headers"]
        if headers.get("argsrepr") == headers.get("kwargsrepr") == LATER:
            headers["argsrepr"], headers["kwargsrepr"] = self._shown(event)
        if (compression := options.get("compression")) is not None:
            get_encoder(compression)  # which raises KeyError if it isn't known
        if serializer == "json":
            return options | _JSON | {"body": event.body}
        content_type, content_encoding, body = dumps(event.content(), serializer)
        return options | {"content_type": content_type, "content_encoding": content_encoding, "body": body}

    def _shown(self, event: TaskMessage) -> tuple[str, str]:
        """The texts that people are shown of args and kwargs."""
        args, kwargs, _ = event.content()
        return repr(tuple(args))[:_SHOWN], repr(kwargs)[:_SHOWN]

    def _publish(self, ready: Sequence[tuple[TaskMessage, dict[str, Any]]]) -> dict[str, TransportError]:
        """Publish all of them. Returns what was refused, by task id. Raises if the broker is away."""
        producer = self._producer()
        for _, options in ready:
            self._declare(producer, options)
        with producer.batch(max_size=_AT_ONCE):  # which is one message at a time where a broker has no pipelines
            for event, options in ready:
                given = {name: value for name, value in options.items() if name not in ("declare", "exchange_type")}
                body = given.pop("body")
                if self._confirms is not None and given.get("exchange") == "":
                    given.setdefault("mandatory", True)  # it is to one queue, without which it would be nowhere
                try:
                    if self._confirms is None:
                        producer.publish(body, **given)
                    else:
                        self._sent.append(event.task_id)
                        self._confirms.publish(producer.publish, body, **given)
                except _OF_THE_MESSAGE as error:
                    raise _Unwritable(event, error) from error
        if self._confirms is None:
            return {}
        self._confirms.wait()
        refused, self._refused = self._refused, {}
        return refused

    def _producer(self) -> Producer:
        if self._connection is None or self._process != os.getpid():
            self.close()
            self._process = os.getpid()
            timeout = get_pipeline().settings.broker_timeout.total_seconds()
            wanted = {
                "amqp": {"read_timeout": timeout, "write_timeout": timeout, "max_retries": 1},
                "redis": {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry_on_timeout": False},
            }
            kind = self._app.connection_for_write().transport.driver_type
            theirs = self._app.conf.broker_transport_options or {}
            connection = self._app.connection_for_write(
                connect_timeout=timeout, transport_options=wanted.get(kind, {}) | theirs | {"confirm_publish": False}
            )
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout)
            self._connection = connection
            if kind == "amqp":
                channel = connection.default_channel
                self._confirms = Confirms(channel, timeout, on_return=self._on_return, on_nack=self._on_nack)
        return Producer(self._connection.default_channel, auto_declare=False)

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: Any) -> None:
        task_id = message.properties.get("correlation_id")
        self._refused[task_id] = TransportError(
            f"RabbitMQ has no queue {routing_key!r} for task {task_id} (exchange {exchange!r}): {error}"
        )

    def _on_nack(self, number: int) -> None:
        task_id = self._sent[number - 1]
        self._refused[task_id] = TransportError(f"RabbitMQ refused task {task_id}: its queue is full, or out of order")

    def _declare(self, producer: Producer, options: dict[str, Any]) -> None:
        """Declare the queue that the message needs, once for each connection, as the app describes it."""
        for wanted in options.get("declare") or ():
            key = (wanted["name"], wanted["exchange"])
            if key in self._declared:
                continue
            queue = self._app.amqp.queues.get(wanted["name"])
            if queue is None or (queue.exchange.name if queue.exchange else "") != wanted["exchange"]:
                queue = Queue(
                    wanted["name"],
                    Exchange(wanted["exchange"], type=wanted["exchange_type"]) if wanted["exchange"] else "",
                    routing_key=wanted["routing_key"],
                )
            queue.bind(producer.channel).declare()
            self._declared.add(key)

    def _tell(self, event: TaskMessage, options: dict[str, Any]) -> None:
        """Tell those who want to hear of each task that is sent."""
        headers = options["headers"]
        exchange, routing_key = options.get("exchange"), options.get("routing_key")
        if signals.after_task_publish.receivers:
            signals.after_task_publish.send(
                sender=event.task,
                body=event.content(),
                headers=headers,
                exchange=exchange,
                routing_key=routing_key,
            )
        if not self._app.conf.task_send_sent_event:
            return
        fields = {name: headers.get(name) for name in ("root_id", "parent_id", "retries", "eta", "expires")}
        fields |= {"uuid": event.task_id, "name": event.task}
        fields |= {"args": headers.get("argsrepr"), "kwargs": headers.get("kwargsrepr")}
        fields |= {"queue": routing_key, "exchange": exchange, "routing_key": routing_key}
        with suppress(Exception), self._app.producer_or_acquire() as producer:
            self._app.events.Dispatcher(enabled=False).publish("task-sent", fields, producer, retry=False)


def _unsendable(event: TaskMessage, error: Exception) -> Unsendable:
    return Unsendable(f"task {event.task}, {event.task_id}, can't be sent: {type(error).__name__}: {error}")
