"""The contract as AsyncAPI 3.0: the events on which other services can rely, their channels, and their schemas."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from events.bridges import FLAT, HANDLER
from events.contract.routes import Route
from events.contract.schemas import bodies, flat, headers, structured, webhook
from events.event import DomainEvent
from events.handling import Handler
from events.integration import is_public

VERSION = "3.0.0"
_AROUND = {"structured": ("application/cloudevents+json", structured), "webhook": ("application/json", webhook)}
_DATA = "data"  # the end of the key of a schema that holds only the event's own fields

Node = dict[str, Any]


def document(
    events: Iterable[type[DomainEvent]],
    handlers: Iterable[Handler] = (),
    routes: Sequence[Route] = (),
    *,
    title: str = "Events",
    version: str = "1.0.0",
) -> Node:
    """The document for these events.

    Args:
        handlers: tell which public events come in: those that a translator takes and no translator publishes, and, if
            a bridge receives events, those that any other handler takes.
        routes: the bridges.
        version: the version of the contract as a whole.
    """
    events = sorted(events, key=lambda event: event.event_name)
    handlers = list(handlers)
    names, schemas = bodies(events)
    keys = _keys([event.event_name for event in events])
    channels: Node = {}
    operations: Node = {}
    messages: Node = {}
    servers = {route.name: _server(route) for route in routes}
    for event in events:
        key, own = keys[event.event_name], names[event]
        comes_in, goes_out = _directions(event, handlers, any(route.inbound for route in routes))
        ways = {
            "send": [route for route in routes if route.takes(event)] if goes_out else None,
            "receive": [route for route in routes if route.inbound] if comes_in else None,
        }
        used = [route for way in ways.values() for route in way or ()]
        for form in sorted({route.form for route in used} & _AROUND.keys()):
            content_type, around = _AROUND[form]
            payload = around(event, f"{own}.{_DATA}")
            messages[f"{key}.{form}"] = _message(event) | {"contentType": content_type, "payload": payload}
            schemas[f"{own}.{_DATA}"] = schemas[own]
        if any(not way or any(route.form == FLAT for route in way) for way in ways.values() if way is not None):
            beside = [route.headers for route in used if route.form == FLAT]
            prefixes = [prefix for prefix in beside if prefix is not None]
            messages[key] = _message(event) | {"payload": {"$ref": f"#/components/schemas/{own}"}}
            if prefixes or not beside:
                messages[key]["headers"] = headers(event, prefixes)
            schemas[own] = flat(event, schemas[own])
        else:
            del schemas[own]
        for action, way in ways.items():
            if way is None:
                continue
            for name, channel in _channels(event, key, way).items():
                channels.setdefault(name, channel)
                operations[name if action == "send" else f"receive.{name}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{name}"},
                    "messages": [{"$ref": f"#/channels/{name}/messages/{message}"} for message in channel["messages"]],
                }
    return {
        "asyncapi": VERSION,
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        **({"servers": servers} if servers else {}),
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _directions(event: type[DomainEvent], handlers: Iterable[Handler], brought: bool) -> tuple[bool, bool]:
    """Whether the event comes in, and whether it goes out. Only translators say which events they publish.

    Args:
        brought: whether a bridge receives events.
    """
    public = is_public(event)
    takers = [taker for taker in handlers if public and event in taker.events and not taker.name.startswith(HANDLER)]
    translated = any(taker.publishes for taker in takers)
    published = any(event in handler.publishes for handler in handlers)
    return translated or (brought and bool(takers) and not published), published or not translated


def _channels(event: type[DomainEvent], key: str, routes: Iterable[Route]) -> dict[str, Node]:
    """The channels of an event: one for each address and form; without a bridge, one with the name of the event.

    If a bridge's server allows no address for the event, the channel has no address, and a description says why.
    """
    places: dict[tuple[str | None, str, str], list[Route]] = {}
    for route in routes:
        place = route.place(event.event_name)
        places.setdefault((place.address, place.refusal, route.form), []).append(route)
    channels: dict[str, Node] = {}
    for (address, refusal, form), routes_there in (places or {(event.event_name, "", FLAT): []}).items():
        message = key if form == FLAT else f"{key}.{form}"
        channel: Node = {"address": address, "messages": {message: {"$ref": f"#/components/messages/{message}"}}}
        if refusal:
            channel["description"] = f"Nothing of this type can be sent there: {refusal}"
        if routes_there:
            channel["servers"] = [{"$ref": f"#/servers/{route.name}"} for route in routes_there]
        bindings: Node = {}
        for route in routes_there:
            bindings |= route.place(event.event_name).bindings
        if bindings:
            channel["bindings"] = bindings
        channels[f"{key}.{routes_there[0].name}" if routes_there else key] = channel
    return channels


def _message(event: type[DomainEvent]) -> Node:
    """The parts of a message that are the same in every form."""
    about = " ".join((event.__doc__ or "").strip().split("\n\n")[0].split())
    return {
        "name": event.event_name,
        "title": event.__name__,
        **({"summary": about} if about else {}),
        "contentType": "application/json",
        "tags": [{"name": "public" if is_public(event) else "private"}],
        "x-schema-version": event.schema_version,
    }


def _server(route: Route) -> Node:
    server: Node = {"host": route.host, "protocol": route.protocol}
    if route.path:
        server["pathname"] = route.path
    return server


def _keys(names: Iterable[str]) -> dict[str, str]:
    """A key of the document for each event name. Keys may hold only letters, digits and a few signs."""
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        key = wanted = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        number = 1
        while key in taken:
            number += 1
            key = f"{wanted}_{number}"
        taken.add(key)
        keys[name] = key
    return keys
