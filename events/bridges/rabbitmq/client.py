"""Connects to RabbitMQ by py-amqp, but without waits that never end, and so that no message can end the connection."""

import logging
import re
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from struct import unpack_from
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
from amqp import spec
from amqp.exceptions import AMQPError, PreconditionFailed
from amqp.method_framing import frame_handler
from amqp.serialization import loads

from events.bridges.address import Address
from events.bridges.contract import Message, Received, Scheme
from events.errors import TransportError, Unsendable
from events.text import redact

log = logging.getLogger("events.bridges")

SCHEMES = {"rabbitmq+topic": Scheme("amqp", 5672), "rabbitmqs+topic": Scheme("amqps", 5671, tls=True)}
ATTRIBUTES = "cloudEvents_"  # the beginning of headers that hold CloudEvents attributes
LONGEST_NAME = 255  # bytes
_EXCHANGE = "domain_events"  # unless the URL names another
_METHOD, _HEADER = 1, 2  # kinds of frames
_DELIVER = "sLbss"  # types of: consumer tag, delivery tag, redelivered, exchange, routing key


def connect(address: Address, heartbeat: float = 0) -> Any:
    """A connection to the server, with the exchange declared.

    Args:
        heartbeat: seconds between heartbeats; 0 for none.
    Raises:
        TransportError: the exchange is of another kind.
        AMQPError, OSError: the server is away, or refuses the connection.
    """
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    scheme = SCHEMES[address.scheme]
    connection = Connection(
        host=f"{f'[{host}]' if ':' in host else host}:{parts.port or scheme.port}",
        userid=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        heartbeat=heartbeat,
        # Without the host's name py-amqp would accept the certificate of any server.
        ssl={"server_hostname": host, "ca_certs": address.ca or None} if scheme.tls else False,
        connect_timeout=address.timeout,
        read_timeout=address.timeout,
        write_timeout=address.timeout,
    )
    try:
        connection.connect()
        connection.channel().exchange_declare(exchange_of(address), "topic", durable=True, auto_delete=False)
    except BaseException as error:
        drop(connection)
        if isinstance(error, PreconditionFailed):
            cure = "it has to be a durable topic exchange: name another by ?exchange=, or delete it"
            raise TransportError(
                f"exchange {exchange_of(address)!r} of {redact(address.url)}: {cure}: {error}"
            ) from error
        raise
    return connection


def declare_queue(connection: Any, address: Address) -> Any:
    """Declare the queue. Returns the channel.

    RabbitMQ before 4 made queues without a delivery limit; RabbitMQ 4 refuses to declare such a queue as unlimited, so
    it is declared without a limit then.

    Raises:
        TransportError: there is a queue of this name that is of another kind.
    """
    plain: dict[str, Any] = {"x-queue-type": "quorum"}
    unlimited = plain | {"x-delivery-limit": -1}  # by default it drops a message that has come back 20 times
    for arguments in [unlimited, plain] if _major_version(connection) >= 4 else [plain]:
        channel = connection.channel()
        try:
            channel.queue_declare(queue_of(address), durable=True, auto_delete=False, arguments=arguments)
            return channel
        except PreconditionFailed as error:
            refusal = error
    where = f"queue {queue_of(address)!r} of {redact(address.url)}"
    cure = "it has to be a durable quorum queue without limits: name another by ?queue=, or delete it when it is empty"
    raise TransportError(f"{where}: {cure}: {refusal}") from refusal


def _major_version(connection: Any) -> int:
    return int(str(connection.server_properties.get("version", "0")).partition(".")[0])


def drop(connection: Any) -> None:
    """Close a connection without an orderly end, which would wait for a server that may be gone."""
    if connection is not None:
        with suppress(Exception):
            connection.collect()


def exchange_of(address: Address) -> str:
    return address.options.get("exchange", _EXCHANGE)


def key_of(event_type: str) -> str:
    """The routing key of an event type. Raises Unsendable if RabbitMQ allows no such key."""
    if len(event_type.encode()) > LONGEST_NAME:
        raise Unsendable(f"{event_type!r} is too long for a routing key: {LONGEST_NAME} bytes")
    return event_type


def queue_of(address: Address) -> str:
    return address.options.get("queue", f"{exchange_of(address)}.{address.group}")


def bindings_of(address: Address) -> list[str]:
    """The patterns of `?bind=`, by which the queue is bound instead of by event types; empty if the URL has none."""
    return [pattern.strip() for pattern in address.options.get("bind", "").split(",") if pattern.strip()]


