"""RabbitMQ: `rabbitmq+topic://user:password@host:5672/vhost`, `rabbitmqs+topic://` for TLS. At least once, both ways.

Events go to a durable topic exchange, `domain_events` (`?exchange=`), with the event's name as routing key; RabbitMQ
confirms each batch. An event that no queue takes comes back: by default it is tried again, and is a dead letter in the
end (`?mandatory=fail`); `?mandatory=log` is for exchanges to which nobody need be listening.

Inbound reads a durable quorum queue (`?queue=`, by default exchange and group), bound to the events that are known
here, or to the patterns of `?bind=`. A consumer whose connection ends gives back what it has not acknowledged.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import amqp
from amqp.exceptions import AMQPError, PreconditionFailed

from events.bridge_url import Address, wrong
from events.bridging import AT_ONCE, Features, Message, Received
from events.errors import PartlySent, TransportError, Unsendable
from events.settings import redact
from events.throttle import Throttle
from events.transport.confirms import Confirms

log = logging.getLogger("events.bridges")

_EXCHANGE = "domain_events"
_PREFETCH = 2 * AT_ONCE  # one batch in our hand, one on its way
_BIND_EVERY = 10.0  # seconds between looks for events that became known
_LONGEST_KEY = 255  # bytes
_LONGEST_HEARTBEAT = 30.0  # seconds


class Bridge:
    """Keeps the contract of events.bridging.Bridge."""

    features: ClassVar[Features] = Features(ids=False, retained=False)
    options: ClassVar[frozenset[str]] = frozenset({"exchange", "mandatory", "queue", "bind"})

    def __init__(self, address: Address) -> None:
        mandatory = address.options.get("mandatory", "fail")
        if mandatory not in ("fail", "log"):
            raise wrong(address.url, f"mandatory={mandatory}", "use fail or log")
        for option in ("exchange", "queue"):
            if not 0 < len(address.options.get(option, "x").encode()) <= _LONGEST_KEY:
                raise wrong(address.url, f"{option}=", f"use a name of 1 to {_LONGEST_KEY} bytes")
        self._address = address

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address, wanted)


def connect(address: Address, heartbeat: float = 0) -> Any:
    """A connection of py-amqp, and on it the exchange."""
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    tls = parts.scheme.startswith("rabbitmqs")
    connection = amqp.Connection(
        host=f"{f'[{host}]' if ':' in host else host}:{parts.port or (5671 if tls else 5672)}",
        userid=unquote(parts.username or "guest"), password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/", heartbeat=heartbeat,
        # Without a name it would take any server's certificate.
        ssl={"server_hostname": host, "ca_certs": address.ca or None} if tls else False,
        connect_timeout=address.timeout, read_timeout=address.timeout, write_timeout=address.timeout,
    )  # fmt: skip
    connection.connect()
    connection.channel().exchange_declare(exchange_of(address), "topic", durable=True, auto_delete=False)
    return connection


def exchange_of(address: Address) -> str:
    return address.options.get("exchange", _EXCHANGE)


@contextmanager
def reachable(address: Address, what: str) -> Iterator[None]:
    """What goes wrong with RabbitMQ as the contract says it."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise TransportError(f"can't {what} {redact(address.url)}: {type(error).__name__}: {error}") from error


