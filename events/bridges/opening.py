"""Opens bridges by the scheme of their URL. A bridge's module and client are imported when a URL names it."""

import importlib
from importlib.metadata import entry_points
from typing import Any

from events.bridges.address import Address, parse, scheme_of, wrong
from events.bridges.contract import Bridge
from events.errors import ConfigurationError
from events.settings import Settings

_MODULES = {  # by scheme: the module, and the extra that installs its client; the rest is in `schemes` of the class
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
# What every bridge has, as Bridge says; those of other packages are asked for it before anything is sent.
_SAID = (
    "features",
    "schemes",
    "options",
    "attribute_prefix",
    "address",
    "bindings",
    "publisher",
    "subscriber",
)
_GROUP = "events.bridges"  # the group of entry points for bridges of other packages


def open_bridge(url: str, settings: Settings) -> tuple[Address, Bridge]:
    """The bridge of a URL, which isn't connected yet. Raises ConfigurationError, with the cure."""
    kind = _kind(url)
    address = parse(url, kind.schemes[scheme_of(url)], kind.options, settings)
    return address, kind(address)


def opened(settings: Settings) -> list[tuple[Address, Bridge]]:
    """The bridges of EVENTS_BRIDGES. Raises ConfigurationError if a URL is wrong, or two bridges have one name."""
    bridges = [open_bridge(url, settings) for url in settings.bridges]
    names = [address.name for address, _ in bridges]
    for address, _ in bridges:
        if names.count(address.name) > 1:
            raise wrong(address.url, f"name={address.name}", "another bridge has this name; add ?name=... to one")
    return bridges


def configured(name: str, settings: Settings) -> tuple[Address, Bridge]:
    """The bridge of EVENTS_BRIDGES with this name. Raises ConfigurationError if there is none."""
    by_name = {address.name: (address, bridge) for address, bridge in opened(settings)}
    if name not in by_name:
        known = ", ".join(by_name) or "none"
        raise ConfigurationError(f"EVENTS_BRIDGES has no bridge named {name!r}, only {known}; give its URL")
    return by_name[name]


def accepted_by(name: str, place: str, settings: Settings) -> tuple[str, ...] | None:
    """The event types that a bridge accepts besides public events; None if EVENTS_BRIDGES has no such bridge.

    Args:
        name: the name of the bridge. It is not enough: by default it is the scheme, of a partner's bridge and of ours.
        place: the `Address.place` of the bridge.
    """
    addresses = (address for address, _ in opened(settings))
    return next((address.accept for address in addresses if (address.name, address.place) == (name, place)), None)


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
    others = {entry_point.name: entry_point for entry_point in entry_points(group=_GROUP)}
    if scheme in others:
        kind = others[scheme].load()
        lacking = [name for name in _SAID if not hasattr(kind, name)]
        if not lacking and scheme not in kind.schemes:
            lacking = [f"{scheme} in schemes"]
        if lacking:
            raise wrong(url, "", f"{others[scheme].value} lacks {', '.join(lacking)}; see events.bridges.Bridge")
        return kind
    known = ", ".join(f"{name}://" for name in sorted({*_MODULES, *others}))
    raise wrong(url, "", f"there is no bridge for {scheme}://; there are {known}")
