"""NATS core: `nats://host:4222`, or `nats+tls://`. At most once: who isn't subscribed at that moment misses it.

Events go to the subject `events.{EventName}`, with CloudEvents attributes as headers. Inbound, the subscribers of one
queue group share what comes. A message has no position: one without an id is a new event each time.
"""

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from nats.aio.client import Client

from events.bridge_url import Address
from events.bridges.nats_client import Arrivals, Line, check, headers_of, subject
from events.bridging import Features, Message, Received


class Bridge:
    """Keeps the contract of events.bridging.Bridge."""

    features: ClassVar[Features] = Features(durable=False, ids=False, acknowledged=False)
    options: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, address: Address) -> None:
        check(address)
        self._address = address

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, _wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address)


class Publisher:
    """Sends a batch, then waits for one answer: that the server has read all of it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line = Line(address)

    def send(self, messages: Sequence[Message]) -> None:
        async def publish(client: Client) -> None:
            for message, headers in zip(messages, headers_of(client, messages), strict=True):
                to = subject(self._address.prefix, message.event_type)
                await client.publish(to, message.body, headers=headers)
            await client.flush(max(1, round(self._address.timeout)))

        self._line.run("send to", publish)

    def close(self) -> None:
        self._line.close()


class Subscriber:
    """A member of the queue group."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line = Line(address, self._subscribe)
        self._arrivals = Arrivals(address.prefix)

    def receive(self, timeout: float) -> Sequence[Received]:
        async def connected(_: Client) -> None:
            pass

        self._line.run("receive from", connected)
        return [self._arrivals.received(message) for message in self._arrivals.take(timeout)]

    def acknowledge(self, received: Sequence[Received]) -> None:
        pass  # there is no such thing

    def close(self) -> None:
        self._line.close()

    async def _subscribe(self, client: Client) -> None:
        await client.subscribe(f"{self._address.prefix}.>", queue=self._address.group, cb=self._arrivals.put)
        await client.flush(max(1, round(self._address.timeout)))
