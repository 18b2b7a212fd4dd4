"""Fans out a backlog: the relay says which deliveries of the new events share a message before they are stored.

So they are stored as sent. A delivery that is stored first, and marked as sent later, is written twice.
"""

import json
import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    FromClause,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    func,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from events.ledger import Due, FannedOut, Group, Handled, State, Wakeup
from events.store.arrivals import is_anything_new, new_events
from events.store.conditions import is_paused
from events.store.database.engine import look, moment, moments, transaction
from events.store.database.types import Id
from events.store.database.upsert import insert_into
from events.store.fan_out import COLUMNS, DONE, MADE
from events.store.tables import event_deliveries, event_store, event_subscriptions

_EVENT, _SUBSCRIPTION = event_store.c, event_subscriptions.c
_AT_ONCE = 1000  # events in one transaction
_KINDS: dict[str, Any] = {
    "event_id": Uuid(),
    "handler": Text(),
    "queue": Text(),
    "event_type": Text(),
    "state": Text(),
    "message": BigInteger(),  # NULL: it is not sent
}


class SqlArriving:
    """Keeps the contract of events.ledger.Arriving. Args: a row for each delivery that is to be stored."""

    def __init__(
        self, rows: Sequence[Any], handlers: Collection[Handled] | None, queues: Collection[str] | None
    ) -> None:
        self._rows = rows
        self._groups: Sequence[Group] = ()
        self._left: Collection[UUID] = ()
        self.stale_after = timedelta(0)
        self.fanned_out = FannedOut()
        self.deliveries: Sequence[Due] = [
            Due(Wakeup(row.id, row.handler, row.queue, 1, row.event_type, 1), 0.0, alone=False)
            for row in rows
            if row.may_be_sent
            and (handlers is None or (row.handler, row.event_type) in handlers)
            and (queues is None or row.queue in queues)
        ]

    def mark(self, groups: Sequence[Group], stale_after: timedelta, left: Collection[UUID] = ()) -> None:
        self._groups, self.stale_after, self._left = groups, stale_after, set(left)

    def to_store(self) -> list[tuple[UUID, str, str, str, str, int | None]]:
        """A row for each delivery, as _KINDS says. Each message has a number of its own, which its deliveries share."""
        message = {
            (one.event_id, one.handler): number
            for group, number in ((group, secrets.randbits(62)) for group in self._groups)
            for one in group
        }
        return [
            (
                row.id,
                row.handler,
                row.queue,
                row.event_type,
                State.SENT.value if (row.id, row.handler) in message else row.waits,
                message.get((row.id, row.handler)),
            )
            for row in self._rows
            if row.id not in self._left
        ]

    def stored(self, made: Sequence[Any]) -> None:
        """Note which deliveries are new; the ledger had the others before, whatever became of them."""
        sent = {(row.event_id, row.handler) for row in made if row.state == State.SENT}
        groups = (tuple(one for one in group if (one.event_id, one.handler) in sent) for group in self._groups)
        self.fanned_out = FannedOut(
            len({row.id for row in self._rows} - set(self._left)),
            sent=tuple(group for group in groups if group),
            waiting=sum(row.state == State.PENDING for row in made),
            published=Counter(kind for _, kind in {(row.event_id, row.event_type) for row in made}),
            made=Counter((row.event_type, row.handler) for row in made),
        )


@contextmanager
def arriving(
    engine: Engine,
    limit: int,
    handlers: Collection[Handled] | None = None,
    queues: Collection[str] | None = None,
    but: Collection[str] = (),
    of: Handled | None = None,
) -> Iterator[SqlArriving]:
    """See events.ledger.Outbox. `of`: only events of this type that this handler subscribed to; "" for any type."""
    dialect = engine.dialect.name
    of_handler, of_type = of or ("", "")
    which = {"but": list(but), "of_handler": of_handler, "of_type": of_type}
    some = {"but_some": bool(but), "of_one": of is not None}
    if dialect == "sqlite":
        with look(engine) as connection:  # this query mostly finds nothing, and takes no write lock
            anything = connection.scalar(_is_anything_new(**some), which)
        if not anything:
            yield SqlArriving((), None, None)
            return
    with transaction(engine) as connection:
        rows = connection.execute(_wanted(dialect, **some), which | {"most": limit}).all()
        new = SqlArriving(rows, handlers, queues)
        yield new
        if to_store := new.to_store():
            new.stored(_store(connection, to_store, new.stale_after))


