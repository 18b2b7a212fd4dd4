"""What an aggregate remembers: the events that it recorded and that are not yet saved.

To SQLAlchemy a recorded event is what a changed attribute is: it makes its object dirty, goes where that goes, is
written by the flush, and is thrown away with the changes that a rollback or `expire` throws away.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import inspect
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.attributes import flag_dirty

from events.errors import PublishError
from events.event import DomainEvent

_RECORDED = "_recorded_events"  # since the last flush
_UNDONE = "_undone_events"  # flushed, and rolled back: published by what writes the whole object, not by an update
_PARTS = "events_parts"  # session.info


class Recording:
    """What Recording remembers of its events."""

    def record(self, event: DomainEvent) -> None:
        """Remember an event until the aggregate is saved. Raises PublishError for what is no event."""
        if not isinstance(event, DomainEvent):
            raise PublishError(f"{type(self).__name__}.record() takes instances of DomainEvent, not {event!r}")
        state = state_of(self)
        if state is None:  # no ORM object: its repository publishes
            self.__dict__.setdefault(_RECORDED, []).append(event)
            return
        session: Session | None = state.session
        # What a flush is at work on it takes anyway; what a flush has deleted can't be saved any more.
        if not state.deleted and not getattr(session, "_flushing", False):
            flag_dirty(self)  # which may raise
        self.__dict__.setdefault(_RECORDED, []).append(event)
        if session is not None:
            part_of(session).recorded.append((self, event))

    @property
    def recorded_events(self) -> tuple[DomainEvent, ...]:
        """What was recorded and not yet published, oldest first."""
        return (*self.__dict__.get(_UNDONE, ()), *self.__dict__.get(_RECORDED, ()))

    def forget_recorded(self) -> None:
        """Drop what was recorded."""
        self.__dict__.pop(_RECORDED, None)
        self.__dict__.pop(_UNDONE, None)


@dataclass(slots=True)
class Part:
    """What happened in one transaction or savepoint of a session, and in those savepoints of it that were released."""

    recorded: list[tuple[Recording, DomainEvent]] = field(default_factory=list)  # by objects of the session
    saved: list[tuple[Recording, Collection[DomainEvent]]] = field(default_factory=list)  # published
    merged: list[Recording] = field(default_factory=list)  # copied from these, which have them until the commit


def state_of(aggregate: object) -> Any:
    """SQLAlchemy's InstanceState; None if it is no ORM object."""
    return inspect(aggregate, raiseerr=False)


def parts_of(session: Session) -> dict[SessionTransaction | None, Part]:
    parts: dict[SessionTransaction | None, Part] = session.info.setdefault(_PARTS, {})
    return parts


def part_of(session: Session) -> Part:
    """Of the transaction or savepoint that the session is in now."""
    return parts_of(session).setdefault(session.get_nested_transaction() or session.get_transaction(), Part())


def since_flush(aggregate: Recording) -> list[DomainEvent]:
    """What belongs to the changes that the next update of the object writes."""
    return list(aggregate.__dict__.get(_RECORDED, ()))


def drop(aggregate: Recording, events: Collection[DomainEvent]) -> None:
    """It remembers these no longer."""
    ids = ids_of(events)
    for name in (_RECORDED, _UNDONE):
        if left := [event for event in aggregate.__dict__.get(name, ()) if event.event_id not in ids]:
            aggregate.__dict__[name] = left
        else:
            aggregate.__dict__.pop(name, None)


def give_back(aggregate: Recording, events: Collection[DomainEvent]) -> None:
    """They were published in a transaction that was rolled back, and the object still has what they tell of."""
    aggregate.__dict__[_UNDONE] = [*aggregate.__dict__.get(_UNDONE, ()), *events]


def ids_of(events: Collection[DomainEvent]) -> set[UUID]:
    return {event.event_id for event in events}


@sqlalchemy_event.listens_for(Recording, "expire", propagate=True)
def _expired(aggregate: Recording, attributes: Collection[str] | None) -> None:
    """All its changes were thrown away."""
    if attributes is None:
        aggregate.forget_recorded()
