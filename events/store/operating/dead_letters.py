"""The dead letters of the ledger. Keeps the contract of events.ledger.DeadLetterBox."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    func,
    insert,
    literal,
    select,
    update,
)

from events.ledger import Action, DeadLetter, DeadLetterFilter, FailureGroup, Mark, State, Survey
from events.store.conditions import waits
from events.store.database.engine import look, now_plus
from events.store.database.listener import wake_relays
from events.store.database.snapshots import snapshot
from events.store.database.types import stored_json
from events.store.delivery_keys import is_key, key_table, locked
from events.store.operating.actions import remember
from events.store.operating.conflicts import in_turn
from events.store.operating.dead_letter_filter import matching
from events.store.routing import home
from events.store.tables import event_deliveries, event_store

_DELIVERY, _EVENT = event_deliveries.c, event_store.c


class SqlDeadLetterBox:
    """Deliveries in state `dead`, and discarded deliveries."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        with look(self._engine) as connection:
            return find(connection, wanted)

    def count(self, wanted: DeadLetterFilter) -> int:
        with look(self._engine) as connection:
            count = _count(connection, wanted)
        return count if wanted.limit is None else min(count, wanted.limit)

    def between(self, first: UUID, last: UUID, limit: int, *, discarded: bool = False) -> list[UUID]:
        ids = select(_DELIVERY.event_id).where(
            *matching(DeadLetterFilter(discarded=discarded)), _DELIVERY.event_id.between(first, last)
        )
        with look(self._engine) as connection:
            return list(connection.scalars(ids.distinct().order_by(_DELIVERY.event_id).limit(limit)))

    def groups(self, wanted: DeadLetterFilter) -> list[FailureGroup]:
        with look(self._engine) as connection:
            return _groups(connection, wanted)

    def survey(self, wanted: DeadLetterFilter, *, grouped: bool = True) -> Survey:
        every = replace(wanted, limit=None)
        with snapshot(self._engine) as connection:
            letters = find(connection, wanted)
            groups = _groups(connection, every) if grouped else None
            count = _count(connection, every) if groups is None else sum(group.count for group in groups)
        return Survey(letters, groups, count)

    def replay(self, wanted: DeadLetterFilter, actor: str) -> int:
        def work(connection: Connection) -> int:
            wake_relays(connection)
            again = {
                "state": waits(),
                "queue": func.coalesce(home(), _DELIVERY.queue),  # the handler's queue may have changed since
                "due_at": now_plus(connection),
                "passes": 0,
                "attempts_before": _DELIVERY.attempts,
                "replays": _DELIVERY.replays + 1,
                "finished_at": None,
                "copied": False,
            }
            return self._change(connection, State.DEAD, wanted, Action.REPLAY, actor, again)

        return in_turn(self._engine, work)

    def discard(self, wanted: DeadLetterFilter, actor: str) -> int:
        def work(connection: Connection) -> int:
            gone = {"state": State.DISCARDED, "finished_at": now_plus(connection)}
            return self._change(connection, State.DEAD, wanted, Action.DISCARD, actor, gone)

        return in_turn(self._engine, work)

    def restore(self, wanted: DeadLetterFilter, actor: str) -> int:
        def work(connection: Connection) -> int:
            back = {"state": State.DEAD, "finished_at": now_plus(connection), "copied": False}
            return self._change(connection, State.DISCARDED, wanted, Action.RESTORE, actor, back)

        return in_turn(self._engine, work)

    def correct(self, event_id: UUID, handler: str, data: str, corrected_id: UUID, actor: str) -> bool:
        mine = DeadLetterFilter(event_ids=(event_id,), handler=handler)

        def work(connection: Connection) -> bool:
            wake_relays(connection)
            now = now_plus(connection)
            gone = {"state": State.DISCARDED, "finished_at": now}
            if not self._change(connection, State.DEAD, mine, Action.EDIT, actor, gone):
                return False
            metadata = json.loads(
                connection.scalars(select(stored_json(_EVENT.metadata)).where(_EVENT.id == event_id)).one()
            )
            metadata |= {"causation_id": str(event_id), "corrects": str(event_id)}
            changed = {
                "id": corrected_id,
                "event_data": data,
                "metadata": json.dumps(metadata),
                "processed": True,
                "fanned_out": Mark.FANNED_OUT.value,
            }
            values = [literal(value, _EVENT[name].type).label(name) for name, value in changed.items()]
            kept = [_EVENT.aggregate_id, _EVENT.event_type, _EVENT.version, _EVENT.timestamp, _EVENT.schema_version]
            event = select(*values, now.label("created_at"), *kept).where(_EVENT.id == event_id)
            connection.execute(
                insert(event_store).from_select([column.name for column in event.selected_columns], event)
            )
            copied = {
                "event_id": literal(corrected_id, _DELIVERY.event_id.type),
                "handler": _DELIVERY.handler,
                "queue": func.coalesce(home(), _DELIVERY.queue),
                "event_type": _DELIVERY.event_type,
                "state": waits(),
                "due_at": now,
                "created_at": now,
            }
            copy = select(*copied.values()).where(_DELIVERY.event_id == event_id, _DELIVERY.handler == handler)
            connection.execute(insert(event_deliveries).from_select(list(copied), copy))
            remember(connection, Action.EDIT, actor, [(corrected_id, handler)])
            return True

        return in_turn(self._engine, work)

    @staticmethod
    def _change(
        connection: Connection,
        state: State,
        wanted: DeadLetterFilter,
        action: Action,
        actor: str,
        values: dict[str, Any],
    ) -> int:
        # The condition is checked for each row as it is when it is locked: a row that another operator has just changed
        # is left alone.
        condition, keys = [*matching(wanted, state)], {}
        # The oldest first: an operator that stops the command and starts it again goes on with the next letters.
        if wanted.limit is not None:
            oldest = (
                select(_DELIVERY.event_id, _DELIVERY.handler)
                .where(*condition)
                .order_by(_DELIVERY.finished_at, _DELIVERY.event_id, _DELIVERY.handler)
                .limit(wanted.limit)
                .with_for_update(of=event_deliveries)
            )
            keys = locked(connection, oldest)
            condition.append(is_key(key_table(connection.dialect.name)))
        changing = update(event_deliveries).where(*condition).values(**values)
        changed = connection.execute(changing.returning(_DELIVERY.event_id, _DELIVERY.handler), keys).all()
        remember(connection, action, actor, [(row.event_id, row.handler) for row in changed])
        return len(changed)


