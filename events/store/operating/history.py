"""Reads the history of events. Keeps the contract of events.ledger.History."""

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import fields
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Engine, Table, func, select, union_all

from events.ledger import (
    ActionRecord,
    AttemptRecord,
    DeliveryRecord,
    EventFilter,
    EventRecord,
    Found,
    Mark,
    Outcome,
    as_uuid,
    sender_of,
)
from events.store.database.engine import look
from events.store.database.snapshots import snapshot
from events.store.database.types import causation_id, correlation_id, is_correlated, sender_event_id, stored_json
from events.store.tables import (
    event_actions,
    event_attempts,
    event_deliveries,
    event_store,
    is_new,
    is_processed,
    is_unprocessed,
)

Record = TypeVar("Record", DeliveryRecord, AttemptRecord, ActionRecord)

_EVENT, _DELIVERY = event_store.c, event_deliveries.c
_MOST_CORRELATED = 10_000  # the most events of one request that a search finds
# The most events of one sender's id that a search finds: there are as many as senders that use the id.
_MOST_SENT_AS = 1_000
_FOUND = (
    _EVENT.id.label("event_id"),
    _EVENT.event_type,
    func.coalesce(_EVENT.aggregate_id, "").label("aggregate_id"),
    _EVENT.created_at.label("published_at"),
)
_TEXTS = {"error_type", "error", "traceback", "place"}  # columns whose NULL is shown as ""
_ATTEMPT = event_attempts.c
# The number of the last attempt, if it was handed back and so doesn't count. A replay comes only after an attempt that
# counted: then the delivery's own columns say the number.
_OF_LAST = (
    select(_ATTEMPT.run)
    .where(
        _ATTEMPT.event_id == _DELIVERY.event_id,
        _ATTEMPT.handler == _DELIVERY.handler,
        _ATTEMPT.attempt == _DELIVERY.attempts,
        _ATTEMPT.outcome == Outcome.HANDED_BACK.value,
    )
    .scalar_subquery()
)
# The column with an attempt's number, by the table of the record: see events.ledger.records.
_NUMBERS: dict[str, ColumnElement[int]] = {
    event_attempts.name: _ATTEMPT.run,
    event_deliveries.name: func.coalesce(_OF_LAST, _DELIVERY.attempts - _DELIVERY.attempts_before),
}


