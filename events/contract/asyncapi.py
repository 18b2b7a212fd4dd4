"""The contract as AsyncAPI 3.0: which events others can count on, where they find them, and what is in them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from events.contract.routes import Route
from events.contract.schemas import bodies, headers
from events.event import DomainEvent
from events.integration import is_public
from events.registry import Handler

VERSION = "3.0.0"

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
        handlers: say which of them come in: public ones that a translator takes and none makes.
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
        key = keys[event.event_name]
        messages[key] = _message(event, names[event], routes)
        comes_in, goes_out = _directions(event, handlers)
        for action, wanted in (("send", goes_out), ("receive", comes_in)):
            if not wanted:
                continue
            for name, channel in _channels(event, key, action, routes).items():
                channels.setdefault(name, channel)
                operation = name if action == "send" else f"receive.{name}"
                operations[operation] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{name}"},
                    "messages": [{"$ref": f"#/channels/{name}/messages/{key}"}],
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


def _directions(event: type[DomainEvent], handlers: Iterable[Handler]) -> tuple[bool, bool]:
    """Whether it comes in, and whether it goes out."""
    taken = is_public(event) and any(event in handler.events and handler.publishes for handler in handlers)
    made = any(event in handler.publishes for handler in handlers)
    return taken, made or not taken


def _channels(event: type[DomainEvent], key: str, action: str, routes: Iterable[Route]) -> dict[str, Node]:
    """Where it is found: one channel for each address; with no bridge, one named after it."""
    if action == "send":
        used = [route for route in routes if route.takes(event)]
    else:
        used = [route for route in routes if route.inbound]
    messages = {key: {"$ref": f"#/components/messages/{key}"}}
    found: dict[str, Node] = {}
    for address in dict.fromkeys(route.address(event.event_name) for route in used) or (event.event_name,):
        there = [route for route in used if route.address(event.event_name) == address]
        channel: Node = {"address": address, "messages": messages}
        if there:
            channel["servers"] = [{"$ref": f"#/servers/{route.name}"} for route in there]
        bindings = {name: value for route in there for name, value in route.bindings(event.event_name).items()}
        if bindings:
            channel["bindings"] = bindings
        found[f"{key}.{there[0].name}" if there else key] = channel
    return found


def _message(event: type[DomainEvent], schema: str, routes: Iterable[Route]) -> Node:
    about = " ".join((event.__doc__ or "").strip().split("\n\n")[0].split())
    used = [route.headers for route in routes if route.takes(event) or route.inbound]
    return {
        "name": event.event_name,
        "title": event.__name__,
        **({"summary": about} if about else {}),
        "contentType": "application/json",
        "tags": [{"name": "public" if is_public(event) else "private"}],
        "headers": headers(event, used),
        "payload": {"$ref": f"#/components/schemas/{schema}"},
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
