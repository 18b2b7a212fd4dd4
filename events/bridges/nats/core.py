"""NATS core: `nats://host:4222`, or `nats+tls://`. At most once: a subscriber that is away misses the message.

Events go to the subject `events.{EventName}`, with CloudEvents attributes as headers. Inbound, the subscribers of one
queue group share the messages. A message has no position: a message without an id is a new event each time.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from nats.aio.client import Client

from events.bridges.address import Address
from events.bridges.contract import Features, Message, Received, Scheme
from events.bridges.nats.arrivals import Arrivals
from events.bridges.nats.client import ATTRIBUTES, Line, check, headers_of, settle, subject
from events.errors import PartlySent, TransportError


class Bridge:
    """Keeps the contract of events.bridges.Bridge."""

    features: ClassVar[Features] = Features(durable=False, ids=False, acknowledged=False)
    schemes: ClassVar[Mapping[str, Scheme]] = {"nats": Scheme("nats", 4222), "nats+tls": Scheme("nats", 4222, tls=True)}
    options: ClassVar[frozenset[str]] = frozenset()
    attribute_prefix: ClassVar[str] = ATTRIBUTES

    def __init__(self, address: Address) -> None:
        check(address)
        self._address = address

    def address(self, event_type: str) -> str:
        return subject(self._address.prefix, event_type)

    def bindings(self, _event_type: str) -> Mapping[str, Any]:
        return {}

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, _wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address)


class Publisher:
    """Sends a batch, then waits for one answer, by which the server has read all messages."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line = Line(address)

    def send(self, messages: Sequence[Message]) -> None:
        subjects = [subject(self._address.prefix, message.event_type) for message in messages]

        async def publish(client: Client) -> None:
            for target, message, headers in zip(subjects, messages, headers_of(client, messages), strict=True):
                await client.publish(target, message.body, headers=headers)
            await settle(client, self._address.timeout)

        with self._line.listening() as complaints:
            self._line.run("send to", publish)
        if not complaints:
            return
        failed = {  # the server complains of subjects that it doesn't permit, and answers all the same
            message.event_id: TransportError(f"can't send to {self._line.where}: {complaint}")
            for target, message in zip(subjects, messages, strict=True)
            for complaint in complaints
            if f'"{target}"'.lower() in complaint.lower()
        }
        if failed:
            raise PartlySent(failed)
        raise TransportError(f"can't send to {self._line.where}: {complaints[0]}")

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
        pass  # NATS core has no acknowledgements

    def close(self) -> None:
        self._line.close()

    async def _subscribe(self, client: Client) -> None:
        with self._line.listening() as complaints:
            await client.subscribe(f"{self._address.prefix}.>", queue=self._address.group, cb=self._arrivals.put)
            await settle(client, self._address.timeout)
        if complaints:  # the subscription is not permitted, and would receive nothing
            raise PermissionError("the subscription is refused")