def copied_to(address: Address) -> list[str]:
    """The binding keys, such as `*Event`, that look like patterns but are words to RabbitMQ: see `as_sent`."""
    return [pattern.strip() for pattern in address.options.get("bcc", "*Event").split(",") if pattern.strip()]


def as_sent(message: Message, patterns: Sequence[str]) -> Any:
    """The message for py-amqp. Patterns that match the event's name, with `*` as part of a word, are further keys.

    RabbitMQ reads these routing keys from the header BCC, and removes the header. Each queue gets the message once, by
    however many of the keys it is bound. Where key and name are one word each, a queue that is bound by a real pattern
    such as `*` gets no more messages by the key.
    """
    headers: dict[str, Any] = dict(message.headers(ATTRIBUTES))
    content_type = headers.pop("content-type")
    keys = [key for key in patterns if re.fullmatch(re.escape(key).replace(r"\*", "[^.]*"), message.event_type)]
    if keys:
        headers["BCC"] = keys
    return amqp.Message(
        message.body,
        content_type=content_type,
        delivery_mode=2,
        message_id=message.event_id,
        type=message.event_type,
        timestamp=_seconds(message.occurred_at),
        application_headers=headers,
    )


def _seconds(moment: datetime | None) -> int | None:
    """The time as AMQP's timestamp, which begins in 1970; None for earlier times."""
    return int(moment.timestamp()) if moment is not None and moment.timestamp() >= 0 else None


@contextmanager
def reachable(address: Address, action: str) -> Iterator[None]:
    """Raise the errors of RabbitMQ as TransportError. `action`: for the error, such as "send to"."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise TransportError(f"can't {action} {redact(address.url)}: {type(error).__name__}: {error}") from error


def received(message: Any, exchange: str) -> Received:
    """The message as it came in. AMQP's own id and type are those of the event, if the headers have none."""
    properties = message.properties
    headers = {_text(name).lower(): _text(value) for name, value in (message.headers or {}).items()}
    for name, header in (("message_id", "cloudevents_id"), ("type", "cloudevents_type")):
        if name in properties and not {header, header.replace("_", ":")} & headers.keys():
            headers[header] = _text(properties[name])
    if "content_type" in properties:
        headers["content-type"] = _text(properties["content_type"])
    body = message.body if message.body_size else b""
    if isinstance(body, str):  # py-amqp has decoded it, by the encoding that the message says
        body = body.encode("utf-8", "surrogatepass")
    return Received(
        bytes(body), headers, exchange, "", message.delivery_info["routing_key"], token=message.delivery_tag
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Connection(amqp.Connection):  # type: ignore[misc]
    """A connection that counts a server as away when it stops in the middle of a frame.

    py-amqp would wait for the rest of the frame without end; with a time limit of 0 it would spin until the rest comes.

    Attributes:
        blocked: whether the server takes no messages, as it is short of memory or disk.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, frame_handler=tolerant, on_blocked=self._block, on_unblocked=self._unblock)
        self.blocked = False

    def blocking_read(self, timeout: float | None = None) -> Any:
        if timeout is None:
            timeout = self.read_timeout
        elif timeout <= 0:
            if not self._something_came():
                raise TimeoutError
            timeout = 0.01
        return super().blocking_read(timeout)

    def _something_came(self) -> bool:
        if getattr(self.sock, "pending", int)():  # bytes that TLS has decrypted already
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def _block(self, _: str) -> None:
        self.blocked = True

    def _unblock(self) -> None:
        self.blocked = False


def tolerant(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], bool]:
    """A frame handler of py-amqp that leaves out properties and addresses of messages if they can't be read.

    Any sender may write them: text that is no UTF-8, a time in the year 56,000. py-amqp would fail each time that the
    message comes again, before the receiver could park it.
    """
    read = frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, Any]) -> bool:
        kind, channel, content = frame
        if kind == _METHOD and unpack_from(">HH", content) == spec.Basic.Deliver:
            content = _with_address(bytes(content))
        elif kind == _HEADER:
            content = _with_properties(bytes(content))
        return bool(read((kind, channel, content)))

    return on_frame


def _with_properties(header: bytes) -> bytes:
    try:
        amqp.Message().inbound_header(header)
    except Exception as error:
        log.warning("the properties of a message can't be read, and are left out: %s", error)
        return header[:12] + b"\0\0"  # class and size, without properties
    return header


def _with_address(deliver: bytes) -> bytes:
    try:
        loads(_DELIVER, deliver, 4)
    except UnicodeDecodeError:
        log.warning("the exchange or routing key of a message is no UTF-8, and is left out")
        return deliver[: 4 + 1 + deliver[4] + 8 + 1] + b"\0\0"
    return deliver