def find(connection: Connection, wanted: DeadLetterFilter, *also: ColumnElement[bool]) -> list[DeadLetter]:
    """Return dead letters with their events, newest first; the columns of a deleted event are empty."""
    query = select(
        _DELIVERY.event_id,
        _DELIVERY.handler,
        _DELIVERY.queue,
        func.coalesce(_EVENT.event_type, "").label("event_type"),
        func.coalesce(_EVENT.aggregate_id, "").label("aggregate_id"),
        func.coalesce(stored_json(_EVENT.event_data), "").label("event_data"),
        func.coalesce(stored_json(_EVENT.metadata), "").label("metadata"),
        _DELIVERY.attempts,
        _DELIVERY.attempts_before,
        _DELIVERY.replays,
        _DELIVERY.worker,
        func.coalesce(_DELIVERY.error_type, "").label("error_type"),
        func.coalesce(_DELIVERY.error, "").label("error"),
        func.coalesce(_DELIVERY.traceback, "").label("traceback"),
        func.coalesce(_DELIVERY.place, "").label("place"),
        _EVENT.created_at.label("published_at"),
        _DELIVERY.first_started_at,
        _DELIVERY.finished_at.label("died_at"),
    )
    return [DeadLetter(**row._mapping) for row in connection.execute(_of(query, wanted, *also))]


def _count(connection: Connection, wanted: DeadLetterFilter) -> int:
    return connection.scalar(select(func.count()).select_from(event_deliveries).where(*matching(wanted))) or 0


def _groups(connection: Connection, wanted: DeadLetterFilter) -> list[FailureGroup]:
    died = _DELIVERY.finished_at
    kind = [func.coalesce(column, "").label(column.name) for column in (_DELIVERY.error_type, _DELIVERY.place)]
    query = (
        select(
            _DELIVERY.handler,
            *kind,
            func.count().label("count"),
            func.sum(_DELIVERY.replays).label("replayed"),
            func.min(died).label("first_died_at"),
            func.max(died).label("last_died_at"),
            func.coalesce(func.max(_DELIVERY.error), "").label("example"),
        )
        .where(*matching(wanted))
        .group_by(_DELIVERY.handler, *kind)
        .order_by(func.count().desc(), _DELIVERY.handler, *kind)
        .limit(wanted.limit)
    )
    return [FailureGroup(**row._mapping) for row in connection.execute(query)]


def sizes_of(wanted: DeadLetterFilter, *also: ColumnElement[bool]) -> Select[Any]:
    """Select for each letter the number of characters of its long texts, in the order of `find`."""
    texts = (stored_json(_EVENT.event_data), stored_json(_EVENT.metadata), _DELIVERY.error, _DELIVERY.traceback)
    total = sum((func.coalesce(func.length(text), 0) for text in texts), literal(0))
    return _of(select(total), wanted, *also)


def _of(query: Select[Any], wanted: DeadLetterFilter, *also: ColumnElement[bool]) -> Select[Any]:
    return (
        query.outerjoin_from(event_deliveries, event_store, _EVENT.id == _DELIVERY.event_id)
        .where(*matching(wanted), *also)
        .order_by(_DELIVERY.finished_at.desc(), _DELIVERY.event_id)
        .limit(wanted.limit)
    )
