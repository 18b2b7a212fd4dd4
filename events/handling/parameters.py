"""Decides what each parameter of a handler is given: once, at import, and by its type alone.

| annotation | what the handler gets |
|---|---|
| the event's class, a base class of it, or a union | the event |
| sqlalchemy.orm.Session, or a subclass | a session of that class in the delivery's own transaction |
| sqlalchemy.Connection | the connection that carries that transaction |
| sqlalchemy.ext.asyncio.AsyncSession, or a subclass; AsyncConnection | the same, for `async def` handlers |
| Delivery | attempt, idempotency key and the like |
| any other class, or a NewType | what `@provides` makes of it, see `providing` |

`Session | None`, `Annotated[Session, ...]`, aliases, NewType and type variables stand for what they are made of, with a
default or without one. A parameter with such an annotation is always injected.

A batch handler asks for `list[Event]` instead of the event, and for `list[Delivery]`, in the same order.
"""

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events.definition import Parameter, check_call, inner, parameters_of
from events.definition import choices as of_annotation
from events.errors import DefinitionError
from events.event import DomainEvent
from events.handling.kinds import (
    ALIKE,
    ALIKE_SESSIONS,
    ASYNC_SQL,
    FROM_ELSEWHERE,
    OURS,
    SQL,
    Ask,
    Delivery,
    Wanted,
    ask_of,
    is_alike,
    is_kind_of,
    is_of_asyncio,
)

_SEVERAL = (list, Sequence, Collection, Iterable)
_NAMES = {"event", "events", "session", "connection", "delivery", "deliveries"}  # of parameters that mean ours


def plan(
    function: Callable[..., object],
    events: tuple[type[DomainEvent], ...],
    name: str,
    where: str,
    *,
    batch: bool = False,
) -> tuple[dict[str, Wanted], dict[str, Ask]]:
    """What to pass to each parameter of a handler: what is ours, and what somebody has to provide.

    Raises:
        DefinitionError: a parameter that nothing can fill, an annotation that can't be resolved; names both places.
    """
    what = f"handler {name!r} ({where})"
    wanted: dict[str, Wanted] = {}
    asks: dict[str, Ask] = {}
    parameters = parameters_of(function, what)
    for parameter in parameters:
        if parameter.is_various:
            continue
        found = wanted_by(parameter.choices, events, batch)
        if found is not None and not parameter.is_positional_only:
            wanted[parameter.name] = found
        elif found is None and not _means_ours(parameter) and (ask := ask_of(parameter)) is not None:
            asks[parameter.name] = ask
        elif found is not None or parameter.is_required or _means_ours(parameter):
            raise DefinitionError(_cannot_inject(parameter, events, what, batch))
    if any(one.is_various for one in parameters) and not {Wanted.EVENT, Wanted.EVENTS} & set(wanted.values()):
        raise DefinitionError(
            f"{what} takes *args or **kwargs, which nothing is injected into, so it would be called without the event; "
            f"name its parameters, or put @functools.wraps(function) on the wrapper if a decorator made it"
        )
    check_call(function, [*wanted, *(name for name, ask in asks.items() if ask.is_required)], what)
    _check_kinds(wanted, what, is_async=is_async(function))
    return wanted, asks


def injected(function: Callable[..., object], what: str) -> dict[str, Wanted]:
    """What to pass to those parameters of a task that ask for SQL, or for the delivery. All others are arguments.

    Raises:
        DefinitionError: such a parameter is positional-only; or the kinds of SQL exclude each other. It begins with
            `what`.
    """
    wanted: dict[str, Wanted] = {}
    for parameter in parameters_of(function, what):
        found = wanted_by(parameter.choices, (), False)
        if parameter.is_various or found is None or found is Wanted.EVENT:
            continue
        if parameter.is_positional_only:
            raise DefinitionError(f"{what}: parameter {parameter.name!r} is injected by its name; remove the '/'")
        wanted[parameter.name] = found
    _check_kinds(wanted, what, is_async=is_async(function))
    return wanted


def is_async(function: Callable[..., object]) -> bool:
    """Whether it is `async def`, below its decorators."""
    return inspect.iscoroutinefunction(inspect.unwrap(inner(function)))


