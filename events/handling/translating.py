"""Translators: `@translates(Event)` on a function that says the same fact in other words.

    @translates(CardAddedToLibraryEvent)
    def tell_others(event: CardAddedToLibraryEvent) -> CardAdded:
        return CardAdded(library_id=event.library_id, title=event.title)

Outward, a translator makes integration events of a domain event; inward, domain events of an integration event. It
returns None, an event or several events, or yields them. A translator is a handler, with its own deliveries, retries
and dead letters; the events that it returns are published in the delivery's transaction. Their ids are derived from
the event that was translated, so that a second run publishes nothing new, and they occurred when that event occurred.

No fact goes round in circles: an event that was translated is not translated back, into itself or into another version
of itself, however often its words changed on the way.
"""

import functools
import inspect
import logging
import typing
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid5

from events.definition import here
from events.errors import DefinitionError, PublishError
from events.event import DomainEvent
from events.handling.arguments import as_limit, as_retry, check_events, check_parentheses, place_of
from events.handling.kinds import Wanted
from events.handling.parameters import plan
from events.handling.registry import GROUP, Handler, remember
from events.handling.sessions import async_session_class, session_class
from events.integration import contract_of, is_public
from events.publishing import publish, publish_async
from events.retry import Retry

log = logging.getLogger("events.translating")

CHAIN = "translated"  # in the metadata: the events, by name, that this one was translated from, the oldest first
Function = TypeVar("Function", bound=Callable[..., Any])


def translates(
    *events: type[DomainEvent],
    name: str | None = None,
    retry: Retry | None = None,
    queue: str | None = None,
    time_limit: timedelta | float | None = None,
) -> Callable[[Function], Function]:
    """Register a translator of one or more event classes; returns the function unchanged.

    It asks for what it needs by type, as handlers do; its return annotation names the events that it makes, such as
    `CardAdded`, `CardAdded | None` or `Iterator[CardAddedV1 | CardAddedV2]`.

    Args:
        events: the classes it translates, exactly these.
        name: stable name; default the function's. Ids are derived from it, too.
        retry, queue, time_limit: as of `handles`.
    Raises:
        DefinitionError: at import, naming every place involved.
    """

    check_parentheses(events, "translates")

    def register(function: Function) -> Function:
        where = place_of(function)
        if not events or not inspect.isroutine(function):
            raise DefinitionError(f"@translates at {where} belongs on a function: @translates(SomeEvent) above its def")
        if inspect.isasyncgenfunction(function):
            raise DefinitionError(f"translator at {where} is an async generator; return a list instead")
        label = name or function.__name__
        what = f"translator {label!r} ({where})"
        check_events(events, f"{what} translates")
        wants, asks = plan(function, events, label, where)
        subject = next((parameter for parameter, wanted in wants.items() if wanted is Wanted.EVENT), None)
        if subject is None:
            raise DefinitionError(f"{what} does not ask for the event; add `event: {events[0].__name__}`")
        made = _events_in(typing.get_type_hints(function).get("return"), what)
        _check_sides(events, made, what)
        translator = Handler(
            name=label,
            call=_publishing(function, subject, made, label),
            events=events,
            defined_at=where,
            wants=wants,
            asks=asks,
            retry=as_retry(retry, label, where),
            queue=queue,
            time_limit=as_limit(time_limit, label, where),
            most=GROUP,
            publishes=made,
            session=session_class(function, what),
            async_session=async_session_class(function, what),
            origin=here(),
        )
        remember(translator)
        return function

    return register


def _publishing(
    function: Callable[..., Any], subject: str, made: tuple[type[DomainEvent], ...], label: str
) -> Callable[..., Any]:
    """The handler: it calls the translator and publishes the events that this returns."""

    @functools.wraps(function)
    def handle(**arguments: Any) -> Awaitable[None] | None:
        cause: DomainEvent = arguments[subject]
        found = function(**arguments)
        if inspect.isawaitable(found):
            return _awaited(found, cause)
        publish(_translations(found, cause, made, label))
        return None

    async def _awaited(found: Awaitable[Any], cause: DomainEvent) -> None:
        await publish_async(_translations(await found, cause, made, label))

    return handle


