"""Routes: where events leave the application, by EVENTS_BRIDGES and EVENTS_FORWARD."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from events.bridges import EXCHANGE, Address, forwarded, opened
from events.event import DomainEvent
from events.settings import Settings

_PROTOCOLS = {
    "rediss+streams": "redis",
    "rediss+pubsub": "redis",
    "rabbitmq+topic": "amqp",
    "rabbitmqs+topic": "amqps",
    "kafka+tls": "kafka-secure",
}
_IN_SUBJECTS = ".-_!$&'()+,:;=@[]^`{|}~"
_PREFIXES = {"kafka": "ce_", "kafka-secure": "ce_", "amqp": "cloudEvents_", "amqps": "cloudEvents_"}


@dataclass(frozen=True, slots=True)
class Route:
    """The route of a bridge. No field holds a password.

    Attributes:
        name: the name of the bridge.
        forward: event types; empty for all public events, `*` for all events.
        prefix: the beginning of all addresses.
        headers: the beginning of headers that hold CloudEvents attributes; None if messages have no such headers.
        form: the form of messages: `flat`, or `structured` or `webhook`, whose bodies hold the data as a member.
        stream: the one address for all events; "" if each event type has its own.
    """

    name: str
    protocol: str
    host: str
    path: str = ""
    outbound: bool = True
    inbound: bool = False
    forward: tuple[str, ...] = ()
    prefix: str = "events"
    headers: str | None = "ce-"
    form: str = "flat"
    stream: str = ""

    def takes(self, event: type[DomainEvent]) -> bool:
        """Whether the bridge forwards this event."""
        return self.outbound and forwarded(event, self.forward)

    def address(self, event_name: str) -> str:
        """The address of an event type on the server."""
        if self.protocol in ("http", "https"):
            return self.path or "/"
        if self.protocol == "redis":
            return self.stream or f"{self.prefix}:{event_name}"
        if self.protocol in ("amqp", "amqps"):
            return event_name
        if self.protocol.startswith("kafka") and self.stream:
            return self.stream
        if self.protocol == "nats":  # a subject can't hold spaces and wildcards
            event_name = quote(event_name, safe=_IN_SUBJECTS)
        return f"{self.prefix}.{event_name}"

    def bindings(self, event_name: str) -> dict[str, Any]:
        """The bindings of a channel, by its protocol."""
        if self.protocol in ("amqp", "amqps"):
            exchange = {"name": self.prefix, "type": "topic", "durable": True, "autoDelete": False}
            return {"amqp": {"is": "routingKey", "exchange": exchange}}
        if self.protocol.startswith("kafka"):
            return {"kafka": {"topic": self.address(event_name)}}
        return {}


def routes_of(settings: Settings) -> list[Route]:
    """The routes of all configured bridges. Raises ConfigurationError if a bridge's URL is wrong."""
    return [_route(address) for address, _ in opened(settings)]


def _route(address: Address) -> Route:
    parts = urlsplit(address.url)
    protocol = _PROTOCOLS.get(address.scheme, address.scheme.partition("+")[0])
    amqp = protocol in ("amqp", "amqps")
    return Route(
        name=address.name,
        protocol=protocol,
        host=parts.netloc.rpartition("@")[2],
        path=parts.path.rstrip("/"),
        outbound=address.outbound,
        inbound=address.inbound,
        forward=address.forward,
        prefix=address.options.get("exchange", EXCHANGE) if amqp else address.prefix,
        headers=None if "pubsub" in address.scheme else _PREFIXES.get(protocol, "ce-"),
        form=address.form,
        stream=address.options.get("topic" if protocol.startswith("kafka") else "stream", ""),
    )
