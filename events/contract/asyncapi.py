"""The contract as AsyncAPI 3.0: which events others can count on, where they find them, and what is in them."""

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
_DATA = "data"  # what the key of a schema ends with that is of the event's own fields alone

Node = dict[str, Any]


def document(
    events: Iterable[type[DomainEvent]],
    handlers: Iterable[Handler] = (),
    routes: Sequence[Route] = (),
    *,
    title: str = "Events",
    version: str = "1.0.0",
) -> Node:
    """The document, of these events.

    Args:
        handlers: say which public ones come in: those that a translator takes and none makes, and, if a bridge brings
            events here, those that any other handler takes.
        version: of the contract as a whole.
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
                    "messages": [{"$ref": f"#/channels/{name}/messages/{said}"} for said in channel["messages"]],
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
    """Whether it comes in, and whether it goes out. Code that is no translator may publish whatever it likes."""
    public = is_public(event)
    takers = [one for one in handlers if public and event in one.events and not one.name.startswith(HANDLER)]
    translated = any(handler.publishes for handler in takers)
    made = any(event in handler.publishes for handler in handlers)
    return translated or (brought and bool(takers) and not made), made or not translated


def _channels(event: type[DomainEvent], key: str, routes: Iterable[Route]) -> dict[str, Node]:
    """Where it is found: one channel for each address and form; with no bridge, one named after it.

    A bridge whose server allows no address for it has a channel without one, and a word why.
    """
    places: dict[tuple[str | None, str, str], list[Route]] = {}
    for route in routes:
        place = route.place(event.event_name)
        places.setdefault((place.address, place.refusal, route.form), []).append(route)
    found: dict[str, Node] = {}
    for (address, refusal, form), there in (places or {(event.event_name, "", FLAT): []}).items():
        said = key if form == FLAT else f"{key}.{form}"
        channel: Node = {"address": address, "messages": {said: {"$ref": f"#/components/messages/{said}"}}}
        if refusal:
            channel["description"] = f"Nothing of this type can be sent there: {refusal}"
        if there:
            channel["servers"] = [{"$ref": f"#/servers/{route.name}"} for route in there]
        bindings = {name: value for route in there for name, value in route.place(event.event_name).bindings.items()}
        if bindings:
            channel["bindings"] = bindings
        found[f"{key}.{there[0].name}" if there else key] = channel
    return found


def _message(event: type[DomainEvent]) -> Node:
    """What is said of it in whatever form."""
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
    """Event names as keys of the document, which may hold letters, digits and a few signs."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        key = wanted = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        number = 1
        while key in taken:
            number += 1
            key = f"{wanted}_{number}"
        taken.add(key)
        found[name] = key
    return found
