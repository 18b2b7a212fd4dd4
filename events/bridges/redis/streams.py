"""Redis Streams: `redis+streams://host:6379/0`, or `rediss+streams://` for TLS. At least once, both ways.

Events go to the stream `events:{EventName}`, or all to one stream (`?stream=name`): the body in the field `data`,
attributes in fields of their own. Streams are cut to about `?maxlen=` entries, 100,000 by default, read or not.

Inbound a consumer group reads; a new group begins at the beginning of the stream. If a consumer dies, another claims
its entries after `?redeliver=`.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.bridges.address import Address, wrong
from events.bridges.contract import AT_ONCE, Features, Message, Received, Scheme
from events.bridges.redis.groups import Groups
from events.errors import PartlySent, TransportError
from events.text import redact

_MAX_LENGTH = 100_000  # entries
_ASK_EVERY = 10.0  # seconds between looks for new streams, and for entries that other consumers left
_LONGEST_BLOCK = 2.0  # seconds that Redis is asked to wait for an entry
_PATIENCE = _LONGEST_BLOCK  # seconds that an answer may take beyond the timeout
_GONE = ("NOGROUP", "UNBLOCKED")  # the beginning of Redis' error when a stream was deleted
_DATA = b"data"


class Bridge:
    """Keeps the contract of events.bridges.Bridge."""

    features: ClassVar[Features] = Features()
    schemes: ClassVar[Mapping[str, Scheme]] = {
        "redis+streams": Scheme("redis", 6379),
        "rediss+streams": Scheme("redis", 6379, tls=True),
    }
    options: ClassVar[frozenset[str]] = frozenset({"stream", "maxlen"})
    attribute_prefix: ClassVar[str] = "ce-"

    def __init__(self, address: Address) -> None:
        self._address = address
        address.number("maxlen", _MAX_LENGTH)
        if address.options.get("stream") == "":
            raise wrong(address.url, "stream=", "name a stream, or leave it out")

    def address(self, event_type: str) -> str:
        return stream_of(self._address, event_type)

    def bindings(self, _event_type: str) -> Mapping[str, Any]:
        return {}

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address, wanted)


def stream_of(address: Address, event_type: str) -> str:
    """The stream of an event type: the one that the URL names, or one for each type."""
    return address.options.get("stream") or f"{address.prefix}:{event_type}"


def client(address: Address, waiting: float = 0.0, *, again: bool = True) -> redis.Redis:
    """A client, which connects when it is first used. Threads may share it.

    Args:
        waiting: seconds that Redis may hold an answer back, beyond the timeout.
        again: whether a command is repeated once on a new connection, as the server may have been restarted; but not
            after a timeout.
    """
    return redis.Redis.from_url(
        address.url.replace("+streams", "", 1).replace("+pubsub", "", 1),
        socket_connect_timeout=address.timeout,
        socket_timeout=address.timeout + waiting,
        health_check_interval=0 if waiting else 25,
        retry=Retry(NoBackoff(), int(again), supported_errors=(redis.ConnectionError,)),
        protocol=2,  # answers of one shape, whatever the server's version
        **({"ssl_ca_certs": address.ca} if address.ca else {}),  # only the class for TLS takes this argument
    )


@contextmanager
def reachable(address: Address, action: str) -> Iterator[None]:
    """Raise the errors of Redis as TransportError. `action`: for the error, such as "send to"."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise TransportError(f"can't {action} {redact(address.url)}: {type(error).__name__}: {error}") from error


def send_pipeline(address: Address, connection: redis.Redis, pipeline: Any, messages: Sequence[Message]) -> None:
    """Send a pipeline of one command for each message.

    redis-py's own way to raise errors would repeat the command with the event's data, which must not stand in logs.

    Raises:
        PartlySent: Redis refuses these messages.
        TransportError: any message may be lost.
    """
    with reachable(address, "send to"):
        answers = pipeline.execute(raise_on_error=False)
    failed = {
        message.event_id: TransportError(
            f"can't send {message.event_type} to {redact(address.url)}: {type(answer).__name__}: {answer}"
        )
        for message, answer in zip(messages, answers, strict=True)
        if isinstance(answer, Exception)
    }
    if any(isinstance(answer, redis.exceptions.ReadOnlyError) for answer in answers):
        connection.connection_pool.disconnect()  # the address may lead to another server by now
    if failed:
        raise PartlySent(failed)


