"""Fans out a backlog: the relay says which deliveries of the new events share a message before they are stored.

So they are stored as sent. A delivery that is stored first, and marked as sent later, is written twice.
"""

import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Engine,
    Select,
    case,
    select,
)

from events.ledger import Due, FannedOut, Group, Handled, State, Wakeup
from events.store.arrivals import is_anything_new, new_events
from events.store.conditions import is_paused
from events.store.database.engine import look, moment, moments, transaction
from events.store.low_water import LowWater
from events.store.new_deliveries import NewDelivery, mark, store
from events.store.tables import event_store, event_subscriptions

_EVENT, _SUBSCRIPTION = event_store.c, event_subscriptions.c
_AT_ONCE = 1000  # events in one transaction


class SqlArriving:
    """Keeps the contract of events.ledger.Arriving. Args: a row for each delivery that is to be stored."""

    def __init__(
        self, rows: Sequence[Any], handlers: Collection[Handled] | None, queues: Collection[str] | None
    ) -> None:
        self._rows = rows
        self._groups: Sequence[Group] = ()
        self._left: Collection[UUID] = ()
        self._stale_after = timedelta(0)
        self.fanned_out = FannedOut()
        self.deliveries: Sequence[Due] = [
            Due(Wakeup(row.id, row.handler, row.queue, 1, row.event_type, 1), 0.0, alone=False)
            for row in rows
            if row.may_be_sent
            and (handlers is None or (row.handler, row.event_type) in handlers)
            and (queues is None or row.queue in queues)
        ]

    def mark(self, groups: Sequence[Group], stale_after: timedelta, left: Collection[UUID] = ()) -> None:
        self._groups, self._stale_after, self._left = groups, stale_after, set(left)

    def to_store(self) -> Sequence[NewDelivery]:
        """Each message has a number of its own, which its deliveries share."""
        message = {
            (one.event_id, one.handler): number
            for group, number in ((group, secrets.randbits(62)) for group in self._groups)
            for one in group
        }
        return [self._new(row, message.get((row.id, row.handler))) for row in self._rows if row.id not in self._left]

    def _new(self, row: Any, message: int | None) -> NewDelivery:
        now, sent = row.now, message is not None
        return NewDelivery(
            row.id,
            row.handler,
            row.queue,
            row.event_type,
            State.SENT.value if sent else row.waits,
            now + self._stale_after if sent else now,
            now,
            now if sent else None,
            message,
        )

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
    low_water: LowWater | None = None,
) -> Iterator[SqlArriving]:
    """See events.ledger.Outbox. `of`: only events of this type that this handler subscribed to; "" for any type."""
    water = low_water or LowWater(timedelta(0))
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
        since, begun = water.since, time.monotonic()
        which |= {"most": limit, "since": since} | moments(dialect)
        rows = connection.execute(_wanted(dialect, since=since is not None, **some), which).all()
        water.looked(since, time.monotonic() - begun, len(rows), rows[0].timestamp if rows else None)
        new = SqlArriving(rows, handlers, queues)
        yield new
        if deliveries := new.to_store():
            new.stored(store(connection, deliveries))
            mark(connection, {one.event_id for one in deliveries})


def arrive(engine: Engine, handler: str, event_type: str | None) -> None:
    """Make deliveries of all events that wait for this handler, so that what is done to these is done to all."""
    made = 1
    while made:
        with arriving(engine, _AT_ONCE, of=(handler, event_type or "")) as new:
            pass
        made = new.fanned_out.events


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def _is_anything_new(*, but_some: bool, of_one: bool) -> "Select[Any]":
    return select(is_anything_new(but_some=but_some, of_one=of_one))


@cache
def _wanted(dialect: str, *, but_some: bool, of_one: bool, since: bool) -> "Select[Any]":
    """Lock new events; select a row for each delivery that they are to have, in the order of the events."""
    mine = new_events(dialect, but_some=but_some, of_one=of_one, since=since).cte("mine")
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
        moment(dialect).label("now"),
        found.timestamp,
    ).order_by(found.timestamp, found.id, found.handler)
