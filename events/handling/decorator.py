"""`@handles(Event)` on a function, or on a class with a `handle` method.

    @handles(CardAddedToLibraryEvent, retry=Retry(max_attempts=3), queue="mail", time_limit=seconds(20))
    def add_to_feed(event: CardAddedToLibraryEvent, session: Session) -> None: ...

A handler's name is the function's or class's own, or `name=...`. Everything that can be wrong is found while the module
is imported.
"""

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from events.definition import here, inner
from events.errors import DefinitionError
from events.event import DomainEvent
from events.handling.arguments import (
    as_batch,
    as_limit,
    as_linger,
    as_retry,
    check_events,
    check_parentheses,
    place_of,
)
from events.handling.parameters import plan
from events.handling.registry import GROUP, Handler, remember
from events.handling.sessions import async_session_class, session_class
from events.retry import Retry

Decorated = TypeVar("Decorated")


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
        group: False if its deliveries must never share a transaction, not even under a backlog; or, for an `async def`
            handler, a process.
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
        call = _callable_of(target, label, where)
        wants, asks = plan(call, events, label, where, batch=batch is not None)
        handler = Handler(
            name=label,
            call=call,
            events=tuple(dict.fromkeys(events)),
            defined_at=where,
            wants=wants,
            asks=asks,
            retry=as_retry(retry, label, where),
            queue=queue,
            time_limit=as_limit(time_limit, label, where),
            most=_most(batch, group, label, where),
            batch=batch is not None,
            linger=as_linger(linger, batch, label, where),
            session=session_class(call, f"handler {label!r} ({where})"),
            async_session=async_session_class(call, f"handler {label!r} ({where})"),
            origin=here(),
        )
        remember(handler)
        return target

    return register


def _most(batch: int | None, group: bool, label: str, where: str) -> int:
    """How many deliveries may share a message."""
    if batch is not None:
        return as_batch(batch, label, where)
    return GROUP if group else 1


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
