"""The dead letters of the ledger. Keeps the contract of events.ports.DeadLetterBox."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Text, cast, func, select, tuple_, update

from events.records import DeadLetter, DeadLetterFilter, State
from events.store.engine import look, now_plus, transaction
from events.store.tables import event_deliveries, event_store, in_state

_DELIVERY, _EVENT = event_deliveries.c, event_store.c


class SqlDeadLetterBox:
    """Deliveries in state `dead`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        with look(self._engine) as connection:
            return find(connection, wanted)

    def count(self, wanted: DeadLetterFilter) -> int:
        query = select(func.count()).select_from(event_deliveries).where(*_conditions(wanted))
        with look(self._engine) as connection:
            count: int = connection.scalar(query) or 0
        return count if wanted.limit is None else min(count, wanted.limit)

    def replay(self, wanted: DeadLetterFilter) -> int:
        with transaction(self._engine) as connection:
            return _change(
                connection,
                wanted,
                state=State.PENDING,
                due_at=now_plus(connection),
                attempts_before=_DELIVERY.attempts,
                replays=_DELIVERY.replays + 1,
                finished_at=None,
                copied=False,
            )

    def discard(self, wanted: DeadLetterFilter) -> int:
        with transaction(self._engine) as connection:
            return _change(connection, wanted, state=State.DISCARDED, finished_at=now_plus(connection))


def find(connection: Connection, wanted: DeadLetterFilter, *also: ColumnElement[bool]) -> list[DeadLetter]:
    """Dead letters with their events, newest first; of an event that was deleted its columns are empty."""
    query = (
        select(
            _DELIVERY.event_id,
            _DELIVERY.handler,
            _DELIVERY.queue,
            func.coalesce(_EVENT.event_type, "").label("event_type"),
            func.coalesce(_EVENT.aggregate_id, "").label("aggregate_id"),
            func.coalesce(cast(_EVENT.event_data, Text), "").label("event_data"),
            func.coalesce(cast(_EVENT.metadata, Text), "").label("metadata"),
            _DELIVERY.attempts,
            _DELIVERY.replays,
            _DELIVERY.worker,
            func.coalesce(_DELIVERY.error_type, "").label("error_type"),
            func.coalesce(_DELIVERY.error, "").label("error"),
            func.coalesce(_DELIVERY.traceback, "").label("traceback"),
            _EVENT.created_at.label("published_at"),
            _DELIVERY.first_started_at,
            _DELIVERY.finished_at.label("died_at"),
        )
        .outerjoin_from(event_deliveries, event_store, _EVENT.id == _DELIVERY.event_id)
        .where(*_conditions(wanted), *also)
        .order_by(_DELIVERY.finished_at.desc(), _DELIVERY.event_id)
        .limit(wanted.limit)
    )
    return [DeadLetter(**row._mapping) for row in connection.execute(query)]


def _conditions(wanted: DeadLetterFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [in_state(State.DEAD)]
    if wanted.handler is not None:
        conditions.append(_DELIVERY.handler == wanted.handler)
    if wanted.event_ids:
        conditions.append(_DELIVERY.event_id.in_(list(wanted.event_ids)))
    if wanted.event_type is not None:
        conditions.append(_DELIVERY.event_id.in_(select(_EVENT.id).where(_EVENT.event_type == wanted.event_type)))
    return conditions


def _change(connection: Connection, wanted: DeadLetterFilter, **values: Any) -> int:
    condition = _conditions(wanted)
    if wanted.limit is not None:
        newest = (
            select(_DELIVERY.event_id, _DELIVERY.handler)
            .where(*condition)
            .order_by(_DELIVERY.finished_at.desc(), _DELIVERY.event_id)
            .limit(wanted.limit)
        )
        condition = [in_state(State.DEAD), tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_(newest)]
    return connection.execute(update(event_deliveries).where(*condition).values(**values)).rowcount
