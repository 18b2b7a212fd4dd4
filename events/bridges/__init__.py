"""Bridges by the scheme of their URL. Each is one file, imported when a URL first names it, and its client with it."""

import importlib
from importlib.metadata import entry_points
from typing import Any

from events.bridge_url import Address, parse, scheme_of, wrong
from events.bridging import Bridge
from events.errors import ConfigurationError
from events.settings import Settings

__all__ = ["accepted_by", "configured", "open_bridge", "opened"]

_FILES = {  # scheme to module, and to the extra that brings its client
    "http": ("http", "http"),
    "https": ("http", "http"),
    "kafka": ("kafka", "kafka"),
    "kafka+tls": ("kafka", "kafka"),
    "nats": ("nats_core", "nats"),
    "nats+jetstream": ("nats_jetstream", "nats"),
    "nats+tls": ("nats_core", "nats"),
    "nats+tls+jetstream": ("nats_jetstream", "nats"),
    "rabbitmq+topic": ("rabbitmq", ""),
    "rabbitmqs+topic": ("rabbitmq", ""),
    "redis+pubsub": ("redis_pubsub", ""),
    "redis+streams": ("redis_streams", ""),
    "rediss+pubsub": ("redis_pubsub", ""),
    "rediss+streams": ("redis_streams", ""),
}
_GROUP = "events.bridges"  # of entry points, for bridges of other packages


def open_bridge(url: str, settings: Settings) -> tuple[Address, Bridge]:
    """The bridge that a URL stands for; connects to nothing. Raises ConfigurationError, with the cure."""
    kind = _kind(url)
    address = parse(url, kind.options, settings)
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
    if scheme in _FILES:
        file, extra = _FILES[scheme]
        try:
            return importlib.import_module(f"{__name__}.{file}").Bridge
        except ModuleNotFoundError as error:
            if not extra or (error.name or "").startswith("events"):
                raise
            cure = f"its client is not installed: pip install 'celery-domain-events[{extra}]'"
            raise wrong(url, "", cure) from error
    others = {found.name: found for found in entry_points(group=_GROUP)}
    if scheme in others:
        return others[scheme].load()
    known = ", ".join(f"{one}://" for one in sorted({*_FILES, *others}))
    raise wrong(url, "", f"there is no bridge for {scheme}://; there are {known}")
