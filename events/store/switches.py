"""Pauses, resumes and retires handlers. Keeps the contract of events.operator_ports.Switches."""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from events.event import uuid7
from events.letters import Action
from events.records import State
from events.store.engine import look, now_plus, transaction
from events.store.listener import wake_relays
from events.store.subscriptions import in_turn
from events.store.tables import (
    event_actions,
    event_deliveries,
    event_handlers,
    event_store,
    event_subscriptions,
    in_state,
    is_paused,
)

_DELIVERY, _HANDLER, _SUBSCRIPTION = event_deliveries.c, event_handlers.c, event_subscriptions.c
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_NOT_BEGUN = (State.PENDING, State.SENT, State.PAUSED)
_PATIENCE, _PAUSE = 30.0, 0.02  # seconds to wait for fan-outs, and between looks
# Transactions that read subscriptions and write deliveries.
_FAN_OUTS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = "
    "current_database()) AND pid <> pg_backend_pid() AND relation = 'event_deliveries'::regclass AND "
    "mode = 'RowExclusiveLock' INTERSECT SELECT virtualtransaction FROM pg_locks WHERE database = (SELECT oid FROM "
    "pg_database WHERE datname = current_database()) AND relation = 'event_subscriptions'::regclass"
)


class SqlSwitches:
    """Rows of event_handlers, and what waits for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pause(self, handler: str, actor: str) -> bool:
        return self._switch(handler, actor, paused=True)

    def resume(self, handler: str, actor: str) -> bool:
        return self._switch(handler, actor, paused=False)

    def hold(self, handler: str, limit: int) -> int:
        waiting = in_state(State.PENDING, State.SENT)
        with transaction(self._engine) as connection:
            paused = is_paused(_DELIVERY.handler, event_deliveries)
            some = _some(handler, waiting, limit).where(paused)
            these = tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_(some)
            return connection.execute(update(event_deliveries).where(these).values(state=State.PAUSED)).rowcount

    def waiting(self, handler: str, event_type: str | None = None) -> int:
        query = select(func.count()).select_from(event_deliveries)
        of_it = and_(in_state(*_NOT_BEGUN), _DELIVERY.handler == handler, *_of_type(event_type))
        with look(self._engine) as connection:
            return connection.scalar(query.where(of_it)) or 0

    def unsubscribe(
        self, handler: str, actor: str, event_type: str | None = None, check: Callable[[], None] = lambda: None
    ) -> bool:
        with transaction(self._engine) as connection:
            in_turn(connection)  # a worker that starts subscribes after it has said that it lives
            check()
            theirs = _SUBSCRIPTION.handler == handler
            gone = theirs if event_type is None else and_(theirs, _SUBSCRIPTION.event_type == event_type)
            ended = connection.execute(delete(event_subscriptions).where(gone)).rowcount > 0
            if not connection.scalar(select(exists().where(theirs))):
                connection.execute(delete(event_handlers).where(_HANDLER.handler == handler))
            if ended:
                remember(connection, Action.RETIRE, actor, [(None, handler)])
        self._let_fan_outs_end()
        return ended

    def drop(self, handler: str, actor: str, limit: int, event_type: str | None = None) -> int:
        # Not what it is subscribed to again: code that has it may have come back meanwhile.
        kind = func.coalesce(_DELIVERY.event_type, _SUBSCRIPTION.event_type)
        wanted = exists().where(_SUBSCRIPTION.handler == _DELIVERY.handler, _SUBSCRIPTION.event_type == kind)
        unwanted = and_(in_state(*_NOT_BEGUN), ~wanted.correlate(event_deliveries), *_of_type(event_type))
        with transaction(self._engine) as connection:
            in_turn(connection)
            these = tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_(_some(handler, unwanted, limit))
            given_up = {"state": State.DISCARDED, "finished_at": now_plus(connection)}
            dropped = update(event_deliveries).where(these).values(given_up).returning(_DELIVERY.event_id)
            ids = list(connection.scalars(dropped))
            remember(connection, Action.RETIRE, actor, [(event_id, handler) for event_id in ids])
            return len(ids)

    def _let_fan_outs_end(self) -> None:
        """Those that read the subscriptions before they changed may still make deliveries. On SQLite there are none:
        they take turns with us."""
        if self._engine.dialect.name != "postgresql":
            return
        with look(self._engine) as connection:
            before, until = set(connection.scalars(_FAN_OUTS)), time.monotonic() + _PATIENCE
            while before and time.monotonic() < until:
                time.sleep(_PAUSE)
                before &= set(connection.scalars(_FAN_OUTS))

    def _switch(self, handler: str, actor: str, *, paused: bool) -> bool:
        with transaction(self._engine) as connection:
            query = select(_HANDLER.paused).where(_HANDLER.handler == handler)
            if bool(connection.scalar(query.with_for_update())) == paused:
                return False
            values = {"paused": paused, "changed_by": actor[:255], "changed_at": now_plus(connection)}
            upsert = _INSERTS[connection.dialect.name](event_handlers).values(handler=handler, **values)
            connection.execute(upsert.on_conflict_do_update(index_elements=["handler"], set_=values))
            remember(connection, Action.PAUSE if paused else Action.RESUME, actor, [(None, handler)])
            wake_relays(connection)
            return True


def _of_type(event_type: str | None) -> list[ColumnElement[bool]]:
    if event_type is None:
        return []
    its_event = and_(event_store.c.id == _DELIVERY.event_id, event_store.c.event_type == event_type)
    older = and_(_DELIVERY.event_type.is_(None), exists().where(its_event).correlate(event_deliveries))
    return [or_(_DELIVERY.event_type == event_type, older)]


def _some(handler: str, condition: Any, limit: int) -> Any:
    return (
        select(_DELIVERY.event_id, _DELIVERY.handler)
        .where(condition, _DELIVERY.handler == handler)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def remember(connection: Connection, action: Action, actor: str, of: Sequence[tuple[UUID | None, str]]) -> None:
    """Write down what an operator did to these deliveries (event id, handler), or to a handler as a whole (no id)."""
    if of:
        rows = [{"id": uuid7(), "event_id": event_id, "handler": handler} for event_id, handler in of]
        what = {"action": action.value, "actor": actor[:255], "acted_at": now_plus(connection)}
        connection.execute(insert(event_actions).values(what), rows)
