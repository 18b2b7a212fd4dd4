"""Aggregates record events while they change, and hand them over when they are saved: dispatch after persistence.

    class Library(Base, AggregateRoot):
        def add(self, card): ...; self.record(CardAddedToLibraryEvent(...))

    with Session.begin() as session:
        session.add(library)          # the flush that writes the library publishes its events, in the same transaction
        library.add(card)

For aggregates that are no ORM objects a repository calls `events.publish_recorded(aggregate, session=...)`.

The flush that saves an aggregate publishes its events, so in the same transaction or savepoint. Published events are
noted for each transaction and savepoint: the release of a savepoint hands its notes to the transaction around it, a
commit throws the notes away, and a rollback gives the events back to the objects that still have the changes.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import InstanceState, Session, SessionTransaction, scoped_session

from events.event import DomainEvent
from events.publishing import (
    Part,
    Recording,
    drop,
    give_back,
    ids_of,
    part_of,
    parts_of,
    publish,
    since_flush,
    state_of,
)

__all__ = ["AggregateRoot", "publish_recorded"]

_lock = threading.Lock()
_is_watching = False


class AggregateRoot(Recording):
    """Mixin for classes that change by events. It has no __init__, so it suits ORM models and plain classes alike."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _watch_sessions()

    def record(self, event: DomainEvent) -> None:
        """Remember an event until the aggregate is saved. Raises PublishError if it is no event."""
        _watch_sessions()  # for classes whose other bases call no super().__init_subclass__()
        super().record(event)


def publish_recorded(aggregate: AggregateRoot, *, session: Any = None) -> None:
    """Publish what an aggregate that is no ORM object recorded, in the transaction that saves it.

    If a Session rolls the transaction back, the aggregate has the events again. A Connection tells of no rollback.
    """
    if events := aggregate.recorded_events:
        publish(events, session=session)
        drop(aggregate, events)
        real = session() if isinstance(session, scoped_session) else session
        if isinstance(real, Session):
            part_of(real).saved.append((aggregate, events))


def _watch_sessions() -> None:
    """From now on every ORM session publishes what its aggregates recorded, when they are flushed or committed.

    Begun by the first class of aggregates: a process that has none keeps SQLAlchemy's sessions as they are.
    """
    global _is_watching
    if _is_watching:
        return
    with _lock:
        if not _is_watching:
            sqlalchemy_event.listen(Session, "after_flush", _saved)
            sqlalchemy_event.listen(Session, "before_commit", _committing)
            sqlalchemy_event.listen(Session, "after_commit", _committed)
            sqlalchemy_event.listen(Session, "after_soft_rollback", _rolled_back)
            sqlalchemy_event.listen(Session, "after_transaction_end", _ended)
            _hand_on_when_merged()
            _is_watching = True


def _saved(session: Session, _: Any) -> None:
    _hand_over(session, [*session.new, *session.dirty, *session.deleted])


def _committing(session: Session) -> None:
    session.flush()
    _hand_over(session, ())  # events that were recorded after the last flush


def _hand_over(session: Session, flushed: Iterable[object]) -> None:
    part = part_of(session)
    recorded = [aggregate for aggregate, _ in part.recorded if state_of(aggregate).session is session]
    found = {id(one): one for one in [*flushed, *recorded] if isinstance(one, Recording)}
    told: dict[Connection, list[DomainEvent]] = {}
    saved = []
    for aggregate in found.values():
        state = state_of(aggregate)
        # An INSERT writes the whole object, also changes that an earlier transaction wrote and rolled back.
        events = list(aggregate.recorded_events) if state.pending else since_flush(aggregate)
        if events:
            told.setdefault(session.connection(bind_arguments={"mapper": state.mapper}), []).extend(events)
            saved.append((aggregate, events))
    for connection, events in told.items():
        publish(events, session=connection)
    deleted = session.deleted
    for aggregate, events in saved:
        drop(aggregate, events)
        if aggregate not in deleted:  # a delete that is rolled back is not repeated by saving the object
            part.saved.append((aggregate, events))
    part.recorded.clear()


def _committed(session: Session) -> None:
    """A savepoint was released, or the transaction committed."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    part = parts_of(session).pop(transaction, None)
    if part is None or transaction is None:
        return
    if transaction.nested and transaction.parent is not None:
        around = parts_of(session).setdefault(_bounds(transaction.parent), Part())
        around.saved += part.saved
        around.merged += part.merged
    else:
        published = [event for _, events in part.saved for event in events]
        for source in part.merged:
            drop(source, published)


def _rolled_back(session: Session, transaction: SessionTransaction) -> None:
    """Called also when a flush failed and the session waits for its rollback()."""
    _ended(session, _bounds(transaction))


def _ended(session: Session, transaction: SessionTransaction) -> None:
    """A transaction or savepoint has ended; it was rolled back or closed unless `_committed` took its notes."""
    part = parts_of(session).pop(transaction, None)
    if part is None:
        return
    for aggregate, events in part.saved:
        if not _is_kept(aggregate):  # else it has lost its changes
            give_back(aggregate, events)
    for aggregate, event in part.recorded:
        if _is_kept(aggregate):
            drop(aggregate, [event])


def _bounds(transaction: SessionTransaction) -> SessionTransaction:
    """The savepoint or database transaction around this SessionTransaction; a flush has one, too."""
    while not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction


def _is_kept(aggregate: Recording) -> bool:
    """Whether a session knows the object's row, and so reads it anew after a rollback."""
    state = state_of(aggregate)
    return state is not None and bool(state.persistent or state.deleted)


def _hand_on_when_merged() -> None:
    """Wrap Session._merge, which merge() calls for each object: it copies mapped attributes only, and has no event."""
    merge: Callable[..., object] = Session._merge

    def merge_with_events(session: Session, state: InstanceState[Any], *args: Any, load: bool, **more: Any) -> object:
        merged = merge(session, state, *args, load=load, **more)
        source = state.obj()
        if load and isinstance(source, Recording) and isinstance(merged, Recording) and source is not merged:
            _copy(session, source, merged)
        return merged

    Session._merge = merge_with_events  # type: ignore[method-assign, assignment]


def _copy(session: Session, source: Recording, merged: Recording) -> None:
    """Copy the events; the source keeps its own until the commit, since it may have to be merged again."""
    known = ids_of(merged.recorded_events)
    for part in parts_of(session).values():
        known |= {event.event_id for _, events in part.saved for event in events}
    if new := [event for event in source.recorded_events if event.event_id not in known]:
        for event in new:
            Recording.record(merged, event)
        part_of(session).merged.append(source)
