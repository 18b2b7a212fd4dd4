"""Routes: where events leave the application, by EVENTS_BRIDGES and EVENTS_FORWARD. Each bridge tells its addresses."""

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
    """The place to which a bridge sends the events of one type.

    Attributes:
        address: the address on the server; None if the server allows no address for such an event.
        bindings: the bindings of the channel, by AsyncAPI's name of the protocol.
        refusal: why there is no address; "" if there is one.
    """

    address: str | None
    bindings: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """The route of a configured bridge. No property shows a password.

    Attributes:
        configured: the bridge's URL, taken apart; it may hold secrets.
        bridge: tells the address of each event type.
    """

    configured: Address
    bridge: Bridge

    @property
    def name(self) -> str:
        return self.configured.name

    @property
    def protocol(self) -> str:
        """The name that AsyncAPI has for the protocol."""
        return self.bridge.schemes[self.configured.scheme].protocol

    @property
    def host(self) -> str:
        return urlsplit(self.configured.url).netloc.rpartition("@")[2]

    @property
    def path(self) -> str:
        """The path of the URL: a database, a virtual host, the path of a webhook; "" if the URL has no path."""
        return urlsplit(self.configured.url).path.rstrip("/")

    @property
    def outbound(self) -> bool:
        return self.configured.outbound

    @property
    def inbound(self) -> bool:
        return self.configured.inbound

    @property
    def forward(self) -> tuple[str, ...]:
        """Event types; empty for all public events, `*` for all events."""
        return self.configured.forward

    @property
    def form(self) -> str:
        """The form of messages: `flat`, or `structured` or `webhook`, whose bodies hold the data as a member."""
        return self.configured.form

    @property
    def headers(self) -> str | None:
        """The beginning of headers that hold CloudEvents attributes; None if messages have no headers."""
        return self.bridge.attribute_prefix if self.bridge.features.headers else None

    def takes(self, event: type[DomainEvent]) -> bool:
        """Whether the bridge forwards this event."""
        return self.outbound and forwarded(event, self.forward)

    def place(self, event_name: str) -> Place:
        """The place of an event type on the server."""
        try:
            return Place(self.bridge.address(event_name), self.bridge.bindings(event_name))
        except Unsendable as refused:
            return Place(None, refusal=str(refused))


def routes_of(settings: Settings) -> list[Route]:
    """The routes of all configured bridges. Raises ConfigurationError if a bridge's URL is wrong."""
    return [Route(address, bridge) for address, bridge in opened(settings)]
