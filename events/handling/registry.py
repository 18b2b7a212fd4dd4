"""Handlers: `@handles(Event)` on a function, or on a class with a `handle` method.

    @handles(CardAddedToLibraryEvent, retry=Retry(max_attempts=3), queue="mail", time_limit=seconds(20))
    def add_to_feed(event: CardAddedToLibraryEvent, session: Session) -> None: ...

A handler's name is the function's or class's own, or `name=...`; its deliveries are stored under it, so it must
stay the same when code moves. Everything that can be wrong is found while the module is imported.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from events.definition import Origin, here, inner, replaces
from events.errors import DefinitionError, UnknownHandler
from events.event import MAX_NAME, DomainEvent, ambiguity, fingerprint
from events.handling.loading import load_handlers as load_handlers
from events.handling.parameters import Wanted, plan, session_class
from events.retry import Retry

Decorated = TypeVar("Decorated")

GROUP = 50  # deliveries of one handler that may share a message and a transaction under a backlog
MAX_BATCH = 1000
_QUEUE = re.compile(r"\S{1,200}(?<!\.dead)")


@dataclass(frozen=True)
class Handler:
    """One registered handler: what to call, for which events, and how often to try."""

    name: str
    call: Callable[..., Any]
    events: tuple[type[DomainEvent], ...]
    defined_at: str
    wants: dict[str, Wanted] = field(default_factory=dict)
    retry: Retry = field(default_factory=Retry)
    queue: str | None = None
    time_limit: timedelta | None = None
    most: int = GROUP  # deliveries that may share a message
    batch: bool = False  # it takes them all in one call
    linger: timedelta = timedelta(0)
    publishes: tuple[type[DomainEvent], ...] = ()  # what a translator makes of them; nobody knows it of other handlers
    session: type[Session] = Session  # that its parameters ask for
    origin: Origin | None = field(default=None, compare=False, repr=False)  # who registered it; None for bridges

    @cached_property
    def event_types(self) -> frozenset[str]:
        """The names of its events."""
        return frozenset(event.event_name for event in self.events)

    @cached_property
    def home(self) -> str:
        """The module that its code is in."""
        return str(getattr(inner(self.call), "__module__", None) or "")


_handlers: dict[str, Handler] = {}


def handles(
    *events: type[DomainEvent],
    name: str | None = None,
    retry: Retry | None = None,
    queue: str | None = None,
    time_limit: timedelta | float | None = None,
    batch: int | None = None,
    linger: timedelta | float = 0,
    group: bool = True,
) -> Callable[[Decorated], Decorated]:
    """Register a handler of one or more event classes; returns what it decorates unchanged.

    Args:
        events: the classes it handles, exactly these (not their subclasses).
        name: stable name; default the function's or class's name.
        retry: when to try again; default `Retry()`, 8 attempts with growing delays.
        queue: the queue its tasks go to; default EVENTS_QUEUE.
        time_limit: timedelta or seconds after which a run is stopped and counts as failed; default EVENTS_TIME_LIMIT.
        batch: call it with a list of up to so many events (`list[Event]`), in one transaction; 2 to 1000.
        linger: how long (timedelta or seconds) a batch that isn't full waits for more; default not at all.
        group: False if its deliveries must never share a transaction, not even under a backlog.
    Raises:
        DefinitionError: at import, naming every place involved.
    """

    check_parentheses(events, "handles")

    def register(target: Decorated) -> Decorated:
        where = place_of(target)
        if not events or (isinstance(target, type) and issubclass(target, DomainEvent)):
            raise DefinitionError(f"@handles at {where} needs the event classes it handles: @handles(SomeEvent)")
        label = name or _name_of(target, where)
        check_events(events, f"handler {label!r} ({where}) handles")
        if batch is not None and not group:
            raise DefinitionError(f"handler {label!r} ({where}): batch={batch!r} and group=False exclude each other")
        if not isinstance(group, bool):
            raise DefinitionError(f"handler {label!r} ({where}): group={group!r}; use True or False")
        remember(Handler(
            name=label, call=(call := _callable_of(target, label, where)), events=tuple(dict.fromkeys(events)),
            defined_at=where, wants=plan(call, events, label, where, batch=batch is not None),
            retry=checked(retry, label, where), queue=queue, time_limit=as_limit(time_limit, label, where),
            most=(_as_batch(batch, label, where) if batch is not None else GROUP if group else 1),
            batch=batch is not None, linger=_as_linger(linger, batch, label, where),
            session=session_class(call, label, where), origin=here(),
        ))  # fmt: skip
        return target

    return register


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
    """Each handler with each event that it handles, by name: what this process can run."""
    return {(handler.name, event.event_name) for handler in all_handlers() for event in handler.events}


def all_forms() -> set[tuple[str, str]]:
    """Each event that a handler takes, by name, with what tells this process's form of it from another."""
    return {(event.event_name, fingerprint(event)) for handler in all_handlers() for event in handler.events}


def without_handlers(modules: Iterable[str]) -> str:
    """What to say if none was loaded, bridges aside, and what to do; else "". `modules`: of EVENTS_HANDLERS."""
    if any(handler.origin is not None for handler in _handlers.values()):
        return ""
    return (
        f"EVENTS_HANDLERS={','.join(modules)} defines no handler, so no event is handled here; "
        f"name the modules or packages that have the functions with @handles"
    )