class Publisher:
    """Sends a batch as one pipeline. The client's pool gives each thread a connection."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = client(address)
        self._most = address.number("maxlen", _MAX_LENGTH)

    def send(self, messages: Sequence[Message]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for message in messages:
                stream = stream_of(self._address, message.event_type)
                fields: dict[Any, Any] = {"data": message.body} | message.headers(Bridge.attribute_prefix)
                pipeline.xadd(stream, fields, maxlen=self._most, approximate=True)
            send_pipeline(self._address, self._client, pipeline, messages)

    def close(self) -> None:
        with suppress(Exception):
            self._client.close()


class Subscriber:
    """A consumer of the group. It reads entries that it left itself, then those that others left, then new entries."""

    def __init__(self, address: Address, wanted: Callable[[], Collection[str]]) -> None:
        self._address = address
        self._wanted = wanted
        self._client: redis.Redis | None = None
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._streams: list[str] = []
        self._asked = 0.0
        self._others: list[
            tuple[str, bytes]
        ] = []  # streams still to be searched for entries that others left, and the cursor
        self._own = True  # whether there may be entries that we took and did not acknowledge
        self._held = False  # whether the last batch is not acknowledged yet
        self._groups = Groups(address)

    def receive(self, timeout: float) -> Sequence[Received]:
        with self._connected("receive from") as connection:
            try:
                self._look_around(connection)
                self._own = self._own or self._held  # a batch not written comes before later entries
                received = self._left(connection) or self._new(connection, timeout)
            except redis.ResponseError as error:
                if not str(error).startswith(_GONE):
                    raise
                self._streams = []  # a stream was deleted, or all data of the server: made anew next time
                return []
            self._held = bool(received)
            return received

    def acknowledge(self, received: Sequence[Received]) -> None:
        with self._connected("acknowledge to") as connection, connection.pipeline(transaction=False) as pipeline:
            for stream in {message.address for message in received}:
                entries = [message.token for message in received if message.address == stream]
                pipeline.xack(stream, self._address.group, *entries)
            pipeline.execute()
        self._held = False

    def close(self) -> None:
        group = self._address.group
        with suppress(Exception):
            for stream in self._streams:
                if self._client and not self._client.xpending_range(stream, group, "-", "+", 1, self._consumer):
                    self._client.xgroup_delconsumer(
                        stream, group, self._consumer
                    )  # else its entries would be removed, too
        self._drop()

    @contextmanager
    def _connected(self, action: str) -> Iterator[redis.Redis]:
        with reachable(self._address, action):
            try:
                if self._client is None:
                    self._client = client(self._address, waiting=_PATIENCE)
                yield self._client
            except BaseException:
                self._own, self._asked, self._streams = True, 0.0, []
                self._drop()  # the address may lead to another server by now
                raise

    def _drop(self) -> None:
        connection, self._client = self._client, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    def _look_around(self, connection: redis.Redis) -> None:
        now = time.monotonic()
        if self._streams and now - self._asked < min(_ASK_EVERY, self._address.redeliver):
            return
        single = self._address.options.get("stream")
        wanted = [single] if single else [stream_of(self._address, name) for name in sorted(self._wanted())]
        self._streams, self._asked = self._groups.look_after(connection, wanted, self._streams), now
        self._others = [(stream, b"0-0") for stream in self._streams]

    def _left(self, connection: redis.Redis) -> list[Received]:
        """Entries that this consumer took before a failure, or that another consumer took long ago."""
        while self._own:
            answer = self._read(connection, "0", None)
            if received := self._received(connection, answer):
                return received
            self._own = any(entries for _, entries in answer)  # all these were cut off; there may be more after them
        idle = int(self._address.redeliver * 1000)
        while self._others:
            stream, cursor = self._others[-1]
            answer = connection.xautoclaim(stream, self._address.group, self._consumer, idle, cursor, count=AT_ONCE)
            self._others[-1] = (stream, answer[0])
            if answer[0] == b"0-0":
                self._others.pop()
            whole = [entry for entry in answer[1] if entry[0] is not None]
            if len(whole) < len(answer[1]):
                # Redis 6 doesn't say here which entries were cut off; reading our own entries tells.
                self._own = True
            if received := self._received(connection, [(stream.encode(), whole)]):
                return received
        return []

    def _new(self, connection: redis.Redis, timeout: float) -> list[Received]:
        if not self._streams:  # no stream is known that could be read
            time.sleep(timeout)
            return []
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            answer = self._read(connection, ">", max(1, int(min(left, _LONGEST_BLOCK) * 1000)))
            if answer or left <= _LONGEST_BLOCK:
                return self._received(connection, answer)

    def _read(self, connection: redis.Redis, start: str, block: int | None) -> list[Any]:
        streams: dict[Any, Any] = dict.fromkeys(self._streams, start)
        if not streams:
            return []
        answer: Any = connection.xreadgroup(self._address.group, self._consumer, streams, count=AT_ONCE, block=block)
        return answer or []

    def _received(self, connection: redis.Redis, answer: Any) -> list[Received]:
        received = []
        for stream, entries in answer:
            name = stream.decode()
            for entry, fields in entries:
                if not fields:  # the entry was cut off the stream unread: its data is gone
                    connection.xack(name, self._address.group, entry)
                    continue
                headers = {
                    key.decode("utf-8", "replace").lower(): value.decode("utf-8", "replace")
                    for key, value in fields.items()
                    if key != _DATA
                }
                kind = name.removeprefix(f"{self._address.prefix}:") if "stream" not in self._address.options else ""
                body = fields.get(_DATA, b"")
                received.append(Received(body, headers, name, entry.decode(), kind, token=entry))
        return received
