"""Aggregates record events while they change, and hand them over when they are saved: dispatch after persistence.

    class Library(Base, AggregateRoot):
        def add(self, card): ...; self.record(CardAddedToLibraryEvent(...))

    with Session.begin() as session:
        session.add(library)          # the flush that writes the library publishes its events, in the same transaction
        library.add(card)

For aggregates that are no ORM objects a repository calls `events.publish_recorded(aggregate, session=...)`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import inspect
from sqlalchemy.orm import Session, object_session
from sqlalchemy.orm.exc import UnmappedInstanceError

from events.errors import PublishError
from events.event import DomainEvent

_RECORDED = "_recorded_events"
_HELD = "events_recorded_by"  # session.info: a session holds clean objects weakly, and their events must not be lost
_HANDED = "events_handed_over"  # session.info: what this transaction published, until it ends

Publish = Callable[..., None]


class AggregateRoot:
    """Mixin of whatever changes by events. It has no __init__, so it mixes into ORM models and plain classes alike."""

    def record(self, event: DomainEvent) -> None:
        """Remember an event until the aggregate is saved. Raises PublishError for what is no event."""
        if not isinstance(event, DomainEvent):
            raise PublishError(f"{type(self).__name__}.record() takes instances of DomainEvent, not {event!r}")
        self.__dict__.setdefault(_RECORDED, []).append(event)
        try:
            session = object_session(self)
        except UnmappedInstanceError:  # no ORM object: its repository publishes
            return
        if session is not None:
            session.info.setdefault(_HELD, {})[id(self)] = self

    @property
    def recorded_events(self) -> tuple[DomainEvent, ...]:
        """What was recorded and not yet published, oldest first."""
        return tuple(self.__dict__.get(_RECORDED, ()))

    def forget_recorded(self) -> None:
        """Drop what was recorded; called once it is published."""
        self.__dict__.pop(_RECORDED, None)


def publish_on_save(publish: Publish) -> None:
    """From now on every ORM session publishes what its aggregates recorded, when they are flushed or committed."""

    def hand_over(session: Session, candidates: Iterable[object]) -> None:
        for aggregate in candidates:
            if isinstance(aggregate, AggregateRoot) and aggregate.recorded_events:
                publish(aggregate.recorded_events, session=session)
                session.info.setdefault(_HANDED, []).append((aggregate, aggregate.recorded_events))
                aggregate.forget_recorded()
                session.info.get(_HELD, {}).pop(id(aggregate), None)

    @sqlalchemy_event.listens_for(Session, "after_flush")
    def saved(session: Session, _: Any) -> None:
        hand_over(session, [*session.new, *session.dirty, *session.deleted])

    @sqlalchemy_event.listens_for(Session, "before_commit")
    def committing(session: Session) -> None:
        session.flush()
        hand_over(session, list(session.info.get(_HELD, {}).values()))  # an event without a changed column

    @sqlalchemy_event.listens_for(Session, "after_commit")
    def committed(session: Session) -> None:
        session.info.pop(_HANDED, None)

    @sqlalchemy_event.listens_for(Session, "after_soft_rollback")
    def rolled_back(session: Session, _: Any) -> None:
        """A new object is as it was before session.add(), its events too. A loaded one has lost its changes."""
        handed = session.info.get(_HANDED, [])
        still_handed = []
        for aggregate, events in handed:
            if inspect(aggregate).transient:
                aggregate.__dict__[_RECORDED] = [*events, *aggregate.recorded_events]
            elif session.in_transaction():
                still_handed.append((aggregate, events))
        session.info[_HANDED] = still_handed
        if not session.in_transaction():
            for aggregate in session.info.pop(_HELD, {}).values():
                if not inspect(aggregate).transient:
                    aggregate.forget_recorded()


def publish_recorded(aggregate: AggregateRoot, publish: Publish, *, session: Any = None) -> None:
    """Publish what an aggregate recorded, in the transaction that saves it, and forget it."""
    if aggregate.recorded_events:
        publish(aggregate.recorded_events, session=session)
        aggregate.forget_recorded()