class Publisher:
    """One connection, used in turn: a batch has it for some milliseconds."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._exchange = exchange_of(address)
        self._fails = address.options.get("mandatory", "fail") == "fail"
        self._lock = threading.Lock()
        self._throttle = Throttle(log)
        self._connection: Any = None
        self._channel: Any = None
        self._confirms: Confirms | None = None
        self._returned: dict[str, str] = {}  # event id to its routing key

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if len(message.event_type.encode()) > _LONGEST_KEY:
                raise Unsendable(f"{message.event_type!r} is too long for a routing key: {_LONGEST_KEY} bytes")
        with self._lock, reachable(self._address, "send to"):
            try:
                if self._connection is not None and not self._lives():
                    self._drop()
                self._publish(messages)
            except PreconditionFailed as error:
                self._drop()
                if len(messages) == 1:  # of several each comes again, alone
                    raise Unsendable(
                        f"{redact(self._address.url)} refuses {messages[0].event_type}: {error}"
                    ) from error
                raise
            except BaseException:
                self._drop()
                raise
            self._tell_returned()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _publish(self, messages: Sequence[Message]) -> None:
        if self._connection is None:
            self._connection = connect(self._address)
            self._channel = self._connection.channel()
            self._confirms = Confirms(self._channel, self._address.timeout, on_return=self._on_return)
        assert self._confirms is not None
        self._returned.clear()
        for message in messages:
            headers = message.headers("cloudEvents_")
            content_type = headers.pop("content-type")
            outgoing = amqp.Message(
                message.body, content_type=content_type, delivery_mode=2, message_id=message.event_id,
                type=message.event_type, application_headers=headers,
            )  # fmt: skip
            self._channel.basic_publish(outgoing, self._exchange, message.event_type, mandatory=True)
        self._confirms.wait()

    def _lives(self) -> bool:
        """Whether the server has not said good-bye while nothing was sent."""
        try:
            self._connection.drain_events(timeout=0)
        except TimeoutError:
            return True
        except (AMQPError, OSError):
            return False
        return True

    def _on_return(self, _error: Exception, _exchange: str, key: str, message: Any) -> None:
        self._returned[message.properties.get("message_id", "")] = key

    def _tell_returned(self) -> None:
        if not self._returned:
            return
        keys = ", ".join(sorted(set(self._returned.values())))
        why = f"no queue is bound to exchange {self._exchange!r} of {redact(self._address.url)} for {{}}"
        if self._fails:
            raise PartlySent({one: TransportError(why.format(key)) for one, key in self._returned.items()})
        self._throttle.warn(f"{why.format(keys)}: {len(self._returned)} events went to nobody")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.collect()  # an orderly end would wait for a server that may be gone


class Subscriber:
    """One consumer of the queue. It holds its batch until that is acknowledged."""

    def __init__(self, address: Address, wanted: Callable[[], Collection[str]]) -> None:
        self._address = address
        self._wanted = wanted
        self._exchange = exchange_of(address)
        self._queue = address.options.get("queue") or f"{self._exchange}.{address.group}"
        # The server gives what a silent consumer has to another after two of these.
        self._heartbeat = max(1.0, min(address.redeliver / 2, _LONGEST_HEARTBEAT))
        self._connection: Any = None
        self._channel: Any = None
        self._bound: set[str] = set()
        self._asked = 0.0
        self._arrived: list[Received] = []
        self._held: list[Received] = []

    def receive(self, timeout: float) -> Sequence[Received]:
        with self._connected("receive from"):
            self._bind()
            self._connection.heartbeat_tick()
            if not self._held:  # else: what is not acknowledged has not been written, and comes first
                self._drain(timeout)
                self._held, self._arrived = self._arrived[:AT_ONCE], self._arrived[AT_ONCE:]
            return list(self._held)

    def acknowledge(self, received: Sequence[Received]) -> None:
        with self._connected("acknowledge to"):
            if not self._held:
                raise ConnectionError("the connection of these messages is gone")
            for one in received:
                self._channel.basic_ack(one.token)
            self._held = []

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()  # in order: what was acknowledged has arrived

    @contextmanager
    def _connected(self, what: str) -> Iterator[None]:
        with reachable(self._address, what):
            try:
                if self._connection is None:
                    self._held, self._arrived, self._bound, self._asked = [], [], set(), 0.0
                    self._connection = connect(self._address, self._heartbeat)
                    self._consume()
                yield
            except BaseException:
                connection, self._connection = self._connection, None
                self._held, self._arrived = [], []
                if connection is not None:
                    with suppress(Exception):
                        connection.collect()
                raise

    def _consume(self) -> None:
        self._channel = self._connection.channel()
        arguments: dict[str, Any] = {"x-queue-type": "quorum"}
        if int(str(self._connection.server_properties.get("version", "0")).split(".")[0]) >= 4:
            arguments["x-delivery-limit"] = -1  # by itself it drops what has come back 20 times
        self._channel.queue_declare(self._queue, durable=True, auto_delete=False, arguments=arguments)
        self._bind()
        self._channel.basic_qos(0, _PREFETCH, False)
        self._channel.basic_consume(self._queue, callback=self._on_message)

    def _bind(self) -> None:
        now = time.monotonic()
        if self._asked and now - self._asked < _BIND_EVERY:
            return
        patterns = [one.strip() for one in self._address.options.get("bind", "").split(",") if one.strip()]
        for pattern in {*(patterns or self._wanted())} - self._bound:
            self._channel.queue_bind(self._queue, self._exchange, pattern)
            self._bound.add(pattern)
        self._asked = now

    def _drain(self, timeout: float) -> None:
        """Wait for the first, and take what else is there."""
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
        properties = message.properties
        headers = {str(name).lower(): _text(value) for name, value in message.headers.items()}
        for name, of_ours in (("message_id", "cloudevents_id"), ("type", "cloudevents_type")):
            if name in properties and not {of_ours, of_ours.replace("_", ":")} & headers.keys():
                headers[of_ours] = _text(properties[name])
        if "content_type" in properties:
            headers["content-type"] = _text(properties["content_type"])
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        key = message.delivery_info["routing_key"]
        self._arrived.append(Received(body, headers, self._exchange, "", key, token=message.delivery_tag))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