def _translations(found: Any, cause: DomainEvent, made: tuple[type[DomainEvent], ...], label: str) -> list[DomainEvent]:
    """The events that a translator returned, ready to be published."""
    chain = _chain(cause)
    count: Counter[str] = Counter()
    ready = []
    for event in _each(found, made, label):
        kind = event.event_name
        if event.event_id == cause.event_id:
            raise PublishError(f"translator {label!r} returned the event that it was given, or its id; make a new one")
        count[kind] += 1
        if _went_round(kind, chain):
            log.info(
                "translator %s: %s %s is not translated back into %s", label, cause.event_name, cause.event_id, kind
            )
            continue
        told: dict[str, Any] = {"metadata": event.metadata.model_copy(update={CHAIN: chain})}
        if "event_id" not in event.model_fields_set:
            told["event_id"] = uuid5(cause.event_id, f"{label}/{kind}/{count[kind]}")
        if "occurred_at" not in event.model_fields_set:
            told["occurred_at"] = cause.occurred_at
        ready.append(event.model_copy(update=told))
    return ready


def _each(found: Any, made: tuple[type[DomainEvent], ...], label: str) -> Iterator[DomainEvent]:
    if found is None:
        return
    several = isinstance(found, Iterable) and not isinstance(found, (DomainEvent, str, bytes, dict))
    for one in found if several else (found,):
        if type(one) not in made:
            promised = " or ".join(event.__name__ for event in made)
            raise PublishError(f"translator {label!r} returned {type(one).__name__}; its annotation says {promised}")
        yield one


def _chain(cause: DomainEvent) -> list[str]:
    """The names of the events that were translated one into the next up to this one, oldest first."""
    before = (cause.metadata.model_extra or {}).get(CHAIN)
    names = [one for one in before if isinstance(one, str)] if isinstance(before, list) else []
    return [*names, cause.event_name]


def _went_round(name: str, chain: list[str]) -> bool:
    """Whether an event of this name was translated on the way here. Another version of an event is not a way back."""
    contract = contract_of(name)
    return name in chain or (contract != contract_of(chain[-1]) and contract in map(contract_of, chain))


def _events_in(annotation: Any, what: str) -> tuple[type[DomainEvent], ...]:
    """The event classes that an annotation names, in order."""
    found = list(dict.fromkeys(_named(annotation)))
    wrong = [one for one in found if not (isinstance(one, type) and issubclass(one, DomainEvent))]
    if not found or wrong:
        shown = f"says {getattr(wrong[0], '__name__', wrong[0])}" if wrong else "names no event"
        raise DefinitionError(
            f"{what}: its return annotation {shown}; say which events it makes, such as -> SomeEvent, "
            f"-> SomeEvent | None or -> Iterator[SomeEvent | OtherEvent]"
        )
    check_events(found, f"{what} makes")
    return tuple(found)


def _named(annotation: Any) -> Iterator[Any]:
    if annotation in (None, type(None), Ellipsis):
        return
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Iterator) and arguments:
        arguments = arguments[:1]  # what a generator yields
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _named(argument)


def _check_sides(events: tuple[type[DomainEvent], ...], made: tuple[type[DomainEvent], ...], what: str) -> None:
    both = [event for event in made if event in events]
    if both:
        raise DefinitionError(f"{what} makes {both[0].__name__} of itself ({both[0].defined_at})")
    if not all(map(is_public, events)) and not all(map(is_public, made)):
        private = next(event for event in made if not is_public(event))
        raise DefinitionError(
            f"{what} makes a private event of a private one: {private.__name__} ({private.defined_at}) is no "
            f"IntegrationEvent; translators speak with the outside, and a handler can publish whatever it likes"
        )