def arrive(engine: Engine, handler: str, event_type: str | None) -> None:
    """Make deliveries of all events that wait for this handler, so that what is done to these is done to all."""
    made = 1
    while made:
        with arriving(engine, _AT_ONCE, of=(handler, event_type or "")) as new:
            pass
        made = new.fanned_out.events


def _store(connection: Connection, rows: Sequence[tuple[Any, ...]], stale_after: timedelta) -> Sequence[Any]:
    dialect = connection.dialect.name
    values = _values(dialect, rows) | moments(dialect, stale_after=stale_after)
    made = connection.execute(_storing(dialect), values).all()
    if dialect == "sqlite":
        connection.execute(_marking(dialect), values)
    return made


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def _is_anything_new(*, but_some: bool, of_one: bool) -> "Select[Any]":
    return select(is_anything_new(but_some=but_some, of_one=of_one))


@cache
def _wanted(dialect: str, *, but_some: bool, of_one: bool) -> "Select[Any]":
    """Lock new events; select a row for each delivery that they are to have, in the order of the events."""
    mine = new_events(dialect, but_some=but_some, of_one=of_one).cte("mine")
    paused = is_paused(_SUBSCRIPTION.handler, event_subscriptions)
    handed = select(
        mine.c.id,
        mine.c.event_type,
        _SUBSCRIPTION.handler,
        _SUBSCRIPTION.queue,
        _SUBSCRIPTION.orphaned_at.is_(None).label("has_worker"),
        paused.label("paused"),
        mine.c.timestamp,
    ).join_from(mine, event_subscriptions, _SUBSCRIPTION.event_type == mine.c.event_type)
    found = handed.subquery("found").c
    return select(
        found.id,
        found.event_type,
        found.handler,
        found.queue,
        case((found.paused, State.PAUSED.value), else_=State.PENDING.value).label("waits"),
        (found.has_worker & ~found.paused).label("may_be_sent"),
    ).order_by(found.timestamp, found.id, found.handler)


@cache
def _storing(dialect: str) -> Any:
    rows, now = _table(dialect), moment(dialect)
    sent = rows.c.message.is_not(None)
    stored = select(
        *(rows.c[name] for name in ("event_id", "handler", "queue", "event_type", "state")),
        case((sent, moment(dialect, "stale_after")), else_=now),
        now,
        case((sent, now), else_=null()),
        rows.c.message,
    )
    stored = stored.where(rows.c.event_id.is_not(None))  # without a WHERE, SQLite reads ON as the condition of a join
    into = insert_into(event_deliveries, dialect).from_select((*COLUMNS, "sent_at", "message"), stored)
    making: Any = into.on_conflict_do_nothing(index_elements=["event_id", "handler"]).returning(*MADE)
    # PostgreSQL marks the events in the same statement.
    return making if dialect == "sqlite" else making.add_cte(_marking(dialect).cte("marked"))


@cache
def _marking(dialect: str) -> Any:
    return update(event_store).where(_EVENT.id.in_(select(_table(dialect).c.event_id))).values(**DONE)


def _table(dialect: str) -> FromClause:
    """A table with the columns of _KINDS, whose rows are the parameters that `_values` makes."""
    if dialect == "sqlite":
        value = func.json_each(bindparam("rows", type_=Text)).table_valued("value").c.value
        kinds = _KINDS | {"event_id": Id}
        return select(
            *(
                func.json_extract(value, f"$[{place}]", type_=kinds[name]).label(name)
                for place, name in enumerate(_KINDS)
            )
        ).subquery("rows")
    arrays = [bindparam(f"rows_{name}", type_=ARRAY[Any](kind)) for name, kind in _KINDS.items()]
    return func.unnest(*arrays).table_valued(*_KINDS, name="rows").render_derived()


def _values(dialect: str, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    if dialect == "sqlite":
        return {"rows": json.dumps([(str(row[0]), *row[1:]) for row in rows])}
    return {f"rows_{name}": [row[place] for row in rows] for place, name in enumerate(_KINDS)}
