"""The dead letters of the ledger. Keeps the contract of events.ports.DeadLetterBox."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from events.letters import Action, DeadLetter, DeadLetterFilter, FailureGroup
from events.records import Mark, State
from events.store.actions import remember
from events.store.engine import look, now_plus
from events.store.homing import home
from events.store.keys import is_key, key_table, locked
from events.store.listener import wake_relays
from events.store.tables import event_actions, event_deliveries, event_store, in_state, waits
from events.store.turns import in_turn
from events.store.types import stored_json

_DELIVERY, _EVENT, _ACTION = event_deliveries.c, event_store.c, event_actions.c


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

    def groups(self, wanted: DeadLetterFilter) -> list[FailureGroup]:
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
            .where(*_conditions(wanted))
            .group_by(_DELIVERY.handler, *kind)
            .order_by(func.count().desc(), _DELIVERY.handler, *kind)
            .limit(wanted.limit)
        )
        with look(self._engine) as connection:
            return [FailureGroup(**row._mapping) for row in connection.execute(query)]

    def replay(self, wanted: DeadLetterFilter, actor: str) -> int:
        def work(connection: Connection) -> int:
            wake_relays(connection)
            again = {
                "state": waits(),
                "queue": func.coalesce(home(), _DELIVERY.queue),  # which may have changed since
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
            return self._change(connection, State.DISCARDED, wanted, Action.RESTORE, actor, back, ~_is_replaced())

        return in_turn(self._engine, work)

    def correct(self, event_id: UUID, handler: str, data: str, corrected_id: UUID, actor: str) -> bool:
        mine = DeadLetterFilter(event_ids=(event_id,), handler=handler)

        def work(connection: Connection) -> bool:
            wake_relays(connection)
            now = now_plus(connection)
            gone = {"state": State.DISCARDED, "finished_at": now}
            if not self._change(connection, State.DEAD, mine, Action.EDIT, actor, gone):
                return False
            told = json.loads(
                connection.scalars(select(stored_json(_EVENT.metadata)).where(_EVENT.id == event_id)).one()
            )
            told |= {"causation_id": str(event_id), "corrects": str(event_id)}
            changed = {"id": corrected_id, "event_data": data, "metadata": json.dumps(told), "processed": True,
                       "fanned_out": Mark.FANNED_OUT.value}  # fmt: skip
            values = [literal(value, _EVENT[name].type).label(name) for name, value in changed.items()]
            kept = [_EVENT.aggregate_id, _EVENT.event_type, _EVENT.version, _EVENT.timestamp, _EVENT.schema_version]
            event = select(*values, now.label("created_at"), *kept).where(_EVENT.id == event_id)
            connection.execute(
                insert(event_store).from_select([column.name for column in event.selected_columns], event)
            )
            one = and_(_DELIVERY.event_id == event_id, _DELIVERY.handler == handler)
            queue = func.coalesce(home(), _DELIVERY.queue)
            copy = select(literal(corrected_id, _DELIVERY.event_id.type), _DELIVERY.handler, queue,
                          _DELIVERY.event_type, waits(), now, now).where(one)  # fmt: skip
            columns = ("event_id", "handler", "queue", "event_type", "state", "due_at", "created_at")
            connection.execute(insert(event_deliveries).from_select(columns, copy))
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
        *also: ColumnElement[bool],
    ) -> int:
        # Asked of each row as it is when it is locked: what another operator has just changed is left alone.
        condition, found = [*_conditions(wanted, state), *also], {}
        if wanted.limit is not None:  # the oldest first: who stops it and begins again goes on with the next ones
            some = (
                select(_DELIVERY.event_id, _DELIVERY.handler)
                .where(*condition)
                .order_by(_DELIVERY.finished_at, _DELIVERY.event_id, _DELIVERY.handler)
                .limit(wanted.limit)
                .with_for_update(of=event_deliveries)
            )
            found = locked(connection, some)
            condition.append(is_key(key_table(connection.dialect.name)))
        changing = update(event_deliveries).where(*condition).values(**values)
        changed = connection.execute(changing.returning(_DELIVERY.event_id, _DELIVERY.handler), found).all()
        remember(connection, action, actor, [(row.event_id, row.handler) for row in changed])
        return len(changed)


def find(connection: Connection, wanted: DeadLetterFilter, *also: ColumnElement[bool]) -> list[DeadLetter]:
    """Dead letters with their events, newest first; of an event that was deleted its columns are empty."""
    query = select(
        _DELIVERY.event_id,
        _DELIVERY.handler,
        _DELIVERY.queue,
        func.coalesce(_EVENT.event_type, "").label("event_type"),
        func.coalesce(_EVENT.aggregate_id, "").label("aggregate_id"),
        func.coalesce(stored_json(_EVENT.event_data), "").label("event_data"),
        func.coalesce(stored_json(_EVENT.metadata), "").label("metadata"),
        _DELIVERY.attempts,
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


def sizes_of(wanted: DeadLetterFilter, *also: ColumnElement[bool]) -> Select[Any]:
    """How many characters each has of what may be long, in the order of `find`."""
    texts = (stored_json(_EVENT.event_data), stored_json(_EVENT.metadata), _DELIVERY.error, _DELIVERY.traceback)
    total = sum((func.coalesce(func.length(text), 0) for text in texts), literal(0))
    return _of(select(total), wanted, *also)


def _of(query: Select[Any], wanted: DeadLetterFilter, *also: ColumnElement[bool]) -> Select[Any]:
    return (
        query.outerjoin_from(event_deliveries, event_store, _EVENT.id == _DELIVERY.event_id)
        .where(*_conditions(wanted), *also)
        .order_by(_DELIVERY.finished_at.desc(), _DELIVERY.event_id)
        .limit(wanted.limit)
    )


def _conditions(wanted: DeadLetterFilter, state: State = State.DEAD) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [in_state(state)]
    if wanted.handler is not None:
        conditions.append(_DELIVERY.handler == wanted.handler)
    if wanted.event_ids:
        conditions.append(_DELIVERY.event_id.in_(list(wanted.event_ids)))
    if wanted.error:
        error = _DELIVERY.error.icontains(wanted.error, autoescape=True)
        conditions.append(or_(_DELIVERY.error_type.icontains(wanted.error, autoescape=True), error))
    if wanted.since is not None:
        conditions.append(_DELIVERY.finished_at >= wanted.since)
    if wanted.before is not None:
        conditions.append(_DELIVERY.finished_at < wanted.before)
    if wanted.error_type is not None:
        conditions.append(_is(_DELIVERY.error_type, wanted.error_type))
    if wanted.place is not None:
        conditions.append(_is(_DELIVERY.place, wanted.place))
    event = event_store.alias().c  # its own, since whoever asks may have joined the table
    its_event = event.id == _DELIVERY.event_id
    if wanted.event_type is not None:
        unknown = _DELIVERY.event_type.is_(None)  # fanned out by older code
        named = exists().where(its_event, event.event_type == wanted.event_type)
        conditions.append(or_(_DELIVERY.event_type == wanted.event_type, and_(unknown, named)))
    if wanted.aggregate_id is not None:
        conditions.append(exists().where(its_event, event.aggregate_id == wanted.aggregate_id))
    return conditions


def _is_replaced() -> ColumnElement[bool]:
    """Whether a corrected copy took the delivery's place, which is the last that an operator did to it."""
    last = (
        select(_ACTION.action)
        .where(_ACTION.event_id == _DELIVERY.event_id, _ACTION.handler == _DELIVERY.handler)
        .order_by(_ACTION.acted_at.desc(), _ACTION.id.desc())
        .limit(1)
        .correlate(event_deliveries)
    )
    return func.coalesce(last.scalar_subquery(), "") == Action.EDIT.value


def _is(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Of a column that may be NULL where a DeadLetter has "". Written so that an index on it is of use."""
    return column == text if text else or_(column.is_(None), column == "")
