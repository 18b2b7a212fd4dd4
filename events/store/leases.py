"""Leases of messages: a group of deliveries is claimed by one row, and not by a write to each of them.

A delivery that is `sent` and whose message has a lease is running. As long as all goes well it is written once more,
when it succeeds. Before any other write it is unfolded: it becomes `running` in its own row, as a delivery that was
claimed by itself, and all that is said about those holds for it.

A lease that nobody has ended is unfolded when its time is over, and then ends as others do. Without a lease a delivery
is `sent`, as if nobody had claimed it: so a claim is not lost to anybody that knows of no leases (older workers), who
may run the delivery as well. Only one of them can write the outcome, as that needs the state and the message of the
claim.
"""

from collections.abc import Collection
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    String,
    Uuid,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql

from events.ledger import State
from events.store.conditions import in_state, is_of_state
from events.store.database.engine import is_relaxed, moment, moments
from events.store.database.types import is_among
from events.store.delivery_keys import Key, is_key, key_table, key_values, unlocked
from events.store.fencing import NO_LONGER
from events.store.tables import event_deliveries, event_leases

_DELIVERY, _LEASE = event_deliveries.c, event_leases.c


def is_leased() -> ColumnElement[bool]:
    """A worker has claimed this delivery, which is sent, with its message.

    An older message of the same deliveries may have been claimed in its place, and not have all of them.
    """
    return exists().where(_LEASE.message == _DELIVERY.message, _is_in()).correlate(event_deliveries)


def _is_in() -> ColumnElement[bool]:
    return is_among(_DELIVERY.event_id, _LEASE.event_ids)


def is_running() -> ColumnElement[bool]:
    """The delivery runs, by its own row or by the lease of its message."""
    return or_(in_state(State.RUNNING), and_(in_state(State.SENT), is_leased()))


def unfold(connection: Connection, keys: Collection[Key], worker: str = "", *, waits: bool = True) -> None:
    """Let these deliveries be running by their own rows. The number of a key is its token.

    Args:
        worker: only if this worker has the lease; "" for any.
        waits: for deliveries that another transaction has locked; else these are left as they are.
    """
    if connection.dialect.name != "postgresql" or not keys:
        return
    values = key_values("postgresql", [(event_id, handler, token - 1) for event_id, handler, token in keys])
    connection.execute(_unfolding_keys(waits=waits), values | {"by": worker[:255]})


def unfold_of(connection: Connection, worker_prefix: str) -> None:
    """Unfold all leases of the workers whose names begin so."""
    if connection.dialect.name == "postgresql":
        mine = _LEASE.worker.startswith(worker_prefix, autoescape=True)
        _unfold(connection, list(connection.scalars(select(_LEASE.message).where(mine).with_for_update())))


def unfold_ended(connection: Connection, limit: int, ended_ago: timedelta) -> None:
    """Unfold up to `limit` leases that ended so long ago."""
    if connection.dialect.name == "postgresql":
        ended = select(_LEASE.message).where(_LEASE.until <= moment("postgresql", "ended")).limit(limit)
        found = connection.scalars(ended.with_for_update(skip_locked=True), moments("postgresql", ended=-ended_ago))
        _unfold(connection, list(found))


def _unfold(connection: Connection, messages: Collection[int]) -> None:
    if messages:
        connection.execute(_unfolding_messages(), {"messages": list(messages)})
        # Deliveries that another transaction has locked are unfolded later, so their lease stays.
        left = exists().where(is_of_state(State.SENT), _DELIVERY.message == _LEASE.message, _is_in())
        whole = delete(event_leases).where(_LEASE.message.in_(messages), ~left.correlate(event_leases))
        connection.execute(whole)


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def _unfolding_keys(*, waits: bool) -> Any:
    keys = key_table("postgresql")
    mine = or_(bindparam("by", type_=String) == "", _LEASE.worker == bindparam("by", type_=String))
    which = and_(is_key(keys), is_of_state(State.SENT), _DELIVERY.attempts == keys.c.number)
    return _to_running().where(which if waits else unlocked(which), mine)


@cache
def _unfolding_messages() -> Any:
    ids = func.unnest(_LEASE.event_ids).table_valued("id", name="ids").render_derived()
    of_them = _LEASE.message.in_(bindparam("messages", expanding=True))
    found = select(_LEASE.message, _LEASE.handler, ids.c.id).select_from(event_leases.join(ids, true()))
    which = found.where(of_them).subquery("which")
    here = and_(_DELIVERY.event_id == which.c.id, _DELIVERY.handler == which.c.handler, is_of_state(State.SENT))
    return _to_running().where(unlocked(and_(here, _DELIVERY.message == which.c.message)), of_them)


def _to_running() -> Any:
    return (
        update(event_deliveries)
        .where(is_of_state(State.SENT), _DELIVERY.message == _LEASE.message, _is_in())
        .values(
            state=State.RUNNING,
            due_at=_LEASE.until,
            first_started_at=func.coalesce(_DELIVERY.first_started_at, _DELIVERY.started_at, _LEASE.started_at),
            **_claimed(),
        )
    )


def _claimed() -> dict[str, Any]:
    """What the claim would have written."""
    return {
        "attempts": _DELIVERY.attempts + 1,
        "worker": _LEASE.worker,
        "started_at": _LEASE.started_at,
        "grouped": True,
    }


def leasing(mine: Any) -> Any:
    """Lease the message of the deliveries `mine`, if they are of one message and it has no lease; its number."""
    now = moment("postgresql")
    one = select(
        func.min(mine.c.message),
        bindparam("of_handler", type_=String),
        func.array_agg(mine.c.event_id, type_=postgresql.ARRAY(Uuid())),
        bindparam("by", type_=String),
        now,
        moment("postgresql", "lease"),
    ).having(func.min(mine.c.message) == func.max(mine.c.message), func.bool_and(mine.c.message.is_not(None)))
    columns = ("message", "handler", "event_ids", "worker", "started_at", "until")
    into = postgresql.insert(event_leases).from_select(columns, one.where(is_relaxed()))
    return into.on_conflict_do_nothing(index_elements=["message"]).returning(_LEASE.message)


@cache
def succeeding(*, one: bool) -> Any:
    """Write the successes of deliveries that run by the lease `of_lease`, and end it if it has no others."""
    keys, number = key_table("postgresql", one=one), bindparam("of_lease", type_=BigInteger)
    whole = func.cardinality(_LEASE.event_ids) == bindparam("of_them", type_=Integer)
    gone = delete(event_leases).where(_LEASE.message == number, whole).cte("gone")
    mine = and_(_DELIVERY.message == _LEASE.message, _LEASE.message == number, _LEASE.worker == bindparam("by"))
    done = update(event_deliveries).where(
        is_key(keys), is_of_state(State.SENT), _DELIVERY.attempts == keys.c.number - 1, mine
    )
    return done.values(state=State.SUCCEEDED, finished_at=moment("postgresql"), **_claimed(), **NO_LONGER).add_cte(gone)
