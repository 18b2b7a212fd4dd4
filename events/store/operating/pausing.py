"""Pauses, resumes and retires handlers. Keeps the contract of events.ledger.Switches.

A statement that began before a handler was paused may not see the pause, and still make or start a delivery. So `pause`
waits until each transaction that may have asked before has ended. All transactions that ask hold a lock of
event_handlers, ROW SHARE, which PostgreSQL takes before it fixes the rows that a statement sees (`is_paused`). No
transaction waits for `pause`.
"""

import time
from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy import Connection, Engine, and_, func, select, text, update
from sqlalchemy.exc import DBAPIError

from events.errors import StillStarting
from events.ledger import Action, State
from events.store.conditions import in_state, is_paused, was_due
from events.store.database.engine import is_contention, look, now_plus, transaction
from events.store.database.listener import wake_relays
from events.store.database.upsert import insert_into
from events.store.delivery_keys import is_key, key_table, locked
from events.store.leases import is_running
from events.store.operating.actions import remember
from events.store.operating.conflicts import in_turn
from events.store.operating.retiring import drop, some_of, unsubscribe, waiting
from events.store.schema.postgres_schema import named
from events.store.tables import event_deliveries, event_handlers

_DELIVERY, _HANDLER = event_deliveries.c, event_handlers.c
_MAY_NOT_KNOW = text(
    "SELECT virtualtransaction, pid FROM pg_locks WHERE locktype = 'relation' AND granted "
    "AND relation = CAST(CAST(:switches AS text) AS regclass) AND mode = 'RowShareLock' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_WAIT = 10.0  # seconds to wait at most for transactions that may not know; each of ours takes milliseconds


class SqlSwitches:
    """Rows of event_handlers, and the deliveries that wait for these handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name

    def pause(self, handler: str, actor: str) -> bool:
        changed = self._switch(handler, actor, paused=True)
        if self._dialect == "postgresql":  # on SQLite only one transaction writes at a time
            self._until_all_know(handler)
        return changed

    def resume(self, handler: str, actor: str) -> bool:
        return self._switch(handler, actor, paused=False)

    def hold(self, handler: str, limit: int) -> int:
        return self._hold(handler, limit) or self._hold(handler, limit, others=True)

    def waiting(self, handler: str, event_type: str | None = None) -> int:
        return waiting(self._engine, handler, event_type)

    def running(self, handler: str) -> int:
        query = select(func.count()).select_from(event_deliveries)
        with look(self._engine) as connection:
            return connection.scalar(query.where(is_running(), _DELIVERY.handler == handler)) or 0

    def unsubscribe(
        self, handler: str, actor: str, event_type: str | None = None, check: Callable[[], None] = lambda: None
    ) -> bool:
        return unsubscribe(self._engine, handler, actor, event_type, check)

    def drop(self, handler: str, actor: str, limit: int, event_type: str | None = None) -> int:
        return drop(self._engine, handler, actor, limit, event_type)

    def _hold(self, handler: str, limit: int, *, others: bool = False) -> int:
        """Hold back waiting deliveries; `others`: also those that another transaction has locked for a short time.

        The deliveries that remain are not started anyway.
        """
        may_start = and_(
            in_state(State.PENDING, State.SENT), ~is_running(), is_paused(_DELIVERY.handler, event_deliveries)
        )
        these = some_of(handler, may_start, limit, skip_locked=not others)
        try:
            with transaction(self._engine) as connection:
                if others and self._dialect == "postgresql":
                    connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
                keys = locked(connection, these)
                held = update(event_deliveries).where(is_key(key_table(self._dialect)), may_start)
                return connection.execute(held.values(state=State.PAUSED, due_at=was_due()), keys).rowcount
        except DBAPIError as error:
            if not is_contention(error):
                raise
            return 0

    def _until_all_know(self, handler: str) -> None:
        with look(self._engine) as connection:
            table = {"switches": named(event_handlers.name)}
            before = {tuple(row) for row in connection.execute(_MAY_NOT_KNOW, table)}
            deadline = time.monotonic() + _WAIT
            while before := before & {tuple(row) for row in connection.execute(_MAY_NOT_KNOW, table)}:
                if time.monotonic() > deadline:
                    raise StillStarting(
                        f"{handler} is paused, but a transaction that began earlier has not ended and may still start "
                        f"a delivery: of PostgreSQL's process {', '.join(str(pid) for _, pid in sorted(before))}; see "
                        f"it in pg_stat_activity, let it end or end it, and pause again"
                    )
                time.sleep(0.01)

    def note(self, action: Action, actor: str, deliveries: Sequence[tuple[UUID, str]]) -> None:
        with transaction(self._engine) as connection:
            remember(connection, action, actor, deliveries)

    def _switch(self, handler: str, actor: str, *, paused: bool) -> bool:
        def work(connection: Connection) -> bool:
            query = select(_HANDLER.paused).where(_HANDLER.handler == handler)
            if bool(connection.scalar(query.with_for_update(key_share=True))) == paused:
                return False
            values = {"paused": paused, "changed_by": actor[:255], "changed_at": now_plus(connection)}
            upsert = insert_into(event_handlers, connection.dialect.name).values(handler=handler, **values)
            connection.execute(upsert.on_conflict_do_update(index_elements=["handler"], set_=values))
            remember(connection, Action.PAUSE if paused else Action.RESUME, actor, [(None, handler)])
            wake_relays(connection)
            return True

        return in_turn(self._engine, work)
