"""Decides what each parameter of a handler is given: once, at import, and by its type alone.

| annotation | what the handler gets |
|---|---|
| the event's class, a base class of it, or a union | the event |
| sqlalchemy.orm.Session, or a subclass | a session of that class in the delivery's own transaction |
| sqlalchemy.Connection | the connection that carries that transaction |
| sqlalchemy.ext.asyncio.AsyncSession, or a subclass; AsyncConnection | the same, for `async def` handlers |
| Delivery | attempt, idempotency key and the like |

`Session | None`, `Annotated[Session, ...]`, aliases, NewType and type variables stand for what they are made of, with a
default or without one. A parameter with such an annotation is always injected.

A batch handler asks for `list[Event]` instead of the event, and for `list[Delivery]`, in the same order.
"""

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events.definition import Parameter, check_call, inner, parameters_of
from events.definition import choices as of_annotation
from events.errors import DefinitionError
from events.event import DomainEvent

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one handler, as the handler sees it.

    Attributes:
        event_id: the event's id.
        event_type: the event's stable name.
        handler: this handler's name.
        attempt: the number of this attempt, from 1; a replay begins at 1 again.
        max_attempts: after this many attempts the delivery is a dead letter.
        worker: the worker that runs it, as name and process id.
        correlation_id: shared by everything that one request caused.
    """

    event_id: UUID
    event_type: str
    handler: str
    attempt: int
    max_attempts: int
    worker: str
    correlation_id: str

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this delivery, and for no other: hand it to systems outside the database."""
        return f"{self.event_id}:{self.handler}"


class Wanted(Enum):
    """What a parameter asks for."""

    EVENT = "event"
    SESSION = "session"
    CONNECTION = "connection"
    DELIVERY = "delivery"
    EVENTS = "events"  # of a batch
    DELIVERIES = "deliveries"
    ASYNC_SESSION = "async session"
    ASYNC_CONNECTION = "async connection"


SQL = {Wanted.SESSION, Wanted.CONNECTION}
ASYNC_SQL = {Wanted.ASYNC_SESSION, Wanted.ASYNC_CONNECTION}

_BY_TYPE = {Session: Wanted.SESSION, Connection: Wanted.CONNECTION, Delivery: Wanted.DELIVERY}
_SEVERAL = (list, Sequence, Collection, Iterable)
_ALIKE = {"scoped_session", "async_scoped_session"}  # of SQLAlchemy
_FROM_ELSEWHERE = {"Engine", "AsyncEngine", "sessionmaker", "async_sessionmaker"}  # with a default they are given by it
_NAMES = {"event", "events", "session", "connection", "delivery", "deliveries"}  # of parameters that mean ours


def plan(
    function: Callable[..., object],
    events: tuple[type[DomainEvent], ...],
    name: str,
    where: str,
    *,
    batch: bool = False,
) -> dict[str, Wanted]:
    """What to pass to each parameter of a handler.

    Raises:
        DefinitionError: a parameter that nothing can fill, an annotation that can't be resolved; names both places.
    """
    what = f"handler {name!r} ({where})"
    wanted: dict[str, Wanted] = {}
    parameters = parameters_of(function, what)
    for parameter in parameters:
        if parameter.is_various:
            continue
        found = _wanted_by(parameter.choices, events, batch)
        if found is not None and not parameter.is_positional_only:
            wanted[parameter.name] = found
        elif found is not None or parameter.is_required or _means_ours(parameter):
            raise DefinitionError(_cannot_inject(parameter, events, what, batch))
    if any(one.is_various for one in parameters) and not {Wanted.EVENT, Wanted.EVENTS} & set(wanted.values()):
        raise DefinitionError(
            f"{what} takes *args or **kwargs, which nothing is injected into, so it would be called without the event; "
            f"name its parameters, or put @functools.wraps(function) on the wrapper if a decorator made it"
        )
    check_call(function, wanted, what)
    _check_kinds(wanted, what, is_async=is_async(function))
    return wanted


def injected(function: Callable[..., object], what: str) -> dict[str, Wanted]:
    """What to pass to those parameters of a task that ask for SQL, or for the delivery. All others are arguments.

    Raises:
        DefinitionError: such a parameter is positional-only; or the kinds of SQL exclude each other. It begins with
            `what`.
    """
    wanted: dict[str, Wanted] = {}
    for parameter in parameters_of(function, what):
        found = _wanted_by(parameter.choices, (), False)
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


