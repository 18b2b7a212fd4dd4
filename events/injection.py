"""What a handler's parameters can ask for, decided once at import and by type alone.

| annotation | what the handler gets |
|---|---|
| the event's class, a base class of it, or a union | the event |
| sqlalchemy.orm.Session | a session in the delivery's own transaction |
| sqlalchemy.Connection | the connection that carries that transaction |
| Delivery | attempt, idempotency key and the like |

A batch handler asks for `list[Event]` instead of the event, and for `list[Delivery]`, in the same order.
"""

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events.errors import DefinitionError
from events.event import DomainEvent


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one handler, as the handler sees it.

    Attributes:
        event_id: the event's id.
        event_type: the event's stable name.
        handler: this handler's name.
        attempt: which run this is, from 1.
        max_attempts: after this many runs it is a dead letter.
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


_BY_TYPE = {Session: Wanted.SESSION, Connection: Wanted.CONNECTION, Delivery: Wanted.DELIVERY}


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
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:
        raise DefinitionError(
            f"handler {name!r} ({where}): its annotations can't be resolved ({error}); "
            f"import the types at module level, outside `if TYPE_CHECKING`"
        ) from error
    wanted: dict[str, Wanted] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        found = _wanted_by(hints.get(parameter.name), events, batch)
        if found is not None and parameter.kind is not parameter.POSITIONAL_ONLY:
            wanted[parameter.name] = found
        elif parameter.default is parameter.empty:
            raise DefinitionError(_cannot_inject(parameter, hints.get(parameter.name), events, name, where, batch))
    return wanted


def _wanted_by(hint: object, events: tuple[type[DomainEvent], ...], batch: bool) -> Wanted | None:
    if batch and typing.get_origin(hint) in (list, Sequence):
        inner = _wanted_by(typing.get_args(hint)[0], events, False)
        return {Wanted.EVENT: Wanted.EVENTS, Wanted.DELIVERY: Wanted.DELIVERIES}.get(inner) if inner else None
    if hint in _BY_TYPE:
        return None if batch and hint is Delivery else _BY_TYPE[hint]
    if batch:
        return None
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    classes = tuple(choice for choice in choices if isinstance(choice, type) and issubclass(choice, DomainEvent))
    if classes and all(issubclass(event, classes) for event in events):
        return Wanted.EVENT
    return None


def _cannot_inject(
    parameter: inspect.Parameter,
    hint: object,
    events: tuple[type[DomainEvent], ...],
    name: str,
    where: str,
    batch: bool,
) -> str:
    handled = " | ".join(f"{event.__name__} ({event.defined_at})" for event in events)
    delivery = "list[Delivery]" if batch else "Delivery"
    if batch:
        handled = f"list[{handled}]"
    what = f"handler {name!r} ({where}): parameter {parameter.name!r} "
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return what + "is positional-only, but handlers are called by keyword; remove the '/'"
    if hint is None:
        return what + f"has no annotation; say what it is: {handled}, Session, Connection or {delivery}"
    shown = str(hint) if batch else getattr(hint, "__name__", str(hint))
    cure = f"a {'batch ' if batch else ''}handler can ask for the event ({handled}), Session, Connection or {delivery}"
    if shown == "AsyncSession":
        cure = "async handlers too share the delivery's transaction through a Session or Connection"
    return what + f"is {shown}, which can't be injected: {cure}"
