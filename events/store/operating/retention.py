"""Deletes what is finished and old. Keeps the contract of events.ledger.Retention.

It follows an index by age, one batch at a time, and never reads a whole table: with millions of rows, that matters
most.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    TIMESTAMP,
    ColumnElement,
    Connection,
    Engine,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
)

from events.ledger import Mark, ParkedState, Pruned, State
from events.store.conditions import has_mark
from events.store.database.engine import now_plus, transaction
from events.store.database.types import StoredText
from events.store.operating.conflicts import in_turn
from events.store.tables import event_actions, event_attempts, event_deliveries, event_parked, event_store, is_processed

Answer = TypeVar("Answer")
_EVENT, _DELIVERY, _PARKED = event_store.c, event_deliveries.c, event_parked.c


class SqlRetention:
    """Deletes finished events with their deliveries, and closed parked messages."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prune(self, older_than: timedelta, batch: int, *, dry_run: bool = False) -> Iterator[Pruned]:
        with transaction(self._engine, eager=False) as connection:
            before = connection.execute(select(now_plus(connection, -older_than))).scalar_one()
        last: Sequence[Any] | None = None
        while True:
            seen, pruned = self._in_turn(partial(self._batch, before, last, batch, dry_run), dry_run)
            if pruned.events:
                yield pruned
            if len(seen) < batch:
                break
            if last == (last := (seen[-1].created_at, seen[-1].id)):  # the same place again: this time has no order
                break
        while True:
            parked = self._in_turn(partial(_closed, before, batch, dry_run), dry_run)
            if parked:
                yield Pruned(parked=parked)
            if dry_run or parked < batch:
                return

    def _in_turn(self, work: Callable[[Connection], Answer], dry_run: bool) -> Answer:
        if not dry_run:
            return in_turn(self._engine, work)
        with transaction(self._engine, eager=False) as connection:
            return work(connection)

    def _batch(
        self, before: datetime, last: Sequence[Any] | None, batch: int, dry_run: bool, connection: Connection
    ) -> tuple[Sequence[Any], Pruned]:
        seen = connection.execute(self._oldest(connection, before, last, batch, lock=not dry_run)).all()
        ids = [row.id for row in seen]
        if dry_run:
            return seen, _would_delete(connection, ids, before)
        return seen, _delete(connection, ids, before)

    @staticmethod
    def _oldest(connection: Connection, before: datetime, last: Sequence[Any] | None, batch: int, *, lock: bool) -> Any:
        # As text: another program may have written a time that Python can't read, but which still has its place in the
        # order.
        sqlite = connection.dialect.name == "sqlite"
        created_at = type_coerce(_EVENT.created_at, StoredText()) if sqlite else cast(_EVENT.created_at, Text)
        query = (
            select(_EVENT.id, created_at.label("created_at"))
            .where(is_processed, _EVENT.created_at < before)
            .order_by(_EVENT.created_at, _EVENT.id)
            .limit(batch)
        )
        if last is not None:
            text, event_id = last
            since: Any = text if sqlite else cast(literal(text, Text), TIMESTAMP(timezone=True))
            query = query.where(tuple_(type_coerce(_EVENT.created_at, Text), _EVENT.id) > tuple_(since, event_id))
        return query.with_for_update(skip_locked=True, of=event_store) if lock else query


def _finished(ids: Sequence[Any], before: datetime) -> Any:
    """Select those of the events that no relay, worker or operator needs any more."""
    in_use = exists().where(_DELIVERY.event_id == _EVENT.id, ~_is_done(before))
    # An event that another program marked as processed, and that no relay has looked at, may still have handlers.
    return select(_EVENT.id).where(_EVENT.id.in_(ids), is_processed, ~has_mark(Mark.NOT_YET), ~in_use)


def _is_done(before: datetime) -> ColumnElement[bool]:
    done = _DELIVERY.state.in_([State.SUCCEEDED, State.DISCARDED])
    return and_(done, func.coalesce(_DELIVERY.finished_at, _DELIVERY.created_at) < before)


def _would_delete(connection: Connection, ids: Sequence[Any], before: datetime) -> Pruned:
    finished = list(connection.scalars(_finished(ids, before)))
    theirs = select(func.count()).select_from(event_deliveries).where(_DELIVERY.event_id.in_(finished))
    return Pruned(len(finished), connection.scalar(theirs) or 0) if finished else Pruned()


def _delete(connection: Connection, ids: Sequence[Any], before: datetime) -> Pruned:
    """Delete the finished events with their deliveries.

    The deliveries are locked first, then the condition is checked again: an operator may just have restored a delivery.
    """
    maybe = list(connection.scalars(_finished(ids, before)))
    if not maybe:
        return Pruned()
    theirs = select(_DELIVERY.event_id).where(_DELIVERY.event_id.in_(maybe))
    connection.execute(theirs.order_by(_DELIVERY.event_id, _DELIVERY.handler).with_for_update()).all()
    finished = list(connection.scalars(_finished(maybe, before)))
    if not finished:
        return Pruned()
    done = delete(event_deliveries).where(_DELIVERY.event_id.in_(finished), _is_done(before))
    deliveries = connection.execute(done).rowcount
    left = exists().where(_DELIVERY.event_id == _EVENT.id)
    events = delete(event_store).where(_EVENT.id.in_(finished), is_processed, ~left).returning(_EVENT.id)
    gone = list(connection.scalars(events))
    for table in (event_attempts, event_actions):
        connection.execute(delete(table).where(table.c.event_id.in_(gone)))
    return Pruned(len(gone), deliveries)


def _closed(before: datetime, batch: int, dry_run: bool, connection: Connection) -> int:
    closed = and_(_PARKED.state != ParkedState.PARKED, _PARKED.closed_at < before)
    if dry_run:
        return int(connection.scalar(select(func.count()).select_from(event_parked).where(closed)) or 0)
    ids = select(_PARKED.id).where(closed).limit(batch)
    return connection.execute(delete(event_parked).where(closed, _PARKED.id.in_(ids))).rowcount
