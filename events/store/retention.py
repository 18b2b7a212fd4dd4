"""Forgets what is finished and old. Keeps the contract of events.ports.Retention.

It goes along an index by age, a batch at a time, and never reads a table: with millions of rows that is what counts.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Text, and_, delete, exists, func, or_, select, tuple_, type_coerce

from events.letters import ParkedState, Pruned
from events.records import State
from events.store.engine import now_plus, transaction
from events.store.tables import (
    event_actions,
    event_attempts,
    event_deliveries,
    event_parked,
    event_store,
    is_processed,
)

_EVENT, _DELIVERY, _PARKED = event_store.c, event_deliveries.c, event_parked.c


class SqlRetention:
    """Deletes finished events with their deliveries, and closed parked messages."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prune(self, older_than: timedelta, batch: int, *, dry_run: bool = False) -> Iterator[Pruned]:
        with transaction(self._engine, eager=False) as connection:
            before: datetime = connection.scalar(select(now_plus(connection, -older_than)))  # type: ignore[assignment]
        last: Sequence[Any] | None = None
        while True:
            with transaction(self._engine, eager=not dry_run) as connection:
                seen = connection.execute(self._oldest(connection, before, last, batch, lock=not dry_run)).all()
                pruned = _finished(connection, [row.id for row in seen], before, dry_run=dry_run) if seen else Pruned()
            if pruned.events:
                yield pruned
            if len(seen) < batch:
                break
            last = (seen[-1].created_at, seen[-1].id)
        while True:
            with transaction(self._engine, eager=not dry_run) as connection:
                parked = _closed(connection, before, batch, dry_run=dry_run)
            if parked:
                yield Pruned(parked=parked)
            if dry_run or parked < batch:
                return

    @staticmethod
    def _oldest(connection: Connection, before: datetime, last: Sequence[Any] | None, batch: int, *, lock: bool) -> Any:
        # On SQLite as text: what a foreign program wrote may be no time, and is still an order to go on in.
        created_at = type_coerce(_EVENT.created_at, Text) if connection.dialect.name == "sqlite" else _EVENT.created_at
        query = (
            select(_EVENT.id, created_at.label("created_at"))
            .where(is_processed, _EVENT.created_at < before)
            .order_by(_EVENT.created_at, _EVENT.id)
            .limit(batch)
        )
        if last is not None:
            query = query.where(tuple_(created_at, _EVENT.id) > tuple_(*last))
        return query.with_for_update(skip_locked=True, of=event_store) if lock else query


def _finished(connection: Connection, ids: list[Any], before: datetime, *, dry_run: bool) -> Pruned:
    """Of these events, those that nobody has anything left to do with."""
    in_use = exists().where(
        _DELIVERY.event_id == _EVENT.id,
        or_(
            _DELIVERY.state.not_in([State.SUCCEEDED, State.DISCARDED]),
            func.coalesce(_DELIVERY.finished_at, _DELIVERY.created_at) >= before,
        ),
    )
    finished = list(connection.scalars(select(_EVENT.id).where(_EVENT.id.in_(ids), ~in_use)))
    if not finished:
        return Pruned()
    theirs = _DELIVERY.event_id.in_(finished)
    if dry_run:
        count = connection.scalar(select(func.count()).select_from(event_deliveries).where(theirs))
        return Pruned(len(finished), int(count or 0))
    for table in (event_attempts, event_actions):
        connection.execute(delete(table).where(table.c.event_id.in_(finished)))
    deliveries = connection.execute(delete(event_deliveries).where(theirs)).rowcount
    return Pruned(connection.execute(delete(event_store).where(_EVENT.id.in_(finished))).rowcount, deliveries)


def _closed(connection: Connection, before: datetime, batch: int, *, dry_run: bool) -> int:
    closed = and_(_PARKED.state != ParkedState.PARKED, _PARKED.closed_at < before)
    if dry_run:
        return int(connection.scalar(select(func.count()).select_from(event_parked).where(closed)) or 0)
    ids = select(_PARKED.id).where(closed).limit(batch)
    return connection.execute(delete(event_parked).where(_PARKED.id.in_(ids))).rowcount