def _check_kinds(wanted: dict[str, Wanted], what: str, *, is_async: bool) -> None:
    """Raises DefinitionError if a handler asks for SQL of asyncio and can't await it, or for both kinds of SQL."""
    awaited = [name for name, one in wanted.items() if one in ASYNC_SQL]
    plain = [name for name, one in wanted.items() if one in SQL]
    if awaited and not is_async:
        shown = _SHOWN[wanted[awaited[0]]]
        raise DefinitionError(
            f"{what}: parameter {awaited[0]!r} is {shown}, which a plain `def` can't await; make the handler "
            f"`async def`, or ask for {shown.removeprefix('Async')}"
        )
    if awaited and plain:
        raise DefinitionError(
            f"{what} asks for both {_SHOWN[wanted[plain[0]]]} ({plain[0]!r}) and {_SHOWN[wanted[awaited[0]]]} "
            f"({awaited[0]!r}), and a delivery has one transaction; keep the one of asyncio"
        )


_SHOWN = {
    Wanted.SESSION: "Session",
    Wanted.CONNECTION: "Connection",
    Wanted.ASYNC_SESSION: "AsyncSession",
    Wanted.ASYNC_CONNECTION: "AsyncConnection",
}


def wanted_by(choices: Iterable[Any], events: tuple[type[DomainEvent], ...], batch: bool) -> Wanted | None:
    choices = tuple(choices)
    for choice in choices:
        if batch and typing.get_origin(choice) in _SEVERAL:
            one = wanted_by(of_annotation(typing.get_args(choice)[0]), events, False)
            if several := {Wanted.EVENT: Wanted.EVENTS, Wanted.DELIVERY: Wanted.DELIVERIES}.get(one) if one else None:
                return several
        elif is_kind_of(choice, Session):
            return Wanted.SESSION
        elif is_of_asyncio(choice, "AsyncSession"):
            return Wanted.ASYNC_SESSION
        elif is_of_asyncio(choice, "AsyncConnection"):
            return Wanted.ASYNC_CONNECTION
        elif choice in (Connection, Delivery) and not (batch and choice is Delivery):
            return OURS[choice]
    if batch:
        return None
    classes = tuple(choice for choice in choices if is_kind_of(choice, DomainEvent))
    if classes and all(issubclass(event, classes) for event in events):
        return Wanted.EVENT
    return None


def _means_ours(parameter: Parameter) -> bool:
    """Whether its author expects one of our values there, although the parameter has a default."""
    for choice in parameter.choices:
        for one in (choice, *(part for given in typing.get_args(choice) for part in of_annotation(given))):
            if any(is_kind_of(one, base) for base in (*OURS, DomainEvent)) or is_alike(one, ALIKE_SESSIONS):
                return True
            if is_of_asyncio(one, "AsyncSession") or is_of_asyncio(one, "AsyncConnection"):
                return True
            if parameter.default is None and is_alike(one, FROM_ELSEWHERE):
                return True
    return parameter.name in _NAMES and parameter.default is None


def _cannot_inject(parameter: Parameter, events: tuple[type[DomainEvent], ...], what: str, batch: bool) -> str:
    handled = " | ".join(f"{event.__name__} ({event.defined_at})" for event in events)
    delivery = "list[Delivery]" if batch else "Delivery"
    if batch:
        handled = f"list[{handled}]"
    what += f": parameter {parameter.name!r} "
    if parameter.is_positional_only:
        return what + "is positional-only, but handlers are called by keyword; remove the '/'"
    if not parameter.choices:
        if parameter.name in ("self", "cls"):
            return what + (
                "belongs to a method that is bound to nothing; register a bound one, handles(SomeEvent)(some.method), "
                "or decorate a class whose method is named `handle`"
            )
        return what + f"has no annotation; say what it is: {handled}, Session, Connection or {delivery}"
    hint = parameter.hint
    shown = str(hint) if batch else getattr(hint, "__name__", str(hint))
    cure = (
        f"a {'batch ' if batch else ''}handler can ask for the event ({handled}), Session, Connection or {delivery}, "
        f"or a class of your own that @provides makes"
    )
    if alike := [choice for choice in parameter.choices if is_alike(choice, ALIKE)]:
        shown = getattr(alike[0], "__name__", str(alike[0]))
        cure = "ask for a Session or Connection, which has the delivery's transaction"
        if shown.lower().startswith("async"):
            cure = "ask for an AsyncSession or AsyncConnection, which has the delivery's transaction"
    return what + f"is {shown}, which can't be injected: {cure}"
