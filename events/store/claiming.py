"""Takes deliveries that were sent, each for the token that its wake-up names, with the data of their events."""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Float,
    FromClause,
    Integer,
    Row,
    String,
    Update,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError

from events.ledger import State
from events.store.conditions import in_state, is_of_state, is_paused, was_due
from events.store.database.availability import is_locked
from events.store.database.engine import is_patient, is_relaxed, look, moment, moments, transaction
from events.store.database.types import Id, readable, stored_json
from events.store.delivery_keys import Key, is_key, key_table, key_values, not_started, unlocked
from events.store.fencing import still_ours
from events.store.leases import is_leased, leasing
from events.store.tables import event_deliveries, event_store

log = logging.getLogger("events.delivery")

_DELIVERY, _EVENT = event_deliveries.c, event_store.c
_PATIENCE = "5s"  # how long a claim waits for a lock of another transaction
_ENVELOPE = (
    _EVENT.aggregate_id,
    _EVENT.event_type,
    stored_json(_EVENT.event_data).label("event_data"),
    _EVENT.version,
    _EVENT.timestamp,
    _EVENT.schema_version,
    stored_json(_EVENT.metadata).label("metadata"),
)


def take(
    engine: Engine, handler: str, tokens: Mapping[UUID, int], worker: str, lease: timedelta, *, each: bool
) -> Sequence[Row[Any]]:
    """Return the rows of the deliveries that were taken, in the order of `tokens`.

    A row has event_id, attempts_before and the columns of the event; these are NULL if the event is gone. Of a group it
    also has the number of the message, as `lease`, if the claim is a lease of that, which it isn't for `each`. If the
    handler is paused, no delivery is taken, and those that were sent are set aside until it is resumed.
    """
    dialect = engine.dialect.name
    one = len(tokens) == 1
    keys = [(event_id, handler, token - 1) for event_id, token in tokens.items()]
    values = key_values(dialect, keys, one=one) | {"of_handler": handler} | moments(dialect, lease=lease)
    values |= {"by": worker[:255], "of_several": len(tokens) > 1}
    if dialect == "postgresql":  # PostgreSQL does all of this in one statement and one round trip
        try:
            with look(engine) as connection:
                rows = connection.execute(_leasing(), values).all() if len(tokens) > 1 and not each else ()
                rows = rows or connection.execute(_taking_at_once(one=one), values).all()
                if len(rows) < len(tokens):
                    connection.execute(_setting_aside(dialect), values | key_values(dialect, keys))
        except DBAPIError as error:
            if not is_locked(error):
                raise
            rows = _take_free(engine, values | key_values(dialect, keys))
    else:
        with transaction(engine) as connection:
            taken = [(event_id, handler, before) for event_id, before in connection.execute(_taking(), values)]
            rows = connection.execute(_taken(), key_values(dialect, taken) | moments(dialect)).all()
            if len(rows) < len(tokens):
                connection.execute(_setting_aside(dialect), values)
    place = {event_id: number for number, event_id in enumerate(tokens)}
    return sorted(rows, key=lambda row: place[row.event_id])


def take_along(
    engine: Engine, handler: str, first: Key, most: int, worker: str, lease: timedelta
) -> Sequence[tuple[Row[Any], int]]:
    """Take up to `most` further deliveries of a handler that were sent, or are due: rows as those of `take`, each with
    its token.

    None if `first`, which the worker has, must run alone. If there are some, `first` shares their fate: it is marked as
    one of a group, and so are they.
    """
    dialect = engine.dialect.name
    others = {"of_handler": handler, "most": most, "first_id": first[0]} | moments(dialect)
    if dialect == "sqlite":  # to look needs no lock
        with look(engine) as connection:
            if not _found(connection, others):
                return []
    with transaction(engine) as connection:
        found = _found(connection, others)
        if not found:
            return []
        values = key_values(dialect, found) | {"of_handler": handler} | moments(dialect, lease=lease)
        values |= {"by": worker[:255], "of_several": True}
        if dialect == "postgresql":
            rows = connection.execute(_taking_at_once(one=False, due=True), values).all()
        else:
            taken = [(event_id, handler, before) for event_id, before in connection.execute(_taking(due=True), values)]
            rows = connection.execute(_taken(), key_values(dialect, taken) | moments(dialect)).all()
        if rows:
            connection.execute(still_ours(dialect).values(grouped=True), key_values(dialect, [first]))
    of = {row.event_id: row for row in rows}
    return [(of[event_id], number + 1) for event_id, _, number in found if event_id in of]


def _found(connection: Connection, others: dict[str, Any]) -> list[Key]:
    """What may be taken along: first what was sent, then what is due."""
    dialect = connection.dialect.name
    found: list[Key] = [tuple(row) for row in connection.execute(_others(dialect, State.SENT), others)]
    if (room := others["most"] - len(found)) > 0:
        due = connection.execute(_others(dialect, State.PENDING), others | {"most": room})
        found += [tuple(row) for row in due]
    return found


