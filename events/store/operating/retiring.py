"""Ends a subscription, and discards the deliveries that wait for a handler that no longer wants them."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.exc import DBAPIError

from events.errors import StillStarting
from events.ledger import Action, State
from events.store.arrivals import count_of_one
from events.store.arriving import arrive
from events.store.conditions import in_state
from events.store.database.engine import is_contention, look, now_plus
from events.store.delivery_keys import is_key, key_table, locked
from events.store.leases import is_running
from events.store.operating.actions import remember
from events.store.operating.conflicts import in_turn
from events.store.schema.postgres_schema import named
from events.store.subscriptions import one_at_a_time
from events.store.tables import event_deliveries, event_handlers, event_store, event_subscriptions

_DELIVERY, _HANDLER, _SUBSCRIPTION = event_deliveries.c, event_handlers.c, event_subscriptions.c
_NOT_BEGUN = (State.PENDING, State.SENT, State.PAUSED)
_PATIENCE, _PAUSE = 30.0, 0.02  # seconds to wait for fan-outs at most, and between two looks
# How long PostgreSQL waits for a row that another transaction has locked; six times that with all tries of `in_turn`.
_HELD = "2s"
# Finds the transactions that read subscriptions and write deliveries.
_FAN_OUTS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = "
    "current_database()) AND pid <> pg_backend_pid() AND relation = CAST(CAST(:deliveries AS text) AS regclass) AND "
    "mode = 'RowExclusiveLock' INTERSECT SELECT virtualtransaction FROM pg_locks WHERE database = (SELECT oid FROM "
    "pg_database WHERE datname = current_database()) AND relation = "
    "CAST(CAST(:subscriptions AS text) AS regclass)"
)


def waiting(engine: Engine, handler: str, event_type: str | None) -> int:
    """See events.ledger.Switches."""
    of_it = and_(in_state(*_NOT_BEGUN), ~is_running(), _DELIVERY.handler == handler, *_of_type(event_type))
    with look(engine) as connection:
        made = connection.scalar(select(func.count()).select_from(event_deliveries).where(of_it)) or 0
        arriving = connection.scalar(count_of_one(), {"of_handler": handler, "of_type": event_type or ""}) or 0
        return made + arriving


def unsubscribe(engine: Engine, handler: str, actor: str, event_type: str | None, check: Callable[[], None]) -> bool:
    """See events.ledger.Switches."""
    check()
    arrive(engine, handler, event_type)

    def work(connection: Connection) -> bool:
        one_at_a_time(connection)  # a worker that starts announces itself before it subscribes
        check()
        theirs = _SUBSCRIPTION.handler == handler
        gone = theirs if event_type is None else and_(theirs, _SUBSCRIPTION.event_type == event_type)
        ended = connection.execute(delete(event_subscriptions).where(gone)).rowcount > 0
        if not connection.scalar(select(exists().where(theirs))):
            connection.execute(delete(event_handlers).where(_HANDLER.handler == handler))
        if ended:
            remember(connection, Action.RETIRE, actor, [(None, handler)])
        return ended

    ended = in_turn(engine, work)
    _let_fan_outs_end(engine)
    return ended


def drop(engine: Engine, handler: str, actor: str, limit: int, event_type: str | None) -> int:
    """See events.ledger.Switches."""
    if dropped := _drop(engine, handler, actor, limit, event_type):
        return dropped
    try:
        return _drop(engine, handler, actor, limit, event_type, others=True)
    except DBAPIError as error:
        if not is_contention(error):
            raise
        raise StillStarting(
            f"{handler} is retired, but another transaction holds deliveries that wait for it and may still start "
            f"them: see pg_stat_activity (on SQLite, who has the file open), let it end or end it, and retire again"
        ) from error


def _drop(engine: Engine, handler: str, actor: str, limit: int, event_type: str | None, *, others: bool = False) -> int:
    """Discard waiting deliveries; `others`: also those that another transaction has locked for a short time."""
    # Deliveries of event types that the handler is subscribed to again are kept: a worker with its code may be back.
    kind = func.coalesce(_DELIVERY.event_type, _SUBSCRIPTION.event_type)
    wanted = exists().where(_SUBSCRIPTION.handler == _DELIVERY.handler, _SUBSCRIPTION.event_type == kind)
    unwanted = and_(in_state(*_NOT_BEGUN), ~is_running(), ~wanted.correlate(event_deliveries), *_of_type(event_type))

    def work(connection: Connection) -> int:
        one_at_a_time(connection)
        if others and connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_HELD}'")
        given_up = {"state": State.DISCARDED, "finished_at": now_plus(connection)}
        keys = locked(connection, some_of(handler, unwanted, limit, skip_locked=not others))
        dropped = update(event_deliveries).where(is_key(key_table(connection.dialect.name)), unwanted).values(given_up)
        ids = list(connection.scalars(dropped.returning(_DELIVERY.event_id), keys))
        remember(connection, Action.RETIRE, actor, [(event_id, handler) for event_id in ids])
        return len(ids)

    return in_turn(engine, work)


def some_of(handler: str, condition: ColumnElement[bool], limit: int, *, skip_locked: bool = True) -> "Select[Any]":
    """Select and lock up to `limit` of the handler's deliveries."""
    deliveries = select(_DELIVERY.event_id, _DELIVERY.handler).where(condition, _DELIVERY.handler == handler)
    return deliveries.limit(limit).with_for_update(skip_locked=skip_locked, of=event_deliveries)


def _of_type(event_type: str | None) -> list[ColumnElement[bool]]:
    if event_type is None:
        return []
    its_event = and_(event_store.c.id == _DELIVERY.event_id, event_store.c.event_type == event_type)
    older = and_(_DELIVERY.event_type.is_(None), exists().where(its_event).correlate(event_deliveries))
    return [or_(_DELIVERY.event_type == event_type, older)]


def _let_fan_outs_end(engine: Engine) -> None:
    """Wait until the fan-outs end that read the subscriptions before the change, as they may still make deliveries.

    On SQLite there are none: fan-outs and this process take turns.
    """
    if engine.dialect.name != "postgresql":
        return
    with look(engine) as connection:
        tables = {"deliveries": named(event_deliveries.name), "subscriptions": named(event_subscriptions.name)}
        before, until = set(connection.scalars(_FAN_OUTS, tables)), time.monotonic() + _PATIENCE
        while before and time.monotonic() < until:
            time.sleep(_PAUSE)
            before &= set(connection.scalars(_FAN_OUTS, tables))
