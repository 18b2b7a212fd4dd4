"""The handlers of this process: what `@handles`, `@translates` and bridges register, by name.

A handler's deliveries are stored under its name, so the name must stay the same when code moves.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from events.definition import Origin, inner, replaces
from events.errors import DefinitionError, UnknownHandler
from events.event import MAX_NAME, DomainEvent, fingerprint
from events.handling.kinds import SQL, Ask, Wanted
from events.handling.needs import Needs, check_providers, needs_of
from events.handling.parameters import is_async
from events.handling.providing import version
from events.retry import Retry

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

GROUP = 50  # deliveries of one handler that may share a message and a transaction when many are waiting
_QUEUE = re.compile(r"\S{1,200}(?<!\.dead)")


@dataclass(frozen=True)
class Handler:
    """One registered handler: what to call, for which events, and how often to try."""

    name: str
    call: Callable[..., Any]
    events: tuple[type[DomainEvent], ...]
    defined_at: str
    wants: dict[str, Wanted] = field(default_factory=dict)
    asks: dict[str, Ask] = field(default_factory=dict)  # what others have to provide
    retry: Retry = field(default_factory=Retry)
    queue: str | None = None
    time_limit: timedelta | None = None
    most: int = GROUP  # deliveries that may share a message
    batch: bool = False  # one call takes all events of a message
    linger: timedelta = timedelta(0)
    publishes: tuple[type[DomainEvent], ...] = ()  # the events that a translator makes; of others they aren't known
    session: type[Session] = Session  # the class of session that its parameters ask for
    async_session: "type[AsyncSession] | None" = None  # the same of asyncio
    origin: Origin | None = field(default=None, compare=False, repr=False)  # who registered it; None for bridges

    @cached_property
    def event_types(self) -> frozenset[str]:
        """The names of the events that it handles."""
        return frozenset(event.event_name for event in self.events)

    @cached_property
    def is_async(self) -> bool:
        """Whether it is `async def`."""
        return is_async(self.call)

    @property
    def is_awaited(self) -> bool:
        """Whether its deliveries can run side by side on an event loop: it is `async def`, and uses no SQL that blocks
        the loop."""
        return self.is_async and not SQL & self.needs.wanted

    @property
    def needs(self) -> Needs:
        """What it needs besides its event. Raises DefinitionError if that can't be had."""
        known: tuple[int, Needs] | None = self.__dict__.get("_needs")
        if known is None or known[0] != version():
            wants = set(self.wants.values())
            needs = needs_of(
                f"handler {self.name!r} ({self.defined_at})",
                wants,
                self.asks,
                is_async=self.is_async,
                batch=self.batch,
                session=self.session if Wanted.SESSION in wants else None,
                async_session=self.async_session,
            )
            known = self.__dict__["_needs"] = (version(), needs)
        return known[1]

    @cached_property
    def home(self) -> str:
        """The module that holds its code."""
        return str(getattr(inner(self.call), "__module__", None) or "")


_handlers: dict[str, Handler] = {}


def handler_named(name: str) -> Handler:
    """The handler of that name. Raises UnknownHandler, which lists the registered ones."""
    try:
        return _handlers[name]
    except KeyError:
        known = ", ".join(sorted(_handlers)) or "none"
        raise UnknownHandler(f"no handler named {name!r} in this process; registered: {known}") from None


def all_handlers() -> Iterator[Handler]:
    """Every handler registered so far."""
    return iter(tuple(_handlers.values()))


def all_handled() -> set[tuple[str, str]]:
    """The pairs of handler name and event name that this process can run."""
    return {(handler.name, event.event_name) for handler in all_handlers() for event in handler.events}


def all_forms() -> set[tuple[str, str]]:
    """The name of each handled event, with the fingerprint of the form that it has in this process."""
    return {(event.event_name, fingerprint(event)) for handler in all_handlers() for event in handler.events}


def check_needs() -> None:
    """Raise DefinitionError unless all that handlers ask for is provided. Call this once all modules are loaded."""
    check_providers()
    for handler in all_handlers():
        _ = handler.needs


def without_handlers(modules: Iterable[str]) -> str:
    """The complaint, with its cure, if `modules` (EVENTS_HANDLERS) define no handler; else ""."""
    if any(handler.origin is not None for handler in _handlers.values()):
        return ""
    return (
        f"EVENTS_HANDLERS={','.join(modules)} defines no handler, so no event is handled here; "
        f"name the modules or packages that have the functions with @handles"
    )


def remember(handler: Handler) -> None:
    """Register the handler. Raises DefinitionError if another handler has its name."""
    name, queue = handler.name, handler.queue
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise DefinitionError(
            f"handler at {handler.defined_at}: name={name!r}; a name has 1 to {MAX_NAME} printable characters"
        )
    if queue is not None and not (isinstance(queue, str) and _QUEUE.fullmatch(queue) and queue.isprintable()):
        raise DefinitionError(
            f"handler {name!r} ({handler.defined_at}): queue={queue!r}; use text of 1 to 200 characters without "
            f"spaces, which doesn't end in .dead, as the queues of dead letters do"
        )
    other = _handlers.get(handler.name)
    if other is not None and other != handler and not _replaces(handler, other):
        cure = "give one of them name=..."
        if other.defined_at == handler.defined_at:
            cure += (
                " (one place makes both: a loop or a factory function, two instances of a class, or a decorator "
                "without functools.wraps); one handler of several events is handles(SomeEvent, OtherEvent)"
            )
        raise DefinitionError(
            f"two handlers are named {handler.name!r}: {other.defined_at} and {handler.defined_at}; {cure}"
        )
    _handlers[handler.name] = handler


def _replaces(handler: Handler, other: Handler) -> bool:
    if handler.origin is None or other.origin is None:  # bridges are made of settings, again and again
        return handler.origin is other.origin and handler.defined_at == other.defined_at
    return replaces(handler.origin, other.origin, f"handler {handler.name!r}")
