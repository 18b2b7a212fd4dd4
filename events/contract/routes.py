"""Where events leave the application, as far as EVENTS_BRIDGES and EVENTS_FORWARD say. Each bridge is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from events.bridges import Address, Bridge, forwarded, opened
from events.errors import Unsendable
from events.event import DomainEvent
from events.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bridge puts the events of one type.

    Attributes:
        address: on the server; None if the server allows no address for such an event.
        bindings: what AsyncAPI's binding of the protocol says about the address.
        refusal: why there is no address.
    """

    address: str | None
    bindings: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A bridge that is configured, as others may know it: without passwords.

    Attributes:
        configured: what its URL says.
        bridge: what says where events go.
    """

    configured: Address
    bridge: Bridge

    @property
    def name(self) -> str:
        return self.configured.name

    @property
    def protocol(self) -> str:
        """As AsyncAPI names it."""
        return self.bridge.schemes[self.configured.scheme].protocol

    @property
    def host(self) -> str:
        return urlsplit(self.configured.url).netloc.rpartition("@")[2]

    @property
    def path(self) -> str:
        """Of the URL: a database, a virtual host, the path of a webhook; "" if it says none."""
        return urlsplit(self.configured.url).path.rstrip("/")

    @property
    def outbound(self) -> bool:
        return self.configured.outbound

    @property
    def inbound(self) -> bool:
        return self.configured.inbound

    @property
    def forward(self) -> tuple[str, ...]:
        """Event types; empty for those that are public, `*` for all."""
        return self.configured.forward

    @property
    def form(self) -> str:
        """What messages look like: `flat`, or `structured` or `webhook`, whose bodies hold the data as a member."""
        return self.configured.form

    @property
    def headers(self) -> str | None:
        """What CloudEvents attributes begin with in the headers; None if nothing stands beside the body."""
        return self.bridge.attribute_prefix if self.bridge.features.headers else None

    def takes(self, event: type[DomainEvent]) -> bool:
        """Whether this event goes out by it."""
        return self.outbound and forwarded(event, self.forward)

    def place(self, event_name: str) -> Place:
        """Where on the server the event is found."""
        try:
            return Place(self.bridge.address(event_name), self.bridge.bindings(event_name))
        except Unsendable as refused:
            return Place(None, refusal=str(refused))


def routes_of(settings: Settings) -> list[Route]:
    """The bridges that are configured. Raises ConfigurationError if one is wrong."""
    return [Route(address, bridge) for address, bridge in opened(settings)]
