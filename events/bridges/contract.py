"""The contract of bridges, which take our events to other services, and theirs to us.

Each kind of server has a folder in `events/bridges` that keeps the contract, and the suite `tests/conformance/bridge`
tests that it does.

A bridge is made from its URL (`address`). Outbound it is a batch handler named `bridge.<name>`: retries, dead letters,
pausing and metrics are those of any handler (`forwarding`). Inbound it is a loop that receives, writes to the ledger
and acknowledges, in this order (`receiving`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol
from urllib.parse import quote, unquote

HANDLER = "bridge."  # the beginning of the names of bridges' handlers, and of the queues of parked messages
KEY = "bridge"  # in an event's metadata: the bridge through which it came, and to which it isn't sent back
AT_ONCE = 100  # messages in a batch, inbound and outbound


@dataclass(frozen=True, slots=True)
class Features:
    """The promises that a kind of bridge makes. A promise that it can't make is no fault: the suite tests only these.

    Attributes:
        durable: messages wait for a subscriber that is away, and outlive a restart of the server.
        ordered: the events of one aggregate arrive in the order in which they were sent, as long as nothing fails;
            events of several types only if these share an address.
        headers: messages have headers for the attributes; else attributes are in the body, or lost.
        ids: a message has the same position each time that it comes, so that a message without an id gets one by it.
        acknowledged: `send` returns when the server has all messages, and messages not acknowledged come again.
        retained: messages that were sent before there was any subscriber wait, too.
        direct: there is no server between the two sides: `send` returns when the other side has committed, or raises.
    """

    durable: bool = True
    ordered: bool = True
    headers: bool = True
    ids: bool = True
    acknowledged: bool = True
    retained: bool = True
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Scheme:
    """The properties of a URL's scheme.

    Attributes:
        protocol: the name that AsyncAPI has for the protocol: `redis`, `amqps`, `kafka-secure`.
        port: the port of URLs that name none; None if `events doctor` can't test whether the server listens.
        tls: connections are encrypted, so that the URL may name a file of certificates, `?ca=`.
        forms: the forms that messages can have, `?format=`; see events.bridges.cloudevents.
    """

    protocol: str
    port: int | None = None
    tls: bool = False
    forms: tuple[str, ...] = ("flat", "structured")


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way out. A bridge decides about the address and the headers, never about the body.

    Attributes:
        event_id, event_type, aggregate_id: those of the event; for address, key, and deduplication by the server.
        body: UTF-8 JSON.
        content_type: the media type of the body.
        attributes: CloudEvents attributes by their plain names (`id`, `source`, `type`); none if the body has them.
        trace: `traceparent` and `tracestate`, if the event has them.
        occurred_at: the time at which the event happened, with a time zone.
    """

    event_id: str
    event_type: str
    aggregate_id: str
    body: bytes
    content_type: str = "application/json"
    attributes: Mapping[str, str] = field(default_factory=dict)
    trace: Mapping[str, str] = field(default_factory=dict)
    occurred_at: datetime | None = None

    def headers(self, prefix: str = "ce-", *, quoted: bool = False) -> dict[str, str]:
        """The headers of the message, for protocols that have headers.

        Args:
            prefix: the beginning of the names of attributes; the bridge's `attribute_prefix`.
            quoted: whether values are percent-encoded, as in the HTTP and NATS bindings, where headers are ASCII.
        """
        named = {f"{prefix}{name}": value for name, value in self.attributes.items()} | dict(self.trace)
        if quoted:
            named = {name: quoted_value(value) for name, value in named.items()}
        return named | {"content-type": self.content_type}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came in. Nothing in it can be trusted: any sender may have written anything.

    Attributes:
        body: the bytes of the body.
        headers: values by names; names are in lower case, values no longer percent-encoded.
        address: the channel, stream, subject, topic or path where the message was found.
        position: a text that is the same each time that this message comes, and that no other message has; "" if the
            server has none.
        event_type: the event type that the address says; "" if it says none. An event type in the message counts first.
        token: the bridge's own value, by which it acknowledges the message.
    """

    body: bytes
    headers: Mapping[str, str]
    address: str
    position: str = ""
    event_type: str = ""
    token: Any = field(default=None, compare=False, repr=False)


class Publisher(Protocol):
    """Sends messages. It is used by one process (a fork makes its own), and by any number of threads at once."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send all messages to the server, in this order and pipelined: `send` waits once for the whole batch.

        When it returns, the server has the messages; or they have left, if Features says that they aren't acknowledged.
        It connects when it is first called, and again after a failure; it waits no longer than the address's timeout.

        Raises:
            TransportError: any message may not have arrived. All are sent again later, so that some arrive twice.
            Unsendable: a message can never be sent: it is too large, or the protocol doesn't allow its address.
            PartlySent: these messages failed, each for its reason; the others have arrived, and are not sent again.
        """

    def close(self) -> None:
        """End connections and threads. Messages for which `send` has returned are not lost. May be called twice."""


class Subscriber(Protocol):
    """Receives messages. It is used by one thread."""

    def receive(self, timeout: float) -> Sequence[Received]:
        """The messages that are there, about AT_ONCE at most; none if the first doesn't come within `timeout` seconds.

        It connects when it is first called, and again after a failure. Messages that were received and not acknowledged
        come again, to this process or another, after a failure or after the address's `redeliver`.

        Raises:
            TransportError: the server is away; call again after a while.
        """

    def acknowledge(self, received: Sequence[Received]) -> None:
        """Tell the server that these messages are in our ledger, and may be forgotten. Called only after the commit.

        Raises:
            TransportError: some messages may come again, which their ids make harmless.
        """

    def close(self) -> None:
        """End the connection; messages not acknowledged are left to others. Called when `receive` has returned."""


class Bridge(Protocol):
    """The bridge of a URL. Its constructor checks the URL, and doesn't connect.

    A module in the folder of its kind of server defines one such class, called `Bridge`. The module is imported when a
    URL first names its scheme: only then its client has to be installed. A bridge of another package is found by an
    entry point of the group `events.bridges` that has the name of the scheme.

    Only the bridge says where events go: the publisher sends to `address`, and the subscriber, AsyncAPI, the catalog
    and `events doctor` ask the bridge.

    Attributes:
        features: the promises that this kind of bridge makes.
        schemes: the schemes of URLs that name this kind of bridge, in lower case.
        options: query parameters that only this kind has; those of all bridges are in events.bridges.address.
        attribute_prefix: the beginning of headers that hold CloudEvents attributes: `ce-` for HTTP, `ce_` for Kafka; ""
            if `features` say that there are no headers.
    """

    features: ClassVar[Features]
    schemes: ClassVar[Mapping[str, Scheme]]
    options: ClassVar[frozenset[str]]
    attribute_prefix: ClassVar[str]

    def address(self, event_type: str) -> str:
        """The channel, stream, subject, routing key, topic or path to which events of this type go.

        Raises:
            Unsendable: the server allows no such address.
        """

    def bindings(self, event_type: str) -> Mapping[str, Any]:
        """AsyncAPI's channel bindings for that address, by the name of the protocol; {} if the protocol has none.

        Raises:
            Unsendable: as `address` does.
        """

    def publisher(self) -> Publisher:
        """A new publisher."""

    def subscriber(self, wanted: Callable[[], Collection[str]]) -> Subscriber:
        """A new subscriber.

        Args:
            wanted: returns the event types that this service knows. They may become more while the service runs, so a
                bridge that has to name its subscriptions calls this again now and then.
        """


def quoted_value(value: str) -> str:
    """The value, percent-encoded as in CloudEvents' HTTP binding: space, `"`, `%`, and all but printable ASCII."""
    return quote(value, safe="!#$&'()*+,-./:;<=>?@[\\]^_`{|}~")


def unquoted_value(value: str) -> str:
    return unquote(value)
