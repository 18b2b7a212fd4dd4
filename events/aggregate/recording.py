"""Remembers the events that an aggregate has recorded until they are saved.

SQLAlchemy treats a recorded event like a changed attribute: the event makes its object dirty, goes where the object
goes, is written by the flush, and is thrown away with the changes that a rollback or `expire` throws away.
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

_RECORDED = "_recorded_events"  # attribute of aggregates: the events since the last flush
# Attribute of aggregates: events that were flushed and rolled back. They are published when the whole object is
# written, not by an update.
_UNDONE = "_undone_events"
_PARTS = "events_parts"  # key in session.info


class AggregateRoot:
    """The base of aggregates: it records events."""

    def record(self, event: DomainEvent) -> None:
        """Remember an event until the aggregate is saved. Raises PublishError if it is no event."""
        if not isinstance(event, DomainEvent):
            raise PublishError(f"{type(self).__name__}.record() takes instances of DomainEvent, not {event!r}")
        state = state_of(self)
        if state is None:  # the aggregate is no ORM object: its repository publishes the events
            self.__dict__.setdefault(_RECORDED, []).append(event)
            return
        session: Session | None = state.session
        # A running flush takes the event anyway, and a deleted object can't be saved any more.
        if not state.deleted and not getattr(session, "_flushing", False):
            flag_dirty(self)  # this may raise, so it comes before the event is remembered
        self.__dict__.setdefault(_RECORDED, []).append(event)
        if session is not None:
            part_of(session).recorded.append((self, event))

    @property
    def recorded_events(self) -> tuple[DomainEvent, ...]:
        """The events that were recorded and not yet published, oldest first."""
        return (*self.__dict__.get(_UNDONE, ()), *self.__dict__.get(_RECORDED, ()))

    def forget_recorded(self) -> None:
        """Drop the recorded events."""
        self.__dict__.pop(_RECORDED, None)
        self.__dict__.pop(_UNDONE, None)


@dataclass(slots=True)
class Part:
    """The events of one transaction or savepoint of a session, and of its released savepoints.

    Attributes:
        recorded: the events that objects of the session have recorded.
        saved: the events that were published.
        merged: the objects whose events were copied into the session; they keep their events until the commit.
    """

    recorded: list[tuple[AggregateRoot, DomainEvent]] = field(default_factory=list)
    saved: list[tuple[AggregateRoot, Collection[DomainEvent]]] = field(default_factory=list)
    merged: list[AggregateRoot] = field(default_factory=list)


def state_of(aggregate: object) -> Any:
    """SQLAlchemy's InstanceState of an aggregate; None if the aggregate is no ORM object."""
    return inspect(aggregate, raiseerr=False)


def parts_of(session: Session) -> dict[SessionTransaction | None, Part]:
    """The parts of a session, by transaction or savepoint."""
    parts: dict[SessionTransaction | None, Part] = session.info.setdefault(_PARTS, {})
    return parts


def part_of(session: Session) -> Part:
    """The part of the transaction or savepoint that the session is in now."""
    return parts_of(session).setdefault(session.get_nested_transaction() or session.get_transaction(), Part())


def since_flush(aggregate: AggregateRoot) -> list[DomainEvent]:
    """The events that the next update of the object writes, together with its changes."""
    return list(aggregate.__dict__.get(_RECORDED, ()))


def drop(aggregate: AggregateRoot, events: Collection[DomainEvent]) -> None:
    """Let the aggregate forget these events."""
    ids = ids_of(events)
    for name in (_RECORDED, _UNDONE):
        if left := [event for event in aggregate.__dict__.get(name, ()) if event.event_id not in ids]:
            aggregate.__dict__[name] = left
        else:
            aggregate.__dict__.pop(name, None)


def give_back(aggregate: AggregateRoot, events: Collection[DomainEvent]) -> None:
    """Let the aggregate have these events again: their transaction was rolled back, but the object kept its changes."""
    aggregate.__dict__[_UNDONE] = [*aggregate.__dict__.get(_UNDONE, ()), *events]


def ids_of(events: Collection[DomainEvent]) -> set[UUID]:
    return {event.event_id for event in events}


@sqlalchemy_event.listens_for(AggregateRoot, "expire", propagate=True)
def _expired(aggregate: AggregateRoot, attributes: Collection[str] | None) -> None:
    """Forget the events: with all attributes, all changes of the aggregate were thrown away."""
    if attributes is None:
        aggregate.forget_recorded()
