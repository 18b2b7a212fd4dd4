"""Redis Pub/Sub: `redis+pubsub://host:6379/0`, or `rediss+pubsub://` for TLS. At most once: a subscriber that is away,
or reads too slowly for Redis, misses messages.

Events go to the channel `events:{EventName}`. Messages have no headers: CloudEvents attributes need
`?format=structured`. Inbound every subscriber gets all messages, and a message without an id is a new event each time.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import redis

from events.bridges.address import Address
from events.bridges.contract import AT_ONCE, Features, Message, Received, Scheme
from events.bridges.redis.streams import client, reachable, send_pipeline


class Bridge:
    """Keeps the contract of events.bridges.Bridge."""

    features: ClassVar[Features] = Features(durable=False, headers=False, ids=False, acknowledged=False)
    schemes: ClassVar[Mapping[str, Scheme]] = {
        "redis+pubsub": Scheme("redis", 6379),
        "rediss+pubsub": Scheme("redis", 6379, tls=True),
    }
    options: ClassVar[frozenset[str]] = frozenset()
    attribute_prefix: ClassVar[str] = ""

    def __init__(self, address: Address) -> None:
        self._address = address

    def address(self, event_type: str) -> str:
        return channel_of(self._address, event_type)

    def bindings(self, _event_type: str) -> Mapping[str, Any]:
        return {}

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, _wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address)


def channel_of(address: Address, event_type: str) -> str:
    return f"{address.prefix}:{event_type}"


class Publisher:
    """Sends a batch as one pipeline. The client's pool gives each thread a connection."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = client(address)

    def send(self, messages: Sequence[Message]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(channel_of(self._address, message.event_type), message.body)
            send_pipeline(self._address, self._client, pipeline, messages)

    def close(self) -> None:
        with suppress(Exception):
            self._client.close()


class Subscriber:
    """Subscribed to all channels of the prefix."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client: redis.Redis | None = None
        self._subscription: Any = None
        self._broken: Exception | None = None  # the error that ended the connection, after messages that had arrived
        self._heard, self._pinged = 0.0, False

    def receive(self, timeout: float) -> Sequence[Received]:
        with reachable(self._address, "receive from"):
            try:
                if self._subscription is None:
                    self._subscribe()
                if self._broken is not None:
                    raise self._broken
                return self._arrived(timeout)
            except BaseException:
                self.close()
                raise

    def acknowledge(self, received: Sequence[Received]) -> None:
        pass  # Pub/Sub has no acknowledgements

    def close(self) -> None:
        subscription, self._subscription, self._broken = self._subscription, None, None
        connection, self._client = self._client, None
        for closing in (subscription, connection):
            with suppress(Exception):
                if closing is not None:
                    closing.close()

    def _subscribe(self) -> None:
        self._client = client(
            self._address, again=False
        )  # without hidden reconnects: missed messages must show as an error
        self._subscription = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._subscription.psubscribe(f"{self._address.prefix}:*")
        deadline = time.monotonic() + self._address.timeout
        while (answer := self._subscription.get_message(timeout=self._address.timeout)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError("the subscription was not answered")
        if answer["type"] != "psubscribe":
            raise redis.RedisError(f"the subscription was answered by {answer['type']}")
        self._heard, self._pinged = time.monotonic(), False

    def _arrived(self, timeout: float) -> list[Received]:
        arrived: list[Received] = []
        wait, deadline = timeout, time.monotonic() + timeout
        while len(arrived) < AT_ONCE:
            try:
                message = self._subscription.get_message(timeout=wait)
            except (redis.RedisError, OSError) as error:
                if not arrived:
                    raise
                self._broken = error
                break
            if message is None:
                self._check_line()
            else:
                self._heard, self._pinged = time.monotonic(), False
            if message is not None and message["type"] == "pmessage":
                channel = message["channel"].decode("utf-8", "replace")
                kind = channel.removeprefix(f"{self._address.prefix}:")
                arrived.append(Received(message["data"], {}, channel, event_type=kind))
            elif message is None and (arrived or time.monotonic() >= deadline):
                break
            wait = 0.0 if arrived else max(0.0, deadline - time.monotonic())
        return arrived

    def _check_line(self) -> None:
        """Send PING now and then: a connection may be silent because it is broken, or because no message is sent."""
        silent = time.monotonic() - self._heard
        if not self._pinged and silent > self._address.timeout:
            self._subscription.ping()
            self._heard, self._pinged = time.monotonic(), True
        elif self._pinged and silent > self._address.timeout:
            raise TimeoutError(f"no answer to PING for {silent:.0f} s")
