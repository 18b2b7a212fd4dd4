"""Passes on deliveries that a worker can't run but others may: they are due again after a delay that grows each time.

A broker would give such a delivery to any worker of its queue, as likely as not to one that can't run it. So a worker
that can run it takes it from the ledger itself, and for a while relays leave it to such workers.
"""

import random
from collections.abc import Collection
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, literal_column, or_, select, tuple_

from events.ledger import Handled, State
from events.store.conditions import in_state, waits
from events.store.database.engine import moment, now_plus
from events.store.routing import home
from events.store.tables import event_deliveries

# How long a delivery is due before a relay sends it: longer than the time between two looks of a worker.
LEFT_TO_OTHERS = timedelta(seconds=-12)
_DELIVERY = event_deliveries.c
# The number of different delays, up to about ten seconds: deliveries that no worker can run are held, so the others are
# taken soon.
_TIMES = 4


def passed_on(connection: Connection, unread: str = "") -> dict[str, Any]:
    """Return the values of a delivery that is passed on. `unread`: the form of the event that couldn't read it.

    The delays are random: a broker that takes turns would give deliveries that are sent together to the same workers
    again and again.
    """
    first = random.uniform(0.5, 2.0)
    after = [now_plus(connection, timedelta(seconds=first * 2**passes)) for passes in range(_TIMES)]
    due_at = case(*((_DELIVERY.passes == passes, then) for passes, then in enumerate(after)), else_=after[-1])
    values = {"state": waits(), "due_at": due_at, "passes": _DELIVERY.passes + 1}
    return values | {"unread": unread} if unread else values


def may_be_sent(dialect: str) -> ColumnElement[bool]:
    """The delivery was never passed on, or no worker that can run it has taken it in time; needs the moment
    `left_to_others`.
    """
    return or_(_DELIVERY.passes == literal_column("0"), _DELIVERY.due_at <= moment(dialect, "left_to_others"))


def is_of() -> ColumnElement[bool]:
    """The delivery's handler and event type are one of the pairs `these`; without a type, its handler is one of
    `names`.

    Older code wrote no event type.
    """
    mine = tuple_(_DELIVERY.handler, _DELIVERY.event_type).in_(bindparam("these", expanding=True))
    return or_(mine, and_(_DELIVERY.event_type.is_(None), _DELIVERY.handler.in_(bindparam("names", expanding=True))))


def of_these(handlers: Collection[Handled]) -> dict[str, Any]:
    """Return the parameters of a statement with `is_of`."""
    return {"these": sorted(handlers), "names": sorted({name for name, _ in handlers})}


def is_readable() -> ColumnElement[bool]:
    """No worker with one of these `forms`, pairs of event type and fingerprint, has found that it can't read the event.

    Otherwise all workers that can't read it would take it from each other, again and again, ahead of a worker that can.
    """
    tried = tuple_(_DELIVERY.event_type, _DELIVERY.unread).in_(bindparam("forms", expanding=True))
    return or_(_DELIVERY.unread.is_(None), ~tried)


@cache
def passed(dialect: str) -> "Select[Any]":
    """Select the `most` deliveries of `queues` that were passed on and are due, and that `is_of` and `is_readable`
    allow.
    """
    return (
        select(
            _DELIVERY.event_id,
            _DELIVERY.handler,
            _DELIVERY.queue,
            _DELIVERY.attempts,
            _DELIVERY.attempts_before,
            _DELIVERY.event_type,
        )
        .where(in_state(State.PENDING), _DELIVERY.passes > literal_column("0"), _DELIVERY.due_at <= moment(dialect))
        .where(_DELIVERY.queue.in_(bindparam("queues", expanding=True)), home() == _DELIVERY.queue)
        .where(is_of(), is_readable())
        .order_by(_DELIVERY.due_at)
        .limit(bindparam("most"))
    )
