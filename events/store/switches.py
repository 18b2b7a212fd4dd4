"""Pauses, resumes and retires handlers. Keeps the contract of events.operator_ports.Switches."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from events.event import uuid7
from events.letters import Action
from events.records import State
from events.store.engine import look, now_plus, transaction
from events.store.listener import wake_relays
from events.store.tables import (
    event_actions,
    event_deliveries,
    event_handlers,
    event_subscriptions,
    in_state,
    is_paused,
)

_DELIVERY, _HANDLER = event_deliveries.c, event_handlers.c
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_NOT_BEGUN = (State.PENDING, State.SENT, State.PAUSED)


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

    def waiting(self, handler: str) -> int:
        query = select(func.count()).select_from(event_deliveries)
        with look(self._engine) as connection:
            return connection.scalar(query.where(in_state(*_NOT_BEGUN), _DELIVERY.handler == handler)) or 0

    def unsubscribe(self, handler: str, actor: str) -> bool:
        with transaction(self._engine) as connection:
            theirs = event_subscriptions.c.handler == handler
            gone = connection.execute(delete(event_subscriptions).where(theirs)).rowcount > 0
            connection.execute(delete(event_handlers).where(_HANDLER.handler == handler))
            if gone:
                remember(connection, Action.RETIRE, actor, [(None, handler)])
            return gone

    def drop(self, handler: str, actor: str, limit: int) -> int:
        with transaction(self._engine) as connection:
            these = tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_(_some(handler, in_state(*_NOT_BEGUN), limit))
            given_up = {"state": State.DISCARDED, "finished_at": now_plus(connection)}
            dropped = update(event_deliveries).where(these).values(given_up).returning(_DELIVERY.event_id)
            ids = list(connection.scalars(dropped))
            remember(connection, Action.RETIRE, actor, [(event_id, handler) for event_id in ids])
            return len(ids)

    def note(self, action: Action, actor: str, deliveries: Sequence[tuple[UUID, str]]) -> None:
        with transaction(self._engine) as connection:
            remember(connection, action, actor, deliveries)

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
