"""Bridges: our events to other services, and theirs to us. The contract, in words; each kind of server has a folder in
`events/bridges` that keeps it, and `tests/conformance/bridge` is the suite that says whether it does.

A bridge is made from its URL (`address`). Outbound it is a batch handler named `bridge.<name>`: retries, dead letters,
pausing and metrics are those of any handler (`forwarding`). Inbound it is a loop that receives, writes to the ledger
and acknowledges, in this order (`receiving`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol
from urllib.parse import quote, unquote

HANDLER = "bridge."  # what handlers' names, and the queues of parked messages, begin with
KEY = "bridge"  # in an event's metadata: the bridge that it came through, to which it is not sent back
AT_ONCE = 100  # messages in a batch, either way


@dataclass(frozen=True, slots=True)
class Features:
    """What a kind of bridge can do. What it can't is no fault, but said: the suite asks for no more than this.

    Attributes:
        durable: what was sent waits for a subscriber that is away, and outlives a restart of the server.
        ordered: the events of one aggregate arrive in the order in which they were sent, as long as nothing fails;
            of several types only those that share an address.
        headers: attributes stand beside the body; without, they are in the body or lost.
        ids: the same message has the same position whenever it comes, so that one without an id has one all the same.
        acknowledged: `send` returns when the server has everything, and what isn't acknowledged comes again.
        retained: what was sent before anybody has ever subscribed waits, too.
        direct: there is no server between: `send` returns when the other side has committed, or is told that it hasn't.
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
    """What the scheme of a URL says about the server that the URL leads to.

    Attributes:
        protocol: as AsyncAPI names it: `redis`, `amqps`, `kafka-secure`.
        port: that is meant if the URL names none; None if nobody can tell whether the server listens.
        tls: connections are encrypted, so that the URL may name a file of certificates, `?ca=`.
        forms: what messages can look like, `?format=`; see events.bridges.cloudevents.
    """

    protocol: str
    port: int | None = None
    tls: bool = False
    forms: tuple[str, ...] = ("flat", "structured")


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way out. A bridge decides about the address and the headers, never about the body.

    Attributes:
        event_id, event_type, aggregate_id: of the event; for the address, the key, the server's own deduplication.
        body: UTF-8 JSON.
        content_type: of the body.
        attributes: CloudEvents attributes by their plain names (`id`, `source`, `type`); none if the body has them.
        trace: `traceparent` and `tracestate`, as far as there are any.
        occurred_at: when the event happened, aware.
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
        """All that stands beside the body, for protocols that have room for it.

        Args:
            prefix: what the names of attributes begin with; the bridge's `attribute_prefix`.
            quoted: percent-encoded, as the HTTP and NATS bindings want it, where headers are ASCII.
        """
        named = {f"{prefix}{name}": value for name, value in self.attributes.items()} | dict(self.trace)
        if quoted:
            named = {name: quoted_value(value) for name, value in named.items()}
        return named | {"content-type": self.content_type}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came in. Nothing of it can be trusted: it may be anybody's, and anything.

    Attributes:
        body: its bytes.
        headers: text to text, names in lower case, values no longer percent-encoded.
        address: channel, stream, subject, topic: where it was found.
        position: the same whenever this very message comes again, and no other's; "" if there is no such thing.
        event_type: what the address says about it; "" if nothing. What the message itself says comes first.
        token: the bridge's own, to acknowledge it by.
    """

    body: bytes
    headers: Mapping[str, str]
    address: str
    position: str = ""
    event_type: str = ""
    token: Any = field(default=None, compare=False, repr=False)


class Publisher(Protocol):
    """Sends. Made and used in one process (a fork makes its own), by any number of its threads at once."""

    def send(self, messages: Sequence[Message]) -> None:
        """Give all of them to the server, in this order and pipelined: one wait for the batch, not one a message.

        When it returns, the server has them; where Features says that they aren't acknowledged, they have left.
        It connects when first needed, and again after a failure; it waits no longer than the address's timeout.

        Raises:
            TransportError: any of them may not have arrived. All are sent again later, so others arrive twice.
            Unsendable: one of them never can: too large, an address that the protocol doesn't allow.
            PartlySent: these failed, each for its reason; the others have arrived, and are not sent again.
        """

    def close(self) -> None:
        """Let go of connections and threads. What `send` returned from is not lost by it. Twice does nothing."""


class Subscriber(Protocol):
    """Receives. Used by one thread, except for `close`."""

    def receive(self, timeout: float) -> Sequence[Received]:
        """What there is, up to about AT_ONCE; waits up to `timeout` seconds for the first, and then returns none.

        It connects when first needed, and again after a failure. What was received and not acknowledged comes again,
        to this process or another, after a failure or after the address's `redeliver`.

        Raises:
            TransportError: the server is away; call again after a while.
        """

    def acknowledge(self, received: Sequence[Received]) -> None:
        """These are in our ledger: the server may forget them. Called after the commit, and never before.

        Raises:
            TransportError: some may come again, which their ids make harmless.
        """

    def close(self) -> None:
        """Let go of everything; what is not acknowledged is left to others. After `receive` has returned."""


class Bridge(Protocol):
    """One URL. Making it checks the URL, and connects to nothing.

    A module in the folder of its kind of server defines one such class, called `Bridge`, and is imported when a URL
    first names it: only then its client has to be installed. A bridge of another package is found by an entry point of
    the group `events.bridges`, named after the URL's scheme.

    Where events go is said here alone: the publisher sends to `address`, and the subscriber, AsyncAPI, the catalog and
    `events doctor` ask the bridge.

    Attributes:
        features: what this kind of bridge can do.
        schemes: of URLs that name this kind of bridge, in lower case.
        options: query parameters of its own; those of all bridges are in events.bridges.address.
        attribute_prefix: what the names of CloudEvents attributes begin with beside the body: `ce-` for HTTP, `ce_` for
            Kafka; "" if `features` say that there are no headers.
    """

    features: ClassVar[Features]
    schemes: ClassVar[Mapping[str, Scheme]]
    options: ClassVar[frozenset[str]]
    attribute_prefix: ClassVar[str]

    def address(self, event_type: str) -> str:
        """Where events of this type go: the channel, stream, subject, routing key, topic or path.

        Raises:
            Unsendable: the server allows no such address.
        """

    def bindings(self, event_type: str) -> Mapping[str, Any]:
        """What AsyncAPI's binding of the protocol says about that address, by the binding's name; {} if there is none.

        Raises:
            Unsendable: as `address` does.
        """

    def publisher(self) -> Publisher:
        """A new one."""

    def subscriber(self, wanted: Callable[[], Collection[str]]) -> Subscriber:
        """A new one. `wanted`: the event types that this service knows, which may become more while it runs; a bridge
        that has to name what it subscribes to asks again now and then."""


def quoted_value(value: str) -> str:
    """Percent-encoded as in the HTTP binding of CloudEvents: what is no printable ASCII, space, `"` and `%`."""
    return quote(value, safe="!#$&'()*+,-./:;<=>?@[\\]^_`{|}~")


def unquoted_value(value: str) -> str:
    return unquote(value)
