"""Messages that are not wake-ups of ours. Keeps the contract of events.ledger.ParkingLot."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Engine, Text, and_, cast, func, select, update

from events.ledger import Parked, ParkedFilter, ParkedState
from events.store.database.engine import look, now_plus, transaction
from events.store.database.upsert import insert_into
from events.store.tables import event_parked
from events.text import storable, storable_json

_PARKED = event_parked.c


class SqlParkingLot:
    """Rows of event_parked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def park(self, message: Parked) -> None:
        with transaction(self._engine) as connection:
            connection.execute(
                insert_into(event_parked, connection.dialect.name)
                .values(
                    id=message.id,
                    queue=storable(message.queue)[:255],
                    reason=message.reason[:64],
                    detail=storable(message.detail),
                    body=message.body,
                    properties=storable_json(message.properties),
                    state=ParkedState.PARKED,
                    worker=(message.worker or "")[:255],
                    parked_at=now_plus(connection),
                )
                .on_conflict_do_nothing(index_elements=["id"])
            )

    def find(self, wanted: ParkedFilter) -> list[Parked]:
        query = (
            select(
                _PARKED.id,
                _PARKED.queue,
                _PARKED.reason,
                _PARKED.detail,
                _PARKED.body,
                cast(_PARKED.properties, Text).label("properties"),
                _PARKED.worker,
                _PARKED.parked_at,
            )
            .where(*_conditions(wanted))
            .order_by(_PARKED.parked_at.desc(), _PARKED.id)
            .limit(wanted.limit)
        )
        with look(self._engine) as connection:
            return [
                Parked(**dict(row._mapping) | {"properties": json.loads(row.properties), "body": bytes(row.body)})
                for row in connection.execute(query)
            ]

    def between(self, first: UUID, last: UUID, limit: int, *, discarded: bool = False) -> list[UUID]:
        ids = select(_PARKED.id).where(*_conditions(ParkedFilter(discarded=discarded)), _PARKED.id.between(first, last))
        with look(self._engine) as connection:
            return list(connection.scalars(ids.order_by(_PARKED.id).limit(limit)))

    def counts(self, *, discarded: bool = False) -> dict[str, int]:
        with look(self._engine) as connection:
            return counts(connection, discarded=discarded)

    def replay(self, wanted: ParkedFilter, send: Callable[[Parked, Connection], bool]) -> int:
        count = 0
        for message in self.find(replace(wanted, discarded=False)):
            with transaction(self._engine) as connection:
                mine = select(_PARKED.id).where(_is_open(), _PARKED.id == message.id)
                if connection.scalar(mine.with_for_update(skip_locked=True)) is None:
                    continue  # another click is replaying the message
                if send(message, connection):
                    _close(connection, ParkedState.REPLAYED, _PARKED.id == message.id)
                    count += 1
        return count

    def discard(self, wanted: ParkedFilter) -> int:
        with transaction(self._engine) as connection:
            these = and_(*_conditions(replace(wanted, discarded=False)))
            if wanted.limit is not None:
                newest = select(_PARKED.id).where(these).order_by(_PARKED.parked_at.desc(), _PARKED.id)
                these = and_(these, _PARKED.id.in_(newest.limit(wanted.limit).with_for_update()))
            return _close(connection, ParkedState.DISCARDED, these)

    def restore(self, wanted: ParkedFilter) -> int:
        these = and_(*_conditions(replace(wanted, discarded=True)))
        with transaction(self._engine) as connection:
            back = update(event_parked).where(these).values(state=ParkedState.PARKED, closed_at=None)
            return connection.execute(back).rowcount


def counts(connection: Connection, *, discarded: bool = False) -> dict[str, int]:
    """See events.ledger.ParkingLot."""
    these = _conditions(ParkedFilter(discarded=discarded))
    query = select(_PARKED.reason, func.count()).where(*these).group_by(_PARKED.reason).order_by(_PARKED.reason)
    return {row[0]: row[1] for row in connection.execute(query)}


def _close(connection: Connection, state: ParkedState, which: ColumnElement[bool]) -> int:
    closed = update(event_parked).where(_is_open(), which).values(state=state, closed_at=now_plus(connection))
    return connection.execute(closed).rowcount


def _is_open() -> ColumnElement[bool]:
    return _PARKED.state == ParkedState.PARKED


def _conditions(wanted: ParkedFilter) -> list[ColumnElement[bool]]:
    conditions: list[Any] = [_PARKED.state == ParkedState.DISCARDED if wanted.discarded else _is_open()]
    if wanted.ids:
        conditions.append(_PARKED.id.in_(list(wanted.ids)))
    if wanted.reason is not None:
        conditions.append(_PARKED.reason == wanted.reason)
    return conditions