def session_class(function: Callable[..., object], name: str, where: str) -> type[Session]:
    """Which Session the handler's parameters ask for: SQLAlchemy's own, or the application's subclass of it.

    Raises:
        DefinitionError: two that exclude each other, or one that can't be made as SQLAlchemy's is.
    """
    what = f"handler {name!r} ({where})"
    found: type[Session] = Session
    for parameter in parameters_of(function, what):
        for kind in parameter.choices:
            if not _is_kind_of(kind, Session) or issubclass(found, kind):
                continue
            if not issubclass(kind, found):
                raise DefinitionError(
                    f"{what} asks for both {found.__name__} and {kind.__name__}; there is one session"
                )
            found = kind
    if found is not Session:
        try:
            found(None, join_transaction_mode="create_savepoint").close()
        except Exception as error:
            raise DefinitionError(
                f"{what} asks for {found.__name__}, which can't be made as Session(connection, "
                f"join_transaction_mode=...) is: {error}; ask for Session or Connection, and make it of that"
            ) from error
    return found


def async_session_class(function: Callable[..., object], name: str, where: str) -> "type[AsyncSession] | None":
    """Which AsyncSession the handler's parameters ask for, as `session_class`; None if they ask for none."""
    what = f"handler {name!r} ({where})"
    found: Any = None
    for parameter in parameters_of(function, what):
        for kind in parameter.choices:
            if not _is_of_asyncio(kind, "AsyncSession") or (found is not None and issubclass(found, kind)):
                continue
            if found is not None and not issubclass(kind, found):
                raise DefinitionError(
                    f"{what} asks for both {found.__name__} and {kind.__name__}; there is one session"
                )
            found = kind
    if found is not None:
        made: list[Session] = []

        def make(**options: Any) -> Session:
            made.append(Session(**options))
            return made[0]

        try:
            session = found(sync_session_class=make)
            if session.sync_session is not made[0]:
                raise TypeError("it makes its Session by itself")
        except Exception as error:
            raise DefinitionError(
                f"{what} asks for {found.__name__}, which can't be made as AsyncSession(sync_session_class=...) is: "
                f"{error}; ask for AsyncSession or AsyncConnection, and make it of that"
            ) from error
    return found  # type: ignore[no-any-return]


def _is_of_asyncio(kind: Any, name: str) -> bool:
    """Whether it is this class of SQLAlchemy's asyncio, or a subclass. A process may not have loaded any."""
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return module is not None and _is_kind_of(kind, getattr(module, name))


def _wanted_by(choices: Iterable[Any], events: tuple[type[DomainEvent], ...], batch: bool) -> Wanted | None:
    choices = tuple(choices)
    for choice in choices:
        if batch and typing.get_origin(choice) in _SEVERAL:
            one = _wanted_by(of_annotation(typing.get_args(choice)[0]), events, False)
            if several := {Wanted.EVENT: Wanted.EVENTS, Wanted.DELIVERY: Wanted.DELIVERIES}.get(one) if one else None:
                return several
        elif _is_kind_of(choice, Session):
            return Wanted.SESSION
        elif _is_of_asyncio(choice, "AsyncSession"):
            return Wanted.ASYNC_SESSION
        elif _is_of_asyncio(choice, "AsyncConnection"):
            return Wanted.ASYNC_CONNECTION
        elif choice in (Connection, Delivery) and not (batch and choice is Delivery):
            return _BY_TYPE[choice]
    if batch:
        return None
    classes = tuple(choice for choice in choices if _is_kind_of(choice, DomainEvent))
    if classes and all(issubclass(event, classes) for event in events):
        return Wanted.EVENT
    return None


def _is_kind_of(choice: Any, base: type) -> bool:
    return isinstance(choice, type) and issubclass(choice, base)


def _means_ours(parameter: Parameter) -> bool:
    """Whether its author expects one of our values there, although the parameter has a default."""
    for choice in parameter.choices:
        for one in (choice, *(part for given in typing.get_args(choice) for part in of_annotation(given))):
            if any(_is_kind_of(one, base) for base in (*_BY_TYPE, DomainEvent)) or _is_alike(one, _ALIKE):
                return True
            if _is_of_asyncio(one, "AsyncSession") or _is_of_asyncio(one, "AsyncConnection"):
                return True
            if parameter.default is None and _is_alike(one, _FROM_ELSEWHERE):
                return True
    return parameter.name in _NAMES and parameter.default is None


def _is_alike(choice: Any, names: Collection[str]) -> bool:
    kind = typing.get_origin(choice) or choice
    return isinstance(kind, type) and any(
        one.__name__ in names and one.__module__.startswith("sqlalchemy.") for one in kind.__mro__
    )


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
    cure = f"a {'batch ' if batch else ''}handler can ask for the event ({handled}), Session, Connection or {delivery}"
    if alike := [choice for choice in parameter.choices if _is_alike(choice, _ALIKE | _FROM_ELSEWHERE)]:
        shown = getattr(alike[0], "__name__", str(alike[0]))
        cure = "ask for a Session or Connection, which has the delivery's transaction"
        if shown.lower().startswith("async"):
            cure = "ask for an AsyncSession or AsyncConnection, which has the delivery's transaction"
    return what + f"is {shown}, which can't be injected: {cure}"
