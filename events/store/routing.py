"""Finds where a waiting delivery belongs: in its handler's queue, or nowhere while no living worker has its handler.

A delivery that belongs nowhere is pending and HELD: due so late that no relay looks at it. Deliveries end up in a wrong
place when a subscription changes. The relay corrects those that it meets, and looks for the others after each change.
"""

from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    ScalarSelect,
    Text,
    Update,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from events.ledger import HELD, State
from events.store.conditions import in_state, is_of_state, waits
from events.store.database.engine import look, moment, moments, now_plus, transaction
from events.store.database.listener import wake_relays
from events.store.database.types import UtcDateTime
from events.store.delivery_keys import is_key, key_table
from events.store.leases import is_leased
from events.store.tables import event_deliveries, event_subscriptions
from events.store.waiting_queues import heads

_DELIVERY, _SUBSCRIPTION = event_deliveries.c, event_subscriptions.c
# For AT_ONCE after a change, and again after AT_LAST, its deliveries are looked for: fan-outs and sends that read the
# subscription before the change commit within that time.
AT_ONCE, AT_LAST = timedelta(seconds=5), timedelta(minutes=1)
_NEVER = literal(HELD, UtcDateTime)


def home() -> "ScalarSelect[Any]":
    """Select the queue of a delivery's handler for its event; NULL without a living worker or a subscription."""
    kind = func.coalesce(_DELIVERY.event_type, _SUBSCRIPTION.event_type)  # older rows may have none
    theirs = and_(_SUBSCRIPTION.handler == _DELIVERY.handler, _SUBSCRIPTION.event_type == kind)
    query = select(func.min(_SUBSCRIPTION.queue)).where(theirs, _SUBSCRIPTION.orphaned_at.is_(None))
    return query.correlate(event_deliveries).scalar_subquery()


@cache
def sending_home(dialect: str) -> Update:
    """Put pending deliveries, whose keys are the parameters, where they belong."""
    keys = key_table(dialect)
    due_at = case((home().is_(None), _NEVER), else_=_DELIVERY.due_at)
    going = update(event_deliveries).where(is_key(keys), is_of_state(State.PENDING))
    return going.values(queue=func.coalesce(home(), _DELIVERY.queue), due_at=due_at)


def has_changed(dialect: str) -> ColumnElement[bool]:
    """A subscription changed, so deliveries of its handler may be in a wrong place; needs the moments `soon` and
    `late`.
    """
    changed_at = _SUBSCRIPTION.changed_at
    return or_(changed_at > moment(dialect, "soon"), changed_at < moment(dialect, "late"))


def bring_home(engine: Engine, limit: int) -> int:
    """See events.ledger.Recovery."""
    changed_at = _SUBSCRIPTION.changed_at
    with look(engine) as connection:
        other_before = cast(_SUBSCRIPTION.definitions, Text).contains(",")
        query = select(_SUBSCRIPTION.handler, other_before).where(has_changed(connection.dialect.name))
        changed = connection.execute(query, moments(connection.dialect.name, soon=-AT_ONCE, late=-AT_LAST)).all()
        if not changed:
            return 0
        queues = list(connection.scalars(select(heads().c.queue)))
    belongs = and_(_DELIVERY.handler.in_({row[0] for row in changed}), home().is_not(None))
    # Only these handlers can have had another queue. To search the waiting deliveries of one handler takes as long as
    # to search all.
    elsewhere = and_(_DELIVERY.handler.in_({row[0] for row in changed if row[1]}), _DELIVERY.queue != home())
    held = and_(_DELIVERY.due_at == _NEVER, belongs)
    back = {"queue": home(), "due_at": _DELIVERY.created_at, "passes": 0}
    moved = {"queue": home()}
    with transaction(engine) as connection:
        count = 0
        astray: ColumnElement[bool] = false()
        for which, values in (
            (and_(in_state(State.PENDING), _DELIVERY.queue.in_(queues), held), back),
            (and_(in_state(State.PAUSED), held), back),
            (and_(in_state(State.PENDING, State.PAUSED, State.RUNNING), elsewhere), moved),
            (
                and_(in_state(State.SENT), elsewhere, ~is_leased()),
                moved | {"state": waits(), "due_at": now_plus(connection)},
            ),
        ):
            misplaced = select(_DELIVERY.event_id, _DELIVERY.handler).where(which).limit(limit)
            these = tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_(misplaced.with_for_update(skip_locked=True))
            count += connection.execute(update(event_deliveries).where(these).values(values)).rowcount
            astray = or_(astray, which)
        if count:
            wake_relays(connection)
        # The change is settled only when all deliveries are where they belong: locked deliveries were skipped.
        elif not connection.scalar(select(exists().where(astray))):
            old = changed_at < now_plus(connection, -AT_LAST)
            free = tuple_(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type).in_(
                select(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type)
                .where(old)
                .correlate(None)
                .with_for_update(skip_locked=True)
            )
            connection.execute(update(event_subscriptions).where(free).values(changed_at=None))
    return count
