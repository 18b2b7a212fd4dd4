"""The catalog: every event, its fields, its publishers and handlers, and the bridges that forward it.

The code tells what is declared. The ledger tells which handlers are subscribed, those of other services, too, and in
which handlers events were published. Without a database, the catalog holds what the code tells.
"""

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import DBAPIError

from events.bridges import HANDLER
from events.contract.routes import Route, routes_of
from events.errors import EventsError
from events.event import DomainEvent, all_events, own_fields
from events.handling import Handler, all_handlers
from events.integration import is_public
from events.pipeline import Pipeline
from events.store import file_of
from events.text import first_line, redact

NEWEST = 2000  # events of which the ledger tells the cause


@dataclass(frozen=True, slots=True)
class EventField:
    """A field of an event. `masked`: the paths that are hidden, of the field itself or of fields within it."""

    name: str
    type: str
    required: bool
    about: str = ""
    masked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogEvent:
    """An event type.

    Attributes:
        loaded: whether code of this process defines the event; else the catalog knows only its name.
        translators: the translators that publish the event.
        caused_by: the events in whose handlers the event was published, by the ledger.
        forwarded_to: the bridges that forward the event.
    """

    name: str
    loaded: bool = True
    public: bool = False
    version: int = 1
    about: str = ""
    module: str = ""
    aggregate: str = ""
    fields: Sequence[EventField] = ()
    masked: Sequence[str] = ()
    handlers: Sequence[str] = ()
    translators: Sequence[str] = ()
    caused_by: Sequence[str] = ()
    forwarded_to: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CatalogHandler:
    """A handler. `subscribed`: whether the ledger knows it; None if the ledger could not be asked."""

    name: str
    kind: str = "handler"  # or translator, or bridge
    loaded: bool = True
    subscribed: bool | None = None
    about: str = ""
    queue: str = ""
    events: Sequence[str] = ()
    publishes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CatalogBridge:
    """A configured bridge. No field holds a secret of its URL.

    Attributes:
        protocol: the name that AsyncAPI has for the protocol.
        path: the path of the URL.
        forward: event types; empty for all public events, `*` for all events.
        headers: the beginning of headers that hold CloudEvents attributes; None if messages have no headers.
        form: the form of messages: `flat`, `structured` or `webhook`.
        addresses: the address of each event type on the server; None if the server allows no such address.
    """

    name: str
    protocol: str
    host: str
    path: str
    outbound: bool
    inbound: bool
    forward: Sequence[str]
    headers: str | None
    form: str
    addresses: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """The ledger's part of the catalog: events by handler, causes by event, masked paths by event."""

    subscribed: Mapping[str, Iterable[str]] = field(default_factory=dict)
    caused: Mapping[str, Iterable[str]] = field(default_factory=dict)
    masked: Mapping[str, Iterable[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The whole catalog. `unknown`: why the ledger could not be asked; "" if it was asked."""

    events: Sequence[CatalogEvent]
    handlers: Sequence[CatalogHandler]
    routes: Sequence[CatalogBridge] = ()
    unknown: str = ""


def collect(pipeline: Pipeline) -> Catalog:
    """The catalog of the code that this process has loaded, and of its ledger. Works without the database, too."""
    facts, unknown = _asked(pipeline)
    queue = pipeline.settings.queue
    return catalog_of(all_events(), all_handlers(), routes_of(pipeline.settings), queue, facts, unknown)


def catalog_of(
    events: Iterable[type[DomainEvent]],
    handlers: Iterable[Handler],
    routes: Sequence[Route] = (),
    queue: str = "",
    facts: LedgerFacts | None = None,
    unknown: str = "",
) -> Catalog:
    """The catalog of these events and handlers.

    Args:
        queue: the queue of handlers that name no queue.
        facts: None if the ledger could not be asked.
        unknown: why the ledger could not be asked.
    """
    known = {event.event_name: event for event in events}
    by_name = {handler.name: _handler(handler, queue, facts) for handler in handlers}
    of_ledger = facts or LedgerFacts()
    for name, types_ in of_ledger.subscribed.items():
        if name not in by_name:
            kind = "bridge" if name.startswith(HANDLER) else "handler"
            by_name[name] = CatalogHandler(name, kind, loaded=False, subscribed=True, events=sorted(types_))
    ordered = sorted(by_name.values(), key=lambda handler: handler.name)
    names = {*known, *of_ledger.caused, *(cause for causes in of_ledger.caused.values() for cause in causes)}
    names.update(*(handler.events for handler in ordered), *(handler.publishes for handler in ordered))
    return Catalog(
        events=[_event(name, known.get(name), ordered, routes, of_ledger) for name in sorted(names)],
        handlers=ordered,
        routes=[_bridge(route, known.values()) for route in routes],
        unknown=unknown,
    )


def _asked(pipeline: Pipeline) -> tuple[LedgerFacts | None, str]:
    """The facts of the ledger; or None, and why the ledger could not be asked."""
    database = pipeline.ledger.engine.url
    if database.get_backend_name() == "sqlite" and not file_of(database.database).exists():
        return None, f"there is no file {database.database}"  # a question would create the file
    try:
        pipeline.check()
        ledger = pipeline.ledger
        lineage, masked = ledger.lineage, ledger.subscriptions.masked()
        return LedgerFacts(lineage.subscribed(), lineage.caused(NEWEST), masked), ""
    except (EventsError, DBAPIError) as error:
        return None, redact(first_line(error))


def _handler(handler: Handler, queue: str, facts: LedgerFacts | None) -> CatalogHandler:
    kind = "translator" if handler.publishes else "bridge" if handler.name.startswith(HANDLER) else "handler"
    return CatalogHandler(
        name=handler.name,
        kind=kind,
        subscribed=None if facts is None else handler.name in facts.subscribed,
        about=_about(handler.call) or _about(type(getattr(handler.call, "__self__", None))),
        queue=handler.queue or queue,
        events=[event.event_name for event in handler.events],
        publishes=[event.event_name for event in handler.publishes],
    )


def _event(
    name: str,
    event: type[DomainEvent] | None,
    handlers: Iterable[CatalogHandler],
    routes: Iterable[Route],
    of_ledger: LedgerFacts,
) -> CatalogEvent:
    handlers = list(handlers)
    takers = [handler for handler in handlers if name in handler.events]
    translators = [handler for handler in handlers if name in handler.publishes]
    names = [handler.name for handler in takers if handler.kind != "bridge"]
    bridges = {handler.name.removeprefix(HANDLER) for handler in takers if handler.kind == "bridge"}
    explained = {cause for handler in translators for cause in handler.events}
    causes = sorted(set(of_ledger.caused.get(name, ())) - explained)
    if event is None:
        return CatalogEvent(
            name=name,
            loaded=False,
            masked=sorted(of_ledger.masked.get(name, ())),
            handlers=names,
            translators=[handler.name for handler in translators],
            caused_by=causes,
            forwarded_to=sorted(bridges),
        )
    return CatalogEvent(
        name=name,
        public=is_public(event),
        version=event.schema_version,
        about=_about(event),
        module=event.__module__,
        aggregate=event.aggregate_field or "",
        fields=[_field(event, field_name) for field_name in own_fields(event)],
        masked=sorted({*event.masked_fields, *of_ledger.masked.get(name, ())}),
        handlers=names,
        translators=[handler.name for handler in translators],
        caused_by=causes,
        forwarded_to=sorted(bridges | {route.name for route in routes if route.takes(event)}),
    )


def _bridge(route: Route, events: Iterable[type[DomainEvent]]) -> CatalogBridge:
    types_ = [event.event_name for event in events if route.takes(event)]
    return CatalogBridge(
        name=route.name,
        protocol=route.protocol,
        host=route.host,
        path=route.path,
        outbound=route.outbound,
        inbound=route.inbound,
        forward=route.forward,
        headers=route.headers,
        form=route.form,
        addresses={name: route.place(name).address for name in types_},
    )


def _field(event: type[DomainEvent], name: str) -> EventField:
    info = event.model_fields[name]
    masked = tuple(path for path in event.masked_fields if path.partition(".")[0] == name)
    return EventField(name, _shown(info.annotation), info.is_required(), info.description or "", masked)


def _shown(annotation: Any) -> str:
    """A type as a developer would write it, without its modules."""
    if annotation is type(None):
        return "None"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _shown(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_shown, arguments))
    if isinstance(annotation, type) and not arguments:
        return annotation.__name__
    if isinstance(origin, type) and arguments:
        shown = ("..." if argument is Ellipsis else _shown(argument) for argument in arguments)
        return f"{origin.__name__}[{', '.join(shown)}]"
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(annotation))


def _about(documented: Any) -> str:
    """The first paragraph of a docstring; "" if there is none."""
    text = getattr(documented, "__doc__", None) or ""
    if isinstance(documented, type) and documented.__module__ == "builtins":
        return ""
    return " ".join(text.strip().split("\n\n")[0].split())
