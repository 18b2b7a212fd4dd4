"""The types by which a parameter says what it asks for: ours, and those that others provide."""

import sys
import types
import typing
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from events.definition import Parameter
from events.definition import choices as of_annotation
from events.event import DomainEvent


@dataclass(frozen=True, slots=True)
class Ask:
    """What a parameter asks others to provide. `keys`: the types in its annotation; the first provided one counts."""

    keys: tuple[Any, ...]
    is_required: bool


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

OURS = {Session: Wanted.SESSION, Connection: Wanted.CONNECTION, Delivery: Wanted.DELIVERY}
ALIKE_SESSIONS = {"scoped_session", "async_scoped_session"}  # of SQLAlchemy
FROM_ELSEWHERE = {"Engine", "AsyncEngine", "sessionmaker", "async_sessionmaker"}  # with a default they are given by it
ALIKE = ALIKE_SESSIONS | FROM_ELSEWHERE


def ask_of(parameter: Parameter) -> Ask | None:
    """What a parameter asks others to provide; None if its type is none that can be provided."""
    keys = tuple(keys_of(parameter.hint))
    return Ask(keys, parameter.is_required) if keys and not parameter.is_positional_only else None


def keys_of(hint: Any) -> Iterable[Any]:
    """The types in an annotation by which something can be provided: classes, forms of generic ones, and NewTypes."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield from keys_of(typing.get_args(hint)[0])
    elif origin in (typing.Union, types.UnionType):
        for one in typing.get_args(hint):
            yield from keys_of(one)
    elif type(hint).__name__ == "TypeAliasType":
        yield from keys_of(hint.__value__)
    elif isinstance(hint, typing.NewType):
        if all(is_provided_by_others(one) or is_builtin(one) for one in of_annotation(hint)):
            yield hint
    elif is_provided_by_others(origin or hint):
        yield hint


def is_provided_by_others(kind: Any) -> bool:
    """Whether it is a class that is neither ours nor Python's own."""
    ours = (*OURS, DomainEvent)
    if not isinstance(kind, type) or is_builtin(kind) or any(is_kind_of(kind, one) for one in ours):
        return False
    return not (is_of_asyncio(kind, "AsyncSession") or is_of_asyncio(kind, "AsyncConnection") or is_alike(kind, ALIKE))


def is_builtin(kind: Any) -> bool:
    """Whether it is a class such as `str`, `Callable` or `Any`, which says nothing of what is wanted."""
    return getattr(kind, "__module__", "") in ("builtins", "typing", "collections", "collections.abc", "types")


def is_kind_of(choice: Any, base: type) -> bool:
    return isinstance(choice, type) and issubclass(choice, base)


def is_of_asyncio(kind: Any, name: str) -> bool:
    """Whether it is this class of SQLAlchemy's asyncio, or a subclass. A process may not have loaded any."""
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return module is not None and is_kind_of(kind, getattr(module, name))


def is_alike(choice: Any, names: Collection[str]) -> bool:
    kind = typing.get_origin(choice) or choice
    return isinstance(kind, type) and any(
        one.__name__ in names and one.__module__.startswith("sqlalchemy.") for one in kind.__mro__
    )
