"""Where events leave the application, as far as EVENTS_BRIDGES and EVENTS_FORWARD say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from events.event import DomainEvent
from events.integration import is_public
from events.settings import Settings

EVERY = "*"
_PROTOCOLS = {"rediss": "redis", "nats": "nats", "tls": "nats", "kafka+ssl": "kafka-secure"}
_IN_SUBJECTS = ".-_!$&'()+,:;=@[]^`{|}~"
_PREFIXES = {"kafka": "ce_", "kafka-secure": "ce_", "amqp": "cloudEvents_", "amqps": "cloudEvents_"}


@dataclass(frozen=True, slots=True)
class Route:
    """A bridge.

    Attributes:
        name: of the bridge, without password as all of this.
        forward: event types; empty for those that are public, `*` for all.
        prefix: what addresses begin with.
        headers: what CloudEvents attributes begin with in the headers; None if nothing stands beside the body.
        structured: the body is one CloudEvent, and nothing stands beside it.
        stream: the one place for all events, if it is not one for each.
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
    structured: bool = False
    stream: str = ""

    def takes(self, event: type[DomainEvent]) -> bool:
        """Whether this event goes out by it."""
        return self.outbound and is_forwarded(event, self.forward)

    def address(self, event_name: str) -> str:
        """Where on the server it is found."""
        if self.protocol in ("http", "https"):
            return self.path or "/"
        if self.protocol == "redis":
            return self.stream or f"{self.prefix}:{event_name}"
        if self.protocol == "nats":  # in whose subjects there is no room for spaces and wildcards
            event_name = quote(event_name, safe=_IN_SUBJECTS)
        return f"{self.prefix}.{event_name}"

    def bindings(self, event_name: str) -> dict[str, Any]:
        """What the protocol's binding of a channel says."""
        if self.protocol in ("amqp", "amqps"):
            exchange = {"name": self.prefix, "type": "topic", "durable": True, "autoDelete": False}
            return {"amqp": {"is": "routingKey", "exchange": exchange}}
        if self.protocol.startswith("kafka"):
            return {"kafka": {"topic": self.address(event_name)}}
        return {}


def is_forwarded(event: type[DomainEvent], forward: Sequence[str]) -> bool:
    """Whether a list of what to forward means this event."""
    return event.event_name in forward or EVERY in forward or (not forward and is_public(event))


def forwarded(settings: Settings) -> tuple[str, ...]:
    """What EVENTS_FORWARD says."""
    return tuple(getattr(settings, "forward", ()))


def routes_of(settings: Settings) -> list[Route]:
    """The bridges that are configured."""
    return [_route(url, forwarded(settings)) for url in getattr(settings, "bridges", ())]


def _route(url: str, forward: tuple[str, ...]) -> Route:
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    scheme = parts.scheme.partition("+")[0]
    protocol = _PROTOCOLS.get(parts.scheme, _PROTOCOLS.get(scheme, scheme))
    direction = options.get("direction", "out")
    own = tuple(part.strip() for part in options["forward"].split(",") if part.strip()) if "forward" in options else ()
    return Route(
        name=options.get("name", scheme),
        protocol=protocol,
        host=parts.netloc.rpartition("@")[2],
        path=parts.path.rstrip("/"),
        outbound=direction != "in",
        inbound=direction != "out",
        forward=own or forward,
        prefix=options.get("prefix", "events"),
        headers=None if "pubsub" in parts.scheme else _PREFIXES.get(protocol, "ce-"),
        structured=options.get("format") == "structured",
        stream=options.get("stream", ""),
    )
