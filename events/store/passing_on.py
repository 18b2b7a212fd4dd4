"""A worker can't run a delivery, and others may: it is due again after a delay that grows each time.

By a broker it would come to any worker of its queue, and to one that can't run it as likely as not. So a worker that
can takes it from the ledger itself, and relays leave it to such workers for a while.
"""

import random
from collections.abc import Collection
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, literal_column, or_, select, tuple_

from events.ledger import Handled, State
from events.store.database.engine import moment, now_plus
from events.store.routing import home
from events.store.tables import event_deliveries, in_state, waits

LEFT_TO_OTHERS = timedelta(seconds=-12)  # how long it is due before a relay sends it: longer than workers look apart
_DELIVERY = event_deliveries.c
_TIMES = 4  # different delays, up to about ten seconds: what nobody has is held, so others take it soon


def passed_on(connection: Connection, unread: str = "") -> dict[str, Any]:
    """The values of such a delivery. `unread`: the form of its event that can't read it.

    Never the same: a broker that takes turns would give what is sent together to the same workers again and again.
    """
    first = random.uniform(0.5, 2.0)
    after = [now_plus(connection, timedelta(seconds=first * 2**passes)) for passes in range(_TIMES)]
    due_at = case(*((_DELIVERY.passes == passes, then) for passes, then in enumerate(after)), else_=after[-1])
    values = {"state": waits(), "due_at": due_at, "passes": _DELIVERY.passes + 1}
    return values | {"unread": unread} if unread else values


def may_be_sent(dialect: str) -> ColumnElement[bool]:
    """Nobody has passed it on, or nobody who can run it has taken it since; needs the moment `left_to_others`."""
    return or_(_DELIVERY.passes == literal_column("0"), _DELIVERY.due_at <= moment(dialect, "left_to_others"))


def is_of() -> ColumnElement[bool]:
    """It is of one of `these` pairs of handler and event type, or, of older code that wrote no type, of `names`."""
    mine = tuple_(_DELIVERY.handler, _DELIVERY.event_type).in_(bindparam("these", expanding=True))
    return or_(mine, and_(_DELIVERY.event_type.is_(None), _DELIVERY.handler.in_(bindparam("names", expanding=True))))


def of_these(handlers: Collection[Handled]) -> dict[str, Any]:
    """The parameters of a statement with `is_of`."""
    return {"these": sorted(handlers), "names": sorted({name for name, _ in handlers})}


def is_readable() -> ColumnElement[bool]:
    """Nobody with one of these `forms`, pairs of event type and fingerprint, has found that it can't read the event.

    Else all who can't would take it from each other, again and again, and come before the one who can.
    """
    tried = tuple_(_DELIVERY.event_type, _DELIVERY.unread).in_(bindparam("forms", expanding=True))
    return or_(_DELIVERY.unread.is_(None), ~tried)


@cache
def passed(dialect: str) -> "Select[Any]":
    """The `most` deliveries of `queues` that were passed on and are due, which `is_of` and `is_readable` find."""
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
