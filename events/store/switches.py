"""Pauses, resumes and retires handlers. Keeps the contract of events.operator_ports.Switches.

A statement that was begun before a handler was paused may not know of it, and still make or start a delivery. So
`pause` waits until each transaction that may have asked before has ended: all that ask hold a lock of event_handlers,
ROW SHARE, which PostgreSQL takes before it fixes what a statement sees (`is_paused`). Nobody waits for `pause`.
"""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from events.errors import StillStarting
from events.event import uuid7
from events.letters import Action
from events.records import State
from events.store.engine import is_contention, look, now_plus, transaction
from events.store.keys import is_key, key_table, locked
from events.store.listener import wake_relays
from events.store.tables import (
    event_actions,
    event_deliveries,
    event_handlers,
    event_subscriptions,
    in_state,
    is_paused,
    was_due,
)
from events.store.turns import in_turn

_DELIVERY, _HANDLER, _SUBSCRIPTION = event_deliveries.c, event_handlers.c, event_subscriptions.c
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_NOT_BEGUN = (State.PENDING, State.SENT, State.PAUSED)
_MAY_NOT_KNOW = text(
    "SELECT virtualtransaction, pid FROM pg_locks WHERE locktype = 'relation' AND granted "
    "AND relation = CAST('event_handlers' AS regclass) AND mode = 'RowShareLock' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_WAIT = 10.0  # seconds at most for transactions that may not know; each of ours takes milliseconds


class SqlSwitches:
    """Rows of event_handlers, and what waits for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name

    def pause(self, handler: str, actor: str) -> bool:
        changed = self._switch(handler, actor, paused=True)
        if self._dialect == "postgresql":  # on SQLite one writes at a time
            self._until_all_know(handler)
        return changed

    def resume(self, handler: str, actor: str) -> bool:
        return self._switch(handler, actor, paused=False)

    def hold(self, handler: str, limit: int) -> int:
        return self._hold(handler, limit) or self._hold(handler, limit, others=True)

    def waiting(self, handler: str) -> int:
        return self._count(handler, *_NOT_BEGUN)

    def running(self, handler: str) -> int:
        return self._count(handler, State.RUNNING)

    def unsubscribe(self, handler: str, actor: str) -> bool:
        def work(connection: Connection) -> bool:
            theirs = _SUBSCRIPTION.handler == handler
            gone = connection.execute(delete(event_subscriptions).where(theirs)).rowcount > 0
            connection.execute(delete(event_handlers).where(_HANDLER.handler == handler))
            if gone:
                remember(connection, Action.RETIRE, actor, [(None, handler)])
            return gone

        return in_turn(self._engine, work)

    def drop(self, handler: str, actor: str, limit: int) -> int:
        def work(connection: Connection) -> int:
            nobody_wants = and_(in_state(*_NOT_BEGUN), ~exists().where(_SUBSCRIPTION.handler == _DELIVERY.handler))
            given_up = {"state": State.DISCARDED, "finished_at": now_plus(connection)}
            found = locked(connection, _some(handler, nobody_wants, limit))
            dropped = update(event_deliveries).where(is_key(key_table(self._dialect)), nobody_wants).values(given_up)
            ids = list(connection.scalars(dropped.returning(_DELIVERY.event_id), found))
            remember(connection, Action.RETIRE, actor, [(event_id, handler) for event_id in ids])
            return len(ids)

        return in_turn(self._engine, work)

    def _count(self, handler: str, *states: State) -> int:
        query = select(func.count()).select_from(event_deliveries)
        with look(self._engine) as connection:
            return connection.scalar(query.where(in_state(*states), _DELIVERY.handler == handler)) or 0

    def _hold(self, handler: str, limit: int, *, others: bool = False) -> int:
        """`others`: those too that somebody holds; nobody does for long, and what is left is not started anyway."""
        waiting = and_(in_state(State.PENDING, State.SENT), is_paused(_DELIVERY.handler, event_deliveries))
        these = _some(handler, waiting, limit, skip_locked=not others)
        try:
            with transaction(self._engine) as connection:
                if others and self._dialect == "postgresql":
                    connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
                found = locked(connection, these)
                held = update(event_deliveries).where(is_key(key_table(self._dialect)), waiting)
                return connection.execute(held.values(state=State.PAUSED, due_at=was_due()), found).rowcount
        except DBAPIError as error:
            if not is_contention(error):
                raise
            return 0

    def _until_all_know(self, handler: str) -> None:
        with look(self._engine) as connection:
            before = {tuple(row) for row in connection.execute(_MAY_NOT_KNOW)}
            deadline = time.monotonic() + _WAIT
            while before := before & {tuple(row) for row in connection.execute(_MAY_NOT_KNOW)}:
                if time.monotonic() > deadline:
                    raise StillStarting(
                        f"{handler} is paused, but a transaction that began earlier has not ended and may still start "
                        f"a delivery: of PostgreSQL's process {', '.join(str(pid) for _, pid in sorted(before))}; see "
                        f"it in pg_stat_activity, let it end or end it, and pause again"
                    )
                time.sleep(0.01)

    def _switch(self, handler: str, actor: str, *, paused: bool) -> bool:
        def work(connection: Connection) -> bool:
            query = select(_HANDLER.paused).where(_HANDLER.handler == handler)
            if bool(connection.scalar(query.with_for_update(key_share=True))) == paused:
                return False
            values = {"paused": paused, "changed_by": actor[:255], "changed_at": now_plus(connection)}
            upsert = _INSERTS[connection.dialect.name](event_handlers).values(handler=handler, **values)
            connection.execute(upsert.on_conflict_do_update(index_elements=["handler"], set_=values))
            remember(connection, Action.PAUSE if paused else Action.RESUME, actor, [(None, handler)])
            wake_relays(connection)
            return True

        return in_turn(self._engine, work)


def _some(handler: str, condition: ColumnElement[bool], limit: int, *, skip_locked: bool = True) -> "Select[Any]":
    """Some of the handler's deliveries, locked."""
    some = select(_DELIVERY.event_id, _DELIVERY.handler).where(condition, _DELIVERY.handler == handler)
    return some.limit(limit).with_for_update(skip_locked=skip_locked, of=event_deliveries)


def remember(connection: Connection, action: Action, actor: str, of: Sequence[tuple[UUID | None, str]]) -> None:
    """Write down what an operator did to these deliveries (event id, handler), or to a handler as a whole (no id)."""
    if of:
        rows = [{"id": uuid7(), "event_id": event_id, "handler": handler} for event_id, handler in of]
        what = {"action": action.value, "actor": actor[:255], "acted_at": now_plus(connection)}
        connection.execute(insert(event_actions).values(what), rows)