def _take_free(engine: Engine, values: dict[str, Any]) -> Sequence[Row[Any]]:
    """Take all deliveries but those that another transaction has locked for long.

    A locked delivery stays as it is, and is sent again when it is overdue.
    """
    with transaction(engine) as connection:
        free_keys = connection.execute(_free(), values).all()
        free = values | key_values("postgresql", [tuple(key) for key in free_keys])
        rows = connection.execute(_taking_at_once(one=False), free).all()
        if len(rows) < len(free_keys):
            connection.execute(_setting_aside("postgresql"), free)
    locked = len(values["keys_event_id"]) - len(free_keys)
    log.warning(
        "%d deliveries of %s are locked by another transaction, and left until it ends", locked, values["of_handler"]
    )
    return rows


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def _free() -> Any:
    keys = key_table("postgresql")
    found = select(*keys.c).where(is_key(keys))
    return found.with_for_update(skip_locked=True, of=event_deliveries)


@cache
def _others(dialect: str, state: State) -> Any:
    """Deliveries of a handler in this state, in the queue of the first and oldest first: event id, handler, number.

    None that must run alone, that was passed on, or that isn't due.
    """
    first = event_deliveries.alias().c
    is_first = and_(
        first.event_id == bindparam("first_id", type_=Id), first.handler == bindparam("of_handler", type_=String)
    )
    its_queue = select(first.queue).where(is_first, first.alone == false()).scalar_subquery()
    its = and_(in_state(state), _DELIVERY.queue == its_queue, _DELIVERY.alone == false())
    its = and_(its, _DELIVERY.handler == bindparam("of_handler", type_=String))
    if state is State.SENT:
        free, since = and_(its, ~is_leased()), _DELIVERY.sent_at
    else:
        free = and_(its, _DELIVERY.due_at <= moment(dialect), _DELIVERY.passes == literal_column("0"))
        since = _DELIVERY.due_at
    found = select(_DELIVERY.event_id, _DELIVERY.handler, _DELIVERY.attempts).where(free)
    found = found.order_by(since).limit(bindparam("most", type_=Integer))
    return found.with_for_update(skip_locked=True, of=event_deliveries) if dialect == "postgresql" else found


@cache
def _leasing() -> Any:
    keys = key_table("postgresql")
    its_own = select(_DELIVERY.event_id, _DELIVERY.attempts_before, _DELIVERY.message).where(_may_be_taken(keys))
    mine = its_own.cte("mine")
    leased = leasing(mine).cte("leased")
    events = select(mine.c.event_id, mine.c.attempts_before, leased.c.message.label("lease"), *_ENVELOPE)
    events = events.add_columns(_age("postgresql")).select_from(mine.join(leased, true()))
    return events.outerjoin(event_store, _EVENT.id == mine.c.event_id)


@cache
def _taking_at_once(*, one: bool, due: bool = False) -> Any:
    keys = key_table("postgresql", one=one)
    events = select(*keys.c, *_ENVELOPE, _age("postgresql")).outerjoin_from(
        keys, event_store, _EVENT.id == keys.c.event_id
    )
    found = events.subquery("found")
    envelope = [column for column in found.c if column.name not in keys.c]
    taking = _to_running("postgresql", found, due=due).where(is_relaxed(), is_patient(_PATIENCE))
    return taking.returning(_DELIVERY.event_id, _DELIVERY.attempts_before, *envelope)


@cache
def _taking(*, due: bool = False) -> Any:
    return _to_running("sqlite", key_table("sqlite"), due=due).returning(_DELIVERY.event_id, _DELIVERY.attempts_before)


@cache
def _taken() -> Any:
    keys = key_table("sqlite")
    events = select(keys.c.event_id, keys.c.number.label("attempts_before"), *_ENVELOPE, _age("sqlite"))
    return events.outerjoin_from(keys, event_store, _EVENT.id == keys.c.event_id)


def _age(dialect: str) -> "ColumnElement[float]":
    """The seconds since the event was stored, by the database's clock."""
    if dialect == "sqlite":
        days = func.julianday(moment(dialect)) - func.julianday(_EVENT.created_at)
        return func.coalesce(days * 86_400.0, 0.0, type_=Float).label("age")
    seconds = func.extract("epoch", moment(dialect) - readable(_EVENT.created_at))
    return func.coalesce(cast(seconds, Float), 0.0).label("age")


_IS_PAUSED = is_paused(bindparam("of_handler", type_=String), event_deliveries)


@cache
def _setting_aside(dialect: str) -> Update:
    """Pause deliveries that were sent before the handler was paused, or by a relay that didn't know; no attempt is
    counted.
    """
    these = unlocked(and_(not_started(dialect), _IS_PAUSED, ~is_leased()))
    return update(event_deliveries).where(these).values(state=State.PAUSED, due_at=was_due())


def _may_be_taken(keys: FromClause, *, due: bool = False) -> ColumnElement[bool]:
    """`due`: also what was not sent yet."""
    state = or_(is_of_state(State.SENT), is_of_state(State.PENDING)) if due else is_of_state(State.SENT)
    return and_(is_key(keys), state, _DELIVERY.attempts == keys.c.number, ~_IS_PAUSED)


def _to_running(dialect: str, keys: FromClause, *, due: bool = False) -> Update:
    now = moment(dialect)
    return (
        update(event_deliveries)
        .where(_may_be_taken(keys, due=due), ~is_leased())
        .values(
            state=State.RUNNING,
            attempts=_DELIVERY.attempts + 1,
            worker=bindparam("by"),
            started_at=now,
            first_started_at=func.coalesce(_DELIVERY.first_started_at, _DELIVERY.started_at, now),
            due_at=moment(dialect, "lease"),
            grouped=bindparam("of_several"),
        )
    )