class SqlHistory:
    """Events with their deliveries and attempts, and the actions of operators."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def event(self, event_id: UUID) -> EventRecord | None:
        with snapshot(self._engine) as connection:
            row = connection.execute(
                select(
                    *_FOUND,
                    _EVENT.version,
                    _EVENT.schema_version,
                    _EVENT.timestamp.label("occurred_at"),
                    _EVENT.processed.label("fanned_out"),
                    _EVENT.fanned_out.label("mark"),
                    stored_json(_EVENT.event_data).label("data"),
                    stored_json(_EVENT.metadata).label("metadata"),
                ).where(_EVENT.id == event_id)
            ).first()
            if row is None:
                return None
            names = [str(event_id)]
            if sender := sender_of(event_id, _object(row.metadata)):
                names.append(sender[1])  # the id that the event has at its sender
            caused = select(*_FOUND).where(causation_id().in_(names)).order_by(_EVENT.created_at, _EVENT.id)
            return EventRecord(
                **dict(row._mapping) | {"mark": Mark(row.mark)},
                deliveries=_records(connection, event_deliveries, event_id, DeliveryRecord, "handler"),
                attempts=_records(connection, event_attempts, event_id, AttemptRecord, "ended_at"),
                actions=_records(connection, event_actions, event_id, ActionRecord, "acted_at"),
                caused=[Found(**effect._mapping) for effect in connection.execute(caused)],
            )

    def find(self, wanted: EventFilter) -> list[Found]:
        asks_twice = wanted.correlation_id is not None or wanted.sender_id is not None
        with snapshot(self._engine) if asks_twice else look(self._engine) as connection:
            return find(connection, wanted)

    def between(self, first: UUID, last: UUID, limit: int) -> list[UUID]:
        ids = select(_EVENT.id).where(_EVENT.id.between(first, last)).order_by(_EVENT.id).limit(limit)
        with look(self._engine) as connection:
            return list(connection.scalars(ids))

    def deliveries(self, event_ids: Collection[UUID]) -> dict[UUID, list[DeliveryRecord]]:
        columns = [_DELIVERY.event_id, *_columns(event_deliveries, DeliveryRecord)]
        query = select(*columns).where(_DELIVERY.event_id.in_(list(event_ids))).order_by(_DELIVERY.handler)
        deliveries: dict[UUID, list[DeliveryRecord]] = {}
        with look(self._engine) as connection:
            for event_id, *values in connection.execute(query):
                deliveries.setdefault(event_id, []).append(DeliveryRecord(*values))
        return deliveries


def find(connection: Connection, wanted: EventFilter) -> list[Found]:
    """Return events, newest first.

    Events that are fanned out are found by one index, all others by another. The others are ordered by the time at
    which they occurred, which is the time of publishing unless another program says otherwise.
    """
    newest = (_EVENT.created_at.desc(), _EVENT.id.desc())
    conditions = _conditions(wanted)
    if wanted.correlation_id is not None:
        conditions.append(_EVENT.id.in_(_correlated(connection, wanted.correlation_id)))
    if wanted.sender_id is not None:
        conditions.append(_EVENT.id.in_(_sent_as(connection, wanted.sender_id)))
    new = is_unprocessed if wanted.event_type is None else is_new  # for one type there is an index of its own
    parts = [
        select(*_FOUND).where(condition, *conditions).order_by(*order).limit(wanted.limit).subquery()
        for condition, order in ((is_processed, newest), (new, (_EVENT.timestamp.desc(),)))
    ]
    both = union_all(*(select(part) for part in parts)).subquery()
    query = select(both).order_by(both.c.published_at.desc(), both.c.event_id.desc()).limit(wanted.limit)
    return [Found(**row._mapping) for row in connection.execute(query)]


def _records(connection: Connection, table: Table, event_id: UUID, kind: type[Record], by: str) -> list[Record]:
    """Return the event's rows of a table, as values whose fields are named as the columns are."""
    query = select(*_columns(table, kind)).where(table.c.event_id == event_id).order_by(table.c[by], table.c.handler)
    return [kind(**row._mapping) for row in connection.execute(query)]


def _columns(table: Table, kind: type[Any]) -> list[ColumnElement[Any]]:
    return [_column(table, field.name) for field in fields(kind)]


def _column(table: Table, name: str) -> ColumnElement[Any]:
    if name == "attempt":
        return _NUMBERS[table.name].label(name)
    return func.coalesce(table.c[name], "").label(name) if name in _TEXTS else table.c[name]


def _correlated(connection: Connection, correlation: str) -> list[UUID]:
    """Return the ids of all correlated events, and of the event that began the request, whose id the correlation may
    be.
    """
    query = select(_EVENT.id).where(is_correlated(), correlation_id() == correlation).limit(_MOST_CORRELATED)
    ids = list(connection.scalars(query))
    with suppress(ValueError):
        ids.append(UUID(correlation))
    return ids


def _sent_as(connection: Connection, sender_id: str) -> list[UUID]:
    """Return the ids of the events with this id at any sender.

    People copy UUIDs in any spelling, and programs write them in the usual spelling.
    """
    spellings = {sender_id, str(as_uuid(sender_id) or sender_id)}
    return list(connection.scalars(select(_EVENT.id).where(sender_event_id().in_(spellings)).limit(_MOST_SENT_AS)))


def _object(text: str) -> dict[str, Any]:
    """Return the object in a JSON text; an empty object if another program wrote something else."""
    with suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    return {}


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.event_type is not None:
        conditions.append(_EVENT.event_type == wanted.event_type)
    if wanted.aggregate_id is not None:
        conditions.append(_EVENT.aggregate_id == wanted.aggregate_id)
    if wanted.since is not None:
        conditions.append(_EVENT.created_at >= wanted.since)
    if wanted.before is not None:
        conditions.append(_EVENT.created_at < wanted.before)
    return conditions
