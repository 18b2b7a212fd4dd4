"""RabbitMQ: `rabbitmq+topic://user:password@host:5672/vhost`, `rabbitmqs+topic://` for TLS. At least once, both ways.

Events go to a durable topic exchange, `domain_events` (`?exchange=`), with the event's name as routing key; RabbitMQ
confirms each batch. An event that no queue takes comes back: by default it is sent again, and is a dead letter in the
end (`?mandatory=fail`); `?mandatory=log` is for exchanges that may have no queue.

To a topic exchange `*Event` is a word, and not a pattern: a queue with that binding gets only messages with the routing
key `*Event`. So events whose names match are sent with that routing key, too (`?bcc=`).

Inbound reads a durable quorum queue (`?queue=`, by default exchange and group), bound to the event types that are known
here, or to the patterns of `?bind=`. When a connection ends, the queue gets back all messages not acknowledged.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from amqp.exceptions import AMQPError, PreconditionFailed

from events.bridges.address import Address, wrong
from events.bridges.contract import AT_ONCE, Features, Message, Received, Scheme
from events.bridges.rabbitmq import client as client
from events.errors import Blocked, PartlySent, TransportError, Unsendable
from events.text import redact
from events.throttle import Throttle
from events.transport import Confirms

log = logging.getLogger("events.bridges")

_PREFETCH = 2 * AT_ONCE  # messages: one batch in hand, one batch on its way
_BIND_EVERY = 10.0  # seconds between looks for event types that became known
_LONGEST_HEARTBEAT = 30.0  # seconds


class Bridge:
    """Keeps the contract of events.bridges.Bridge."""

    features: ClassVar[Features] = Features(ids=False, retained=False)
    schemes: ClassVar[Mapping[str, Scheme]] = client.SCHEMES
    options: ClassVar[frozenset[str]] = frozenset({"exchange", "mandatory", "bcc", "queue", "bind"})
    attribute_prefix: ClassVar[str] = client.ATTRIBUTES

    def __init__(self, address: Address) -> None:
        mandatory = address.options.get("mandatory", "fail")
        if mandatory not in ("fail", "log"):
            raise wrong(address.url, f"mandatory={mandatory}", "use fail or log")
        names = [("exchange", client.exchange_of(address)), ("queue", client.queue_of(address))]
        names += [("bind", pattern) for pattern in client.bindings_of(address)]
        names += [("bcc", pattern) for pattern in client.copied_to(address)]
        for option, name in names:
            if not 0 < len(name.encode()) <= client.LONGEST_NAME:
                raise wrong(address.url, f"{option}={name}", f"use a name of 1 to {client.LONGEST_NAME} bytes")
        self._address = address

    def address(self, event_type: str) -> str:
        return client.key_of(event_type)

    def bindings(self, _event_type: str) -> Mapping[str, Any]:
        exchange = {"name": client.exchange_of(self._address), "type": "topic", "durable": True, "autoDelete": False}
        return {"amqp": {"is": "routingKey", "exchange": exchange}}

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address, wanted)


class Publisher:
    """Sends batches over one connection, one after the other: a batch takes some milliseconds."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._exchange = client.exchange_of(address)
        self._fails = address.options.get("mandatory", "fail") == "fail"
        self._words = client.copied_to(address)
        self._lock = threading.Lock()
        self._throttle = Throttle(log)
        self._connection: Any = None
        self._channel: Any = None
        self._confirms: Any = None
        self._sent: dict[int, Message] = {}  # by the number in RabbitMQ's confirms
        self._failed: dict[str, str] = {}  # reasons by event id
        self._returned: dict[str, str] = {}  # routing keys by event id

    def send(self, messages: Sequence[Message]) -> None:
        keys = [client.key_of(message.event_type) for message in messages]
        with self._lock, client.reachable(self._address, "send to"):
            try:
                self._publish(messages, keys)
            except Blocked:
                raise  # and keep the connection, on which RabbitMQ tells when the block is over
            except BaseException:
                self._drop()
                raise
            self._tell_failed({message.event_id for message in messages})

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _publish(self, messages: Sequence[Message], keys: Sequence[str]) -> None:
        if self._connection is not None and not self._lives():
            self._drop()
        if self._connection is None:
            self._connection = client.connect(self._address)
            self._channel = self._connection.channel()
            self._confirms = Confirms(self._channel, self._address.timeout, self._on_return, self._on_nack)
        self._heed_blocked()
        for of_last_batch in (self._sent, self._failed, self._returned):
            of_last_batch.clear()
        try:
            for message, key in zip(messages, keys, strict=True):
                outgoing = client.as_sent(message, self._words)
                self._sent[self._confirms.published + 1] = message
                self._confirms.publish(self._channel.basic_publish, outgoing, self._exchange, key, mandatory=True)
            self._confirms.wait()
        except TimeoutError:
            self._heed_blocked()
            raise
        except PreconditionFailed as error:
            if len(messages) > 1:
                raise  # each message is sent again alone
            raise Unsendable(f"{redact(self._address.url)} refuses {messages[0].event_type}: {error}") from error

    def _lives(self) -> bool:
        """Whether the connection is still open: the server may have closed it while nothing was sent."""
        try:
            while True:
                self._connection.drain_events(timeout=0)
        except TimeoutError:
            return True
        except (AMQPError, OSError):
            return False

    def _heed_blocked(self) -> None:
        """Raises Blocked if the server takes no messages: else it would later take all repeats that were sent."""
        if self._connection.blocked:
            raise Blocked(f"{redact(self._address.url)} takes no messages: it is short of memory or disk")

    def _on_return(self, _error: Exception, _exchange: str, key: str, message: Any) -> None:
        self._returned[message.properties.get("message_id", "")] = key

    def _on_nack(self, number: int) -> None:
        if message := self._sent.get(number):
            why = f"a queue that {message.event_type} is for refuses it, as one that is full does"
            self._failed[message.event_id] = f"{redact(self._address.url)}: {why}"

    def _tell_failed(self, sent: set[str]) -> None:
        returned = {event_id: key for event_id, key in self._returned.items() if event_id in sent}
        why = f"no queue is bound to exchange {self._exchange!r} of {redact(self._address.url)} for {{}}"
        failed = dict(self._failed)
        if self._fails:
            failed |= {event_id: why.format(key) for event_id, key in returned.items()}
        elif returned:
            keys = ", ".join(sorted(set(returned.values())))
            self._throttle.warn(f"{why.format(keys)}: {len(returned)} events went to nobody")
        if failed:
            raise PartlySent({event_id: TransportError(reason) for event_id, reason in failed.items()})

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        client.drop(connection)