def check_parentheses(events: Iterable[object], decorator: str) -> None:
    """Raises DefinitionError if these are no events but what was to be decorated: it would never be registered."""
    for one in events:
        if isinstance(one, type):
            decorated = not issubclass(one, DomainEvent) and one.__module__ != "builtins"
        else:
            decorated = callable(one) or isinstance(one, classmethod | property)
        if decorated:
            why = f"; {one.__name__} is no event, which is a subclass of DomainEvent" if isinstance(one, type) else ""
            raise DefinitionError(
                f"@{decorator} at {place_of(one)} needs the event classes, in parentheses: @{decorator}(SomeEvent){why}"
            )


def check_events(events: Iterable[type[DomainEvent]], what: str) -> None:
    """Raises DefinitionError, which begins with `what`, unless all are events that can be published."""
    names: dict[str, type[DomainEvent]] = {}
    for event in events:
        if not (isinstance(event, type) and issubclass(event, DomainEvent)):
            cure = "events are subclasses of events.DomainEvent"
            if isinstance(event, DomainEvent):
                cure = f"name its class: {type(event).__name__}"
            elif isinstance(event, list | tuple | set | frozenset):
                cure = "name the classes one by one, separated by commas"
            raise DefinitionError(f"{what} {event!r} ({place_of(event)}), which is no event; {cure}")
        if not event.event_name:
            raise DefinitionError(
                f"{what} {event.__name__} ({event.defined_at}), which is abstract; name the events themselves"
            )
        if why := ambiguity(event.event_name):
            raise DefinitionError(f"{what} {event.__name__}: {why}")
        if names.setdefault(event.event_name, event) is not event:
            raise DefinitionError(f"{what} two classes of one event {event.event_name!r}; name one of them")


def remember(handler: Handler) -> None:
    """Register it. Raises DefinitionError if its name is that of another."""
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


def _name_of(target: Any, where: str) -> str:
    name = str(getattr(target, "__name__", type(target).__name__))
    if name == "<lambda>" or isinstance(target, functools.partial):
        raise DefinitionError(f"handler at {where} has no name of its own; give it one: name=...")
    return name


def _callable_of(target: Any, label: str, where: str) -> Callable[..., Any]:
    if isinstance(target, type):
        if not callable(getattr(target, "handle", None)):
            raise DefinitionError(f"handler {label!r} ({where}) is a class without a method `handle`")
        try:
            target = target()
        except Exception as error:
            raise DefinitionError(
                f"handler {label!r} ({where}) can't be made without arguments ({error}); "
                f"decorate an instance instead: handles(SomeEvent)({label}(...)), with name=... if there are several"
            ) from error
    if isinstance(target, staticmethod):
        target = target.__func__
    call = getattr(target, "handle", target)
    if isinstance(call, classmethod | property):
        raise DefinitionError(
            f"handler {label!r} ({where}) is a {type(call).__name__}, which is no function yet; register it when its "
            f"class is made: handles(SomeEvent)(SomeClass.{label})"
        )
    if not callable(call):
        raise DefinitionError(f"handler {label!r} ({where}) is neither a function nor has a method `handle`")
    function = inspect.unwrap(inner(call))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"handler {label!r} ({where}) is a generator: its body would never run; remove `yield`")
    return call  # type: ignore[no-any-return]


def checked(retry: Retry | None, label: str, where: str) -> Retry:
    """The policy, or the default one."""
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(f"handler {label!r} ({where}): retry={retry!r} is no Retry(...)")
    return retry or Retry()


def as_limit(limit: timedelta | float | None, label: str, where: str) -> timedelta | None:
    """A time limit, however it was written."""
    if limit is None:
        return None
    as_delta = _as_time(limit, f"handler {label!r} ({where}): time_limit")
    if as_delta < timedelta(seconds=1):
        raise DefinitionError(f"handler {label!r} ({where}): time_limit={limit!r} is under one second")
    return as_delta


def _as_batch(batch: int, label: str, where: str) -> int:
    if not isinstance(batch, int) or isinstance(batch, bool) or not 2 <= batch <= MAX_BATCH:
        raise DefinitionError(f"handler {label!r} ({where}): batch={batch!r}; use 2 to {MAX_BATCH} events")
    return batch


def _as_linger(linger: timedelta | float, batch: int | None, label: str, where: str) -> timedelta:
    as_delta = _as_time(linger, f"handler {label!r} ({where}): linger")
    if as_delta and batch is None:
        raise DefinitionError(f"handler {label!r} ({where}): linger is for batch handlers; say batch=..., too")
    if not timedelta(0) <= as_delta <= timedelta(hours=1):
        raise DefinitionError(f"handler {label!r} ({where}): linger={linger!r}; use 0 to one hour")
    return as_delta


def _as_time(value: timedelta | float, what: str) -> timedelta:
    try:
        if isinstance(value, bool):
            raise TypeError
        return value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError):
        raise DefinitionError(f"{what}={value!r} is no time; use seconds or a timedelta") from None


def place_of(target: Any) -> str:
    """Where something is defined, as file:line."""
    function = inspect.unwrap(inner(target)) if callable(target) and not isinstance(target, type) else target
    if isinstance(function, classmethod | property):
        function = getattr(function, "__func__", None) or getattr(function, "fget", None)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        cls = target if isinstance(target, type) else type(target)
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return str(getattr(target, "__module__", type(target).__module__))
