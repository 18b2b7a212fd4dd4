"""Settles events that another program marks as processed before our relay has seen them, as the processor of an outbox
does.

By `processed` alone these events would be done. They are found by an index that holds no other events, and each is
settled once: either all its handlers get it, or it is left to that program. A handler gets no event that was stored
before the handler subscribed: those events belonged to the other program.
"""

from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Select,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)

from events.ledger import FannedOut, Mark, MarkedByOthers, Settled
from events.store.conditions import has_mark
from events.store.database.engine import look, moment, moments, now_plus, transaction
from events.store.database.upsert import insert_into
from events.store.delivery_keys import key_table, key_values
from events.store.fan_out import COLUMNS, MADE, deliveries_of, first_state, told
from events.store.tables import event_deliveries, event_store, event_subscriptions, is_marked_by_others

_DELIVERY, _EVENT, _SUBSCRIPTION = event_deliveries.c, event_store.c, event_subscriptions.c
SHOWN = timedelta(days=1)  # how far back the numbers for operators go


def is_any_unsettled() -> ColumnElement[bool]:
    """Whether there is an event to `settle`. The query is ordered, though it wants a single row: see arrivals."""
    first: Select[Any] = select(literal_column("1")).select_from(event_store)
    first = first.where(is_marked_by_others, has_mark(Mark.NOT_YET))
    return first.order_by(_EVENT.created_at).limit(1).scalar_subquery().is_not(None)


def settle(engine: Engine, limit: int, *, handle: bool) -> Settled:
    """See events.ledger.Outbox."""
    dialect = engine.dialect.name
    with look(engine) as connection:
        if not connection.scalar(_IS_ANY_UNSETTLED):
            return Settled()
    with transaction(engine) as connection:
        rows = connection.execute(_unsettled(), {"most": limit})
        found: dict[UUID, str] = {row.id: row.event_type for row in rows}
        keys = key_values(dialect, [(event_id, "", 0) for event_id in found])
        # Older code of this package marks events in the same way, but makes the deliveries at the same time.
        ours = set(connection.scalars(_with_deliveries(dialect), keys))
        theirs = [event_id for event_id in found if event_id not in ours]
        made: Any = []
        if handle and theirs:
            values = key_values(dialect, [(event_id, "", 0) for event_id in theirs]) | moments(dialect)
            made = connection.execute(_making(dialect), values).all()
        handled = {row.event_id for row in made}
        subscribed = set(connection.scalars(_SUBSCRIBED))
        marks = dict.fromkeys(found, Mark.LEFT) | dict.fromkeys(ours, Mark.FANNED_OUT)
        marks |= dict.fromkeys(handled, Mark.ALL_THE_SAME)
        connection.execute(
            _marking(dialect), key_values(dialect, [(event_id, "", int(mark)) for event_id, mark in marks.items()])
        )
    left = sum(mark is Mark.LEFT and found[event_id] in subscribed for event_id, mark in marks.items())
    return Settled(len(found), told(len(handled), made) if made else FannedOut(), left)


def marked_by_others(connection: Connection) -> MarkedByOthers:
    """See events.ledger.Overviews."""
    since = now_plus(connection, -SHOWN)
    # One count for each mark, each by a part of the index. Events without a handler here are not counted.
    counts = [
        select(func.count())
        .where(is_marked_by_others, has_mark(mark), _EVENT.event_type.in_(_SUBSCRIBED), *recent)
        .scalar_subquery()
        for mark, recent in (
            (Mark.NOT_YET, []),
            (Mark.ALL_THE_SAME, [_EVENT.created_at >= since]),
            (Mark.LEFT, [_EVENT.created_at >= since]),
        )
    ]
    return MarkedByOthers(*connection.execute(select(*counts)).one())


_IS_ANY_UNSETTLED = select(is_any_unsettled())
_SUBSCRIBED = select(_SUBSCRIPTION.event_type).distinct()


@cache
def _unsettled() -> "Select[Any]":
    """Lock the oldest unsettled events that no other transaction has locked; select their ids and types."""
    some = select(_EVENT.id, _EVENT.event_type).where(is_marked_by_others, has_mark(Mark.NOT_YET))
    some = some.order_by(_EVENT.created_at).limit(bindparam("most", type_=Integer))
    return some.with_for_update(skip_locked=True)


@cache
def _with_deliveries(dialect: str) -> "Select[Any]":
    return select(_DELIVERY.event_id).where(_DELIVERY.event_id.in_(select(key_table(dialect).c.event_id))).distinct()


@cache
def _making(dialect: str) -> Any:
    keys, now = key_table(dialect), moment(dialect)
    columns = (_EVENT.id, _EVENT.event_type, _EVENT.created_at)
    theirs = select(*columns).join(keys, _EVENT.id == keys.c.event_id).subquery()
    since = _SUBSCRIPTION.subscribed_at
    rows = deliveries_of(theirs, first_state(), now, now).where(or_(since.is_(None), theirs.c.created_at >= since))
    into = insert_into(event_deliveries, dialect).from_select(COLUMNS, rows)
    return into.on_conflict_do_nothing(index_elements=["event_id", "handler"]).returning(*MADE)


@cache
def _marking(dialect: str) -> Any:
    keys = key_table(dialect)
    return update(event_store).where(_EVENT.id == keys.c.event_id).values(fanned_out=keys.c.number)
