"""The catalog: every event, its fields, who publishes it, who handles it and where it goes.

Code says what is declared; the ledger says who subscribed, also from other services, and in whose handlers events were
published. What neither knows is left open, and without a database the code alone has to do.
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

NEWEST = 2000  # events that were caused by others: so many are asked who caused them


@dataclass(frozen=True, slots=True)
class EventField:
    """A field of an event; `masked`: what of it is hidden, itself or paths within."""

    name: str
    type: str
    required: bool
    about: str = ""
    masked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogEvent:
    """An event type.

    Attributes:
        loaded: whether code of this process defines it; else only its name is known.
        translators: that publish it.
        caused_by: events in whose handlers it was published, as the ledger saw.
        forwarded_to: bridges.
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
    """A handler; `subscribed`: what the ledger says, None if it could not be asked."""

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
    """A bridge that is configured; what its URL keeps secret is not here.

    Attributes:
        protocol: as AsyncAPI names it.
        path: of its URL.
        forward: event types; empty for those that are public, `*` for all.
        headers: what CloudEvents attributes begin with in the headers; None if nothing stands beside the body.
        form: what messages look like.
        addresses: event type to where the bridge puts it on its server; None if the server allows no such address.
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
class Lineage:
    """What the ledger knows."""

    subscribed: Mapping[str, Iterable[str]] = field(default_factory=dict)
    caused: Mapping[str, Iterable[str]] = field(default_factory=dict)
    masked: Mapping[str, Iterable[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All of it. `unknown`: why the ledger could not be asked, "" if it was."""

    events: Sequence[CatalogEvent]
    handlers: Sequence[CatalogHandler]
    routes: Sequence[CatalogBridge] = ()
    unknown: str = ""


def collect(pipeline: Pipeline) -> Catalog:
    """The catalog of what this process has loaded and its ledger knows; a database that is away is no error."""
    lineage, unknown = _asked(pipeline)
    queue = pipeline.settings.queue
    return catalog_of(all_events(), all_handlers(), routes_of(pipeline.settings), queue, lineage, unknown)


def catalog_of(
    events: Iterable[type[DomainEvent]],
    handlers: Iterable[Handler],
    routes: Sequence[Route] = (),
    queue: str = "",
    lineage: Lineage | None = None,
    unknown: str = "",
) -> Catalog:
    """`queue`: of handlers that name none. `lineage`: None if the ledger could not be asked."""
    known = {event.event_name: event for event in events}
    found = {handler.name: _handler(handler, queue, lineage) for handler in handlers}
    asked = lineage or Lineage()
    for name, types_ in asked.subscribed.items():
        if name not in found:
            kind = "bridge" if name.startswith(HANDLER) else "handler"
            found[name] = CatalogHandler(name, kind, loaded=False, subscribed=True, events=sorted(types_))
    names = {*known, *asked.caused, *(cause for causes in asked.caused.values() for cause in causes)}
    names.update(*(handler.events for handler in found.values()), *(handler.publishes for handler in found.values()))
    ordered = sorted(found.values(), key=lambda one: one.name)
    return Catalog(
        events=[_event(name, known.get(name), ordered, routes, asked) for name in sorted(names)],
        handlers=ordered,
        routes=[_bridge(route, known.values()) for route in routes],
        unknown=unknown,
    )


def _asked(pipeline: Pipeline) -> tuple[Lineage | None, str]:
    database = pipeline.ledger.engine.url
    if database.get_backend_name() == "sqlite" and not file_of(database.database).exists():
        return None, f"there is no file {database.database}"  # which asking would make
    try:
        pipeline.check()
        ledger = pipeline.ledger
        return Lineage(ledger.lineage.subscribed(), ledger.lineage.caused(NEWEST), ledger.subscriptions.masked()), ""
    except (EventsError, DBAPIError) as error:
        return None, redact(first_line(error))


def _handler(handler: Handler, queue: str, lineage: Lineage | None) -> CatalogHandler:
    kind = "translator" if handler.publishes else "bridge" if handler.name.startswith(HANDLER) else "handler"
    return CatalogHandler(
        name=handler.name,
        kind=kind,
        subscribed=None if lineage is None else handler.name in lineage.subscribed,
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
    lineage: Lineage,
) -> CatalogEvent:
    handlers = list(handlers)
    takes = [one.name for one in handlers if name in one.events and one.kind != "bridge"]
    makes = [one.name for one in handlers if name in one.publishes]
    bridges = {one.name.removeprefix(HANDLER) for one in handlers if name in one.events and one.kind == "bridge"}
    explained = {cause for one in handlers if name in one.publishes for cause in one.events}
    causes = sorted(set(lineage.caused.get(name, ())) - explained)
    if event is None:
        return CatalogEvent(
            name, loaded=False, masked=sorted(lineage.masked.get(name, ())), handlers=takes, translators=makes,
            caused_by=causes, forwarded_to=sorted(bridges),
        )  # fmt: skip
    return CatalogEvent(
        name=name,
        public=is_public(event),
        version=event.schema_version,
        about=_about(event),
        module=event.__module__,
        aggregate=event.aggregate_field or "",
        fields=[_field(event, one) for one in own_fields(event)],
        masked=sorted({*event.masked_fields, *lineage.masked.get(name, ())}),
        handlers=takes,
        translators=makes,
        caused_by=causes,
        forwarded_to=sorted(bridges | {route.name for route in routes if route.takes(event)}),
    )


def _bridge(route: Route, events: Iterable[type[DomainEvent]]) -> CatalogBridge:
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
        addresses={one.event_name: route.place(one.event_name).address for one in events if route.takes(one)},
    )


def _field(event: type[DomainEvent], name: str) -> EventField:
    info = event.model_fields[name]
    masked = tuple(path for path in event.masked_fields if path.partition(".")[0] == name)
    return EventField(name, _shown(info.annotation), info.is_required(), info.description or "", masked)


def _shown(annotation: Any) -> str:
    """A type as one would write it, without the modules it comes from."""
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
        return f"{origin.__name__}[{', '.join('...' if one is Ellipsis else _shown(one) for one in arguments)}]"
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(annotation))


def _about(thing: Any) -> str:
    """The first paragraph of its docstring."""
    text = getattr(thing, "__doc__", None) or ""
    if isinstance(thing, type) and thing.__module__ == "builtins":
        return ""
    return " ".join(text.strip().split("\n\n")[0].split())