class Subscriber:
    """A consumer of the queue. It holds its batch until the batch is acknowledged."""

    def __init__(self, address: Address, wanted: Callable[[], Collection[str]]) -> None:
        self._address = address
        self._wanted = wanted
        self._exchange = client.exchange_of(address)
        self._queue = client.queue_of(address)
        # After two heartbeats of silence, the server gives a consumer's messages to another.
        self._heartbeat = max(1.0, min(address.redeliver / 2, _LONGEST_HEARTBEAT))
        self._connection: Any = None
        self._channel: Any = None
        self._bound_at = 0.0
        self._arrived: list[Received] = []
        self._held: list[Received] = []

    def receive(self, timeout: float) -> Sequence[Received]:
        with self._connected("receive from"):
            if time.monotonic() - self._bound_at >= _BIND_EVERY:
                self._bind()
            self._connection.heartbeat_tick()
            if not self._held:  # else the held messages were not written, and come first
                self._drain(timeout)
                self._held, self._arrived = self._arrived[:AT_ONCE], self._arrived[AT_ONCE:]
            return list(self._held)

    def acknowledge(self, received: Sequence[Received]) -> None:
        with self._connected("acknowledge to"):
            if not self._held:
                raise ConnectionError("the connection of these messages is gone")
            for message in received:
                self._channel.basic_ack(message.token)
            self._held = []

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()  # an orderly end: all acknowledgements have arrived
            client.drop(connection)

    @contextmanager
    def _connected(self, action: str) -> Iterator[None]:
        with client.reachable(self._address, action):
            try:
                if self._connection is None:
                    self._connection = client.connect(self._address, self._heartbeat)
                    self._consume()
                yield
            except BaseException:
                connection, self._connection = self._connection, None
                self._held, self._arrived = [], []
                client.drop(connection)
                raise

    def _consume(self) -> None:
        self._channel = client.declare_queue(self._connection, self._address)
        self._bind()
        self._channel.basic_qos(0, _PREFETCH, False)
        self._channel.basic_consume(self._queue, callback=self._on_message, on_cancel=self._on_cancel)

    def _bind(self) -> None:
        """Bind the queue; repeated now and then, as an exchange that is deleted and made anew loses its bindings."""
        for pattern in client.bindings_of(self._address) or self._wanted():
            if len(pattern.encode()) <= client.LONGEST_NAME:  # no event with a longer name can be sent
                self._channel.queue_bind(self._queue, self._exchange, pattern)
        self._bound_at = time.monotonic()

    def _on_cancel(self, _tag: str) -> None:
        raise ConnectionError(f"queue {self._queue!r} was deleted, with what was in it; it is made anew")

    def _drain(self, timeout: float) -> None:
        """Wait for the first message, and take the others that are there."""
        deadline = time.monotonic() + timeout
        while len(self._arrived) < AT_ONCE:
            left = deadline - time.monotonic() if not self._arrived else 0.0
            try:
                self._connection.drain_events(timeout=max(0.0, min(left, self._heartbeat / 4)))
            except TimeoutError:
                if self._arrived or left <= 0:
                    return
                self._connection.heartbeat_tick()

    def _on_message(self, message: Any) -> None:
        self._arrived.append(client.received(message, self._exchange))
