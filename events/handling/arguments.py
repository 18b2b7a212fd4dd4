"""Checks the arguments of decorators, and brings each into one form. Every error names the place and the cure."""

import inspect
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from events.definition import inner
from events.errors import DefinitionError
from events.event import DomainEvent, ambiguity
from events.retry import Retry

MAX_BATCH = 1000


def check_parentheses(events: Iterable[object], decorator: str) -> None:
    """Raises DefinitionError if a decorator without parentheses was given the function: it would not register it."""
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


def as_retry(retry: Retry | None, label: str, where: str) -> Retry:
    """The policy, or the default one."""
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(f"handler {label!r} ({where}): retry={retry!r} is no Retry(...)")
    return retry or Retry()


def as_limit(limit: timedelta | float | None, label: str, where: str) -> timedelta | None:
    """The time limit as a timedelta, given as seconds or as a timedelta."""
    if limit is None:
        return None
    as_delta = _as_time(limit, f"handler {label!r} ({where}): time_limit")
    if as_delta < timedelta(seconds=1):
        raise DefinitionError(f"handler {label!r} ({where}): time_limit={limit!r} is under one second")
    return as_delta


def as_batch(batch: int, label: str, where: str) -> int:
    """The size of a batch, checked."""
    if not isinstance(batch, int) or isinstance(batch, bool) or not 2 <= batch <= MAX_BATCH:
        raise DefinitionError(f"handler {label!r} ({where}): batch={batch!r}; use 2 to {MAX_BATCH} events")
    return batch


def as_linger(linger: timedelta | float, batch: int | None, label: str, where: str) -> timedelta:
    """The time that a batch which isn't full waits for more events, checked."""
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
    """The place where a function, class or object is defined, as file:line."""
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
