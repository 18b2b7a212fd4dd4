"""NATS JetStream: `nats+jetstream://host:4222`, for TLS `nats+tls+jetstream://`. At least once, both ways.

Events go to the subject `events.{EventName}`, with the event's id as `Nats-Msg-Id`, by which the server knows repeats
within its window. The stream (`?stream=`, by default named as the prefix) is made if it is missing, and keeps about
`?maxlen=` messages, 1,000,000 by default. Inbound is a durable pull consumer, named after the group.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from events.bridge_url import Address
from events.bridges.nats_client import Arrivals, Line, check, headers_of, subject
from events.bridging import AT_ONCE, Features, Message, Received

_MAX_LENGTH = 1_000_000
_REQUEST_LASTS = 20.0  # seconds that the server keeps a request for messages open


class Bridge:
    """Keeps the contract of events.bridging.Bridge."""

    features: ClassVar[Features] = Features()
    options: ClassVar[frozenset[str]] = frozenset({"stream", "maxlen"})

    def __init__(self, address: Address) -> None:
        check(address)
        address.number("maxlen", _MAX_LENGTH)
        self._address = address

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, _wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address)


async def make_stream(client: Client, address: Address) -> str:
    """The name of the stream that takes our subjects, made if there is none."""
    context = client.jetstream(timeout=address.timeout)
    name = address.options.get("stream") or address.prefix
    try:
        await context.stream_info(name)
    except NotFoundError:
        config = StreamConfig(
            name=name, subjects=[f"{address.prefix}.>"], max_msgs=address.number("maxlen", _MAX_LENGTH)
        )
        try:
            await context.add_stream(config)
        except BadRequestError:  # another stream has these subjects already
            return await context.find_stream_name_by_subject(f"{address.prefix}.>")
    return name


class Publisher:
    """Sends a batch, then waits until the stream has acknowledged each of it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line = Line(address, self._prepare)

    def send(self, messages: Sequence[Message]) -> None:
        async def publish(client: Client) -> None:
            context = client.jetstream(publish_async_max_pending=max(4000, len(messages)))
            acknowledged = []
            for message, headers in zip(messages, headers_of(client, messages), strict=True):
                if message.event_id:
                    headers["Nats-Msg-Id"] = message.event_id
                to = subject(self._address.prefix, message.event_type)
                acknowledged.append(await context.publish_async(to, message.body, headers=headers))
            await asyncio.wait_for(asyncio.gather(*acknowledged), self._address.timeout)

        self._line.run("send to", publish)

    def close(self) -> None:
        self._line.close()

    async def _prepare(self, client: Client) -> None:
        await make_stream(client, self._address)


class Subscriber:
    """Asks the consumer for a batch, and for the next one when that has come."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line = Line(address, self._prepare)
        self._arrivals = Arrivals(address.prefix)
        self._next, self._inbox = "", ""
        self._asked_for, self._until = 0, 0.0

    def receive(self, timeout: float) -> Sequence[Received]:
        self._line.run("receive from", self._ask)
        found = []
        for message in self._arrivals.take(timeout):
            if not message.reply:  # a word of the server about our request: that it is over
                self._asked_for = 0
                continue
            self._asked_for -= 1
            about = message.metadata
            position = f"{about.stream} {about.sequence.stream} {about.timestamp.isoformat()}"
            found.append(self._arrivals.received(message, position, message))
        return found

    def acknowledge(self, received: Sequence[Received]) -> None:
        async def acknowledge(client: Client) -> None:
            for one in received:
                await client.publish(one.token.reply)
            await client.flush(max(1, round(self._address.timeout)))

        self._line.run("acknowledge to", acknowledge)

    def close(self) -> None:
        left = [message for message in self._arrivals.take(0) if message.reply]

        async def give_back(client: Client) -> None:
            for message in left:
                await client.publish(message.reply, b"-NAK")
            await client.flush(max(1, round(self._address.timeout)))

        with contextlib.suppress(Exception):
            if left:
                self._line.run("give back to", give_back)
        self._line.close()

    async def _prepare(self, client: Client) -> None:
        context = client.jetstream(timeout=self._address.timeout)
        stream = await make_stream(client, self._address)
        try:
            await context.consumer_info(stream, self._address.group)
        except NotFoundError:
            config = ConsumerConfig(
                durable_name=self._address.group, ack_policy=AckPolicy.EXPLICIT, ack_wait=self._address.redeliver,
                max_deliver=-1, filter_subject=f"{self._address.prefix}.>",
            )  # fmt: skip
            await context.add_consumer(stream, config)
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{self._address.group}"
        self._inbox, self._asked_for = client.new_inbox(), 0
        await client.subscribe(self._inbox, cb=self._arrivals.put)

    async def _ask(self, client: Client) -> None:
        """nats-py's own `fetch` waits for a full batch, even if one message is there."""
        if self._asked_for > 0 and time.monotonic() < self._until:
            return
        self._asked_for, self._until = AT_ONCE, time.monotonic() + _REQUEST_LASTS + self._address.timeout
        request = {"batch": AT_ONCE, "expires": int(_REQUEST_LASTS * 1e9)}
        await client.publish(self._next, json.dumps(request).encode(), self._inbox)
