"""Publishes the events of aggregates when these are saved: dispatch after persistence.

The flush that saves an aggregate publishes its events, so in the same transaction or savepoint. Published events are
noted for each transaction and savepoint: the release of a savepoint hands its notes to the transaction around it, a
commit throws the notes away, and a rollback gives the events back to the objects that still have the changes.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import InstanceState, Session, SessionTransaction, scoped_session

from events.aggregate.recording import (
    AggregateRoot,
    Part,
    drop,
    give_back,
    ids_of,
    part_of,
    parts_of,
    since_flush,
    state_of,
)
from events.event import DomainEvent
from events.publishing import publish


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


def _saved(session: Session, _: Any) -> None:
    _hand_over(session, [*session.new, *session.dirty, *session.deleted])


def _committing(session: Session) -> None:
    session.flush()
    _hand_over(session, ())  # events that were recorded after the last flush


def _hand_over(session: Session, flushed: Iterable[object]) -> None:
    part = part_of(session)
    recorded = [aggregate for aggregate, _ in part.recorded if state_of(aggregate).session is session]
    found = {id(one): one for one in [*flushed, *recorded] if isinstance(one, AggregateRoot)}
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


def _is_kept(aggregate: AggregateRoot) -> bool:
    """Whether a session knows the object's row, and so reads it anew after a rollback."""
    state = state_of(aggregate)
    return state is not None and bool(state.persistent or state.deleted)


def _hand_on_when_merged() -> None:
    """Wrap Session._merge, which merge() calls for each object: it copies mapped attributes only, and has no event."""
    merge: Callable[..., object] = Session._merge

    def merge_with_events(session: Session, state: InstanceState[Any], *args: Any, load: bool, **more: Any) -> object:
        merged = merge(session, state, *args, load=load, **more)
        source = state.obj()
        if load and isinstance(source, AggregateRoot) and isinstance(merged, AggregateRoot) and source is not merged:
            _copy(session, source, merged)
        return merged

    Session._merge = merge_with_events  # type: ignore[method-assign, assignment]


def _copy(session: Session, source: AggregateRoot, merged: AggregateRoot) -> None:
    """Copy the events; the source keeps its own until the commit, since it may have to be merged again."""
    known = ids_of(merged.recorded_events)
    for part in parts_of(session).values():
        known |= {event.event_id for _, events in part.saved for event in events}
    if new := [event for event in source.recorded_events if event.event_id not in known]:
        for event in new:
            AggregateRoot.record(merged, event)
        part_of(session).merged.append(source)


# Every ORM session of this process publishes what its aggregates recorded, from the import of this module on. That is
# when the application's models are imported: later, another thread's commit might be at work on SQLAlchemy's lists of
# listeners. Ours come first, whenever the application registered its own: those see aggregates that are handed over.
for _event, _listener in (
    ("after_flush", _saved),
    ("before_commit", _committing),
    ("after_commit", _committed),
    ("after_soft_rollback", _rolled_back),
    ("after_transaction_end", _ended),
):
    sqlalchemy_event.listen(Session, _event, _listener, insert=True)
_hand_on_when_merged()
