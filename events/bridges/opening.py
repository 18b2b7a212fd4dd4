"""Bridges by the scheme of their URL. Each is a module, imported when a URL first names it, and its client with it."""

import importlib
from importlib.metadata import entry_points
from typing import Any

from events.bridges.address import Address, parse, scheme_of, wrong
from events.bridges.contract import Bridge
from events.errors import ConfigurationError
from events.settings import Settings

_MODULES = {  # scheme to module, and to the extra that brings its client; the rest is said by `schemes` of the class
    "http": ("http.bridge", "http"),
    "https": ("http.bridge", "http"),
    "kafka": ("kafka.bridge", "kafka"),
    "kafka+tls": ("kafka.bridge", "kafka"),
    "nats": ("nats.core", "nats"),
    "nats+jetstream": ("nats.jetstream", "nats"),
    "nats+tls": ("nats.core", "nats"),
    "nats+tls+jetstream": ("nats.jetstream", "nats"),
    "rabbitmq+topic": ("rabbitmq.bridge", ""),
    "rabbitmqs+topic": ("rabbitmq.bridge", ""),
    "redis+pubsub": ("redis.pubsub", ""),
    "redis+streams": ("redis.streams", ""),
    "rediss+pubsub": ("redis.pubsub", ""),
    "rediss+streams": ("redis.streams", ""),
}
_GROUP = "events.bridges"  # of entry points, for bridges of other packages


def open_bridge(url: str, settings: Settings) -> tuple[Address, Bridge]:
    """The bridge that a URL stands for; connects to nothing. Raises ConfigurationError, with the cure."""
    kind = _kind(url)
    address = parse(url, kind.schemes[scheme_of(url)], kind.options, settings)
    return address, kind(address)


def opened(settings: Settings) -> list[tuple[Address, Bridge]]:
    """Those of EVENTS_BRIDGES. Raises ConfigurationError if one is wrong, or two have one name."""
    bridges = [open_bridge(url, settings) for url in settings.bridges]
    names = [address.name for address, _ in bridges]
    for address, _ in bridges:
        if names.count(address.name) > 1:
            raise wrong(address.url, f"name={address.name}", "another bridge has this name; add ?name=... to one")
    return bridges


def configured(name: str, settings: Settings) -> tuple[Address, Bridge]:
    """The one of EVENTS_BRIDGES that has this name. Raises ConfigurationError."""
    found = {address.name: (address, bridge) for address, bridge in opened(settings)}
    if name not in found:
        known = ", ".join(found) or "none"
        raise ConfigurationError(f"EVENTS_BRIDGES has no bridge named {name!r}, only {known}; give its URL")
    return found[name]


def accepted_by(name: str, place: str, settings: Settings) -> tuple[str, ...] | None:
    """What the one of this name that leads to this place takes besides public events; None if EVENTS_BRIDGES has none.

    The name alone doesn't tell whose it is: by itself that is the scheme, of a partner's bridge as of a team's.
    """
    found = (address for address, _ in opened(settings) if (address.name, address.place) == (name, place))
    return next((address.accept for address in found), None)


def _kind(url: str) -> Any:
    scheme = scheme_of(url)
    if scheme in _MODULES:
        module, extra = _MODULES[scheme]
        try:
            return importlib.import_module(f"events.bridges.{module}").Bridge
        except ModuleNotFoundError as error:
            if not extra or (error.name or "").startswith("events"):
                raise
            cure = f"its client is not installed: pip install 'celery-domain-events[{extra}]'"
            raise wrong(url, "", cure) from error
    others = {found.name: found for found in entry_points(group=_GROUP)}
    if scheme in others:
        kind = others[scheme].load()
        if scheme not in getattr(kind, "schemes", ()):
            raise wrong(url, "", f"{others[scheme].value} has to say {scheme} in `schemes`; see events.bridges.Bridge")
        return kind
    known = ", ".join(f"{one}://" for one in sorted({*_MODULES, *others}))
    raise wrong(url, "", f"there is no bridge for {scheme}://; there are {known}")
