"""Locks the due deliveries of a queue while a relay decides which of them share a message, and marks them as sent."""

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, Select, Update, and_, bindparam, or_, select, update

from events.ledger import Due, Group, Handled, State, Wakeup
from events.store.conditions import in_state
from events.store.database.engine import moment, moments, transaction
from events.store.database.listener import wake_relays
from events.store.delivery_keys import is_key, key_table, key_values
from events.store.passing_on import LEFT_TO_OTHERS, is_of, is_readable, may_be_sent, of_these
from events.store.routing import home, sending_home
from events.store.tables import event_deliveries

_DELIVERY = event_deliveries.c
# The most pages of misplaced deliveries that one call looks at, as new events wait meanwhile. The rest is still due, so
# the relay looks again at once.
_PAGES = 2


class SqlDueDeliveries:
    """Keeps the contract of events.ledger.DueDeliveries: rows that the transaction of `connection` has locked."""

    def __init__(self, connection: Connection, deliveries: Sequence[Due]) -> None:
        self.deliveries = deliveries
        self._connection = connection

    def mark(self, groups: Sequence[Group], stale_after: timedelta) -> None:
        mark_sent(self._connection, groups, stale_after)


@contextmanager
def due_deliveries(
    engine: Engine,
    queue: str,
    limit: int,
    handlers: Collection[Handled] | None,
    but: Collection[str],
    forms: Collection[tuple[str, str]],
) -> Iterator[SqlDueDeliveries]:
    """See events.ledger.Outbox."""
    due = _due(engine.dialect.name, of_some=handlers is not None, but_some=bool(but))
    which: dict[str, Any] = {"of_queue": queue, "most": limit, "but": list(but)}
    if handlers is not None:
        which |= of_these(handlers) | {"forms": sorted(forms)}
    with transaction(engine) as connection:
        rows = _at_home(connection, due, which)
        yield SqlDueDeliveries(connection, [_as_due(row, queue) for row in rows])


def mark_sent(connection: Connection, groups: Sequence[Group], stale_after: timedelta) -> None:
    """Mark the deliveries as sent. Every message gets its own number, which its deliveries share."""
    if not groups:
        return
    dialect = connection.dialect.name
    numbers = [secrets.randbits(62) for _ in groups]
    numbered = [
        (wakeup.event_id, wakeup.handler, number)
        for group, number in zip(groups, numbers, strict=True)
        for wakeup in group
    ]
    connection.execute(_sending(dialect), key_values(dialect, numbered) | moments(dialect, stale_after=stale_after))


def wakeup_of(row: Any, queue: str) -> Wakeup:
    """Return the wake-up for the next attempt of a delivery."""
    token = row.attempts + 1
    return Wakeup(row.event_id, row.handler, queue, token, row.event_type or "", token - row.attempts_before)


def _as_due(row: Any, queue: str) -> Due:
    return Due(wakeup_of(row, queue), (row.now - row.due_at).total_seconds(), row.alone)


def _at_home(connection: Connection, due: "Select[Any]", which: dict[str, Any]) -> list[Any]:
    """Return the due deliveries that belong to this queue; those that belong elsewhere are moved, and left out."""
    dialect = connection.dialect.name
    found: list[Any] = []
    for _ in range(_PAGES):
        rows = connection.execute(due, which | moments(dialect, left_to_others=LEFT_TO_OTHERS)).all()
        found = [row for row in rows if row.home == which["of_queue"]]
        if astray := [(row.event_id, row.handler, 0) for row in rows if row.home != which["of_queue"]]:
            connection.execute(sending_home(dialect), key_values(dialect, astray))
            wake_relays(connection)
        if found or len(rows) < which["most"]:
            break
    return found


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def _due(dialect: str, *, of_some: bool, but_some: bool) -> "Select[Any]":
    """Select due deliveries.

    Args:
        of_some: only deliveries of the handlers `these`, or those that no living worker can run. What one of the
            `forms` couldn't read is left to others for a while, who would lose it to us each time.
        but_some: no deliveries of the handlers `but`.
    """
    now = moment(dialect)
    query = (
        select(
            _DELIVERY.event_id,
            _DELIVERY.handler,
            _DELIVERY.event_type,
            _DELIVERY.attempts,
            _DELIVERY.attempts_before,
            _DELIVERY.alone,
            _DELIVERY.due_at,
            now.label("now"),
            home().label("home"),
        )
        .where(in_state(State.PENDING), _DELIVERY.queue == bindparam("of_queue"), _DELIVERY.due_at <= now)
        # Deliveries of one fan-out are due at the same moment.
        .order_by(_DELIVERY.due_at, _DELIVERY.event_id, _DELIVERY.handler)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )
    mine = and_(is_of(), or_(is_readable(), may_be_sent(dialect)))
    query = query.where(or_(mine, home().is_(None)) if of_some else may_be_sent(dialect))
    if but_some:
        query = query.where(_DELIVERY.handler.not_in(bindparam("but", expanding=True)))
    return query


@cache
def _sending(dialect: str) -> Update:
    keys = key_table(dialect)
    return (
        update(event_deliveries)
        .where(is_key(keys))
        .values(
            state=State.SENT,
            sent_at=moment(dialect),
            due_at=moment(dialect, "stale_after"),
            worker=None,  # no worker holds it yet
            message=keys.c.number,
        )
    )
