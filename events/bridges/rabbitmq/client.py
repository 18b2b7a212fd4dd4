"""How the bridge to RabbitMQ connects: by py-amqp, but without waits that never end, and no message can break it."""

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
ATTRIBUTES = "cloudEvents_"  # what the names of CloudEvents attributes begin with
LONGEST_NAME = 255  # bytes
_EXCHANGE = "domain_events"  # unless the URL says another
_METHOD, _HEADER = 1, 2  # kinds of frames
_DELIVER = "sLbss"  # the consumer's tag, number, redelivered, exchange, routing key


def connect(address: Address, heartbeat: float = 0) -> Any:
    """A connection, and on it the exchange."""
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    scheme = SCHEMES[address.scheme]
    connection = Connection(
        host=f"{f'[{host}]' if ':' in host else host}:{parts.port or scheme.port}",
        userid=unquote(parts.username or "guest"), password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/", heartbeat=heartbeat,
        # Without a name it would take any server's certificate.
        ssl={"server_hostname": host, "ca_certs": address.ca or None} if scheme.tls else False,
        connect_timeout=address.timeout, read_timeout=address.timeout, write_timeout=address.timeout,
    )  # fmt: skip
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
    """The channel on which it is declared. A server that was older when the queue was made gave it no delivery limit,
    and refuses to have it made unlimited."""
    plain: dict[str, Any] = {"x-queue-type": "quorum"}
    unlimited = plain | {"x-delivery-limit": -1}  # by itself it drops what has come back 20 times
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
    """Without an orderly end, which would wait for a server that may be gone."""
    if connection is not None:
        with suppress(Exception):
            connection.collect()


def exchange_of(address: Address) -> str:
    return address.options.get("exchange", _EXCHANGE)


def key_of(event_type: str) -> str:
    """The routing key of its events. Raises Unsendable: RabbitMQ allows no such key."""
    if len(event_type.encode()) > LONGEST_NAME:
        raise Unsendable(f"{event_type!r} is too long for a routing key: {LONGEST_NAME} bytes")
    return event_type


def queue_of(address: Address) -> str:
    return address.options.get("queue", f"{exchange_of(address)}.{address.group}")


def bindings_of(address: Address) -> list[str]:
    """Patterns that somebody wants instead of the names of events."""
    return [one.strip() for one in address.options.get("bind", "").split(",") if one.strip()]


def copied_to(address: Address) -> list[str]:
    """What queues are bound by as if it were a pattern: see `as_sent`."""
    return [one.strip() for one in address.options.get("bcc", "*Event").split(",") if one.strip()]


def as_sent(message: Message, patterns: Sequence[str]) -> Any:
    """The message for py-amqp, which goes to those `patterns`, too, that the event's name matches if `*` is a part of a
    word.

    RabbitMQ takes these keys, and then away, from the header BCC. Each queue gets the message once, by however many
    keys it is bound. A name of one word goes to no other queue by such a key, which is a word as well.
    """
    headers: dict[str, Any] = dict(message.headers(ATTRIBUTES))
    content_type = headers.pop("content-type")
    keys = [one for one in patterns if re.fullmatch(re.escape(one).replace(r"\*", "[^.]*"), message.event_type)]
    if keys:
        headers["BCC"] = keys
    return amqp.Message(
        message.body, content_type=content_type, delivery_mode=2, message_id=message.event_id, type=message.event_type,
        timestamp=_seconds(message.occurred_at), application_headers=headers,
    )  # fmt: skip


def _seconds(moment: datetime | None) -> int | None:
    """AMQP's timestamp, which begins in 1970; None for what is older."""
    return int(moment.timestamp()) if moment is not None and moment.timestamp() >= 0 else None


@contextmanager
def reachable(address: Address, what: str) -> Iterator[None]:
    """What goes wrong with RabbitMQ as the contract says it."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise TransportError(f"can't {what} {redact(address.url)}: {type(error).__name__}: {error}") from error


def received(message: Any, exchange: str) -> Received:
    """AMQP's own id and type are those of the event, if its headers have none."""
    properties = message.properties
    headers = {_text(name).lower(): _text(value) for name, value in (message.headers or {}).items()}
    for name, of_ours in (("message_id", "cloudevents_id"), ("type", "cloudevents_type")):
        if name in properties and not {of_ours, of_ours.replace("_", ":")} & headers.keys():
            headers[of_ours] = _text(properties[name])
    if "content_type" in properties:
        headers["content-type"] = _text(properties["content_type"])
    body = message.body if message.body_size else b""
    if isinstance(body, str):  # py-amqp has decoded it, from what the message says that it is encoded in
        body = body.encode("utf-8", "surrogatepass")
    return Received(
        bytes(body), headers, exchange, "", message.delivery_info["routing_key"], token=message.delivery_tag
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Connection(amqp.Connection):  # type: ignore[misc]
    """A server that stops in the middle of a frame is one that is away.

    py-amqp would wait for the rest without end, or, asked not to wait at all, spin until it is there.

    Attributes:
        blocked: the server takes no messages, for it is short of memory or disk.
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
        if getattr(self.sock, "pending", int)():  # decrypted already
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def _block(self, _: str) -> None:
        self.blocked = True

    def _unblock(self) -> None:
        self.blocked = False


def tolerant(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], bool]:
    """How py-amqp puts frames together; but a message of which it can't read the properties or the address has none.

    They are anybody's: text that is no UTF-8, a time in the year 56,000. It would fail each time that the message comes
    again, before anybody could park it.
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
        return header[:12] + b"\0\0"  # class and size, and no property
    return header


def _with_address(deliver: bytes) -> bytes:
    try:
        loads(_DELIVER, deliver, 4)
    except UnicodeDecodeError:
        log.warning("the exchange or routing key of a message is no UTF-8, and is left out")
        return deliver[: 4 + 1 + deliver[4] + 8 + 1] + b"\0\0"
    return deliver
