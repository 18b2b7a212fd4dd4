"""Writes failed attempts: the delivery waits for its next attempt or is dead, and the attempt is remembered."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    String,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from events.errors import DatabaseAway
from events.ledger import Failure, Outcome, State
from events.store.conditions import waits
from events.store.database.engine import now_plus
from events.store.tables import event_attempts, event_deliveries
from events.throttle import Backoff

_DELIVERY, _ATTEMPT = event_deliveries.c, event_attempts.c
_AWAY = f"{DatabaseAway.__module__}.{DatabaseAway.__qualname__}"
# The first and the last attempts are remembered; each fifth attempt forgets those in between.
_FIRST, _LAST, _EVERY = 5, 10, 5
_PAUSES = Backoff(first=0.5, longest=300.0)
_REMEMBERED = (
    "event_id",
    "handler",
    "attempt",
    "run",
    "worker",
    "started_at",
    "ended_at",
    "outcome",
    "traceparent",
    "error_type",
    "error",
    "traceback",
    "place",
)


def fail(
    connection: Connection,
    which: ColumnElement[bool],
    failure: Failure,
    outcome: Outcome,
    due_at: "datetime | ColumnElement[datetime] | None" = None,
    token: int = 0,
    **changes: Any,
) -> int:
    """Write a failure to the running deliveries that `which` selects; return their number.

    Args:
        outcome: DEAD ends the deliveries; after any other outcome they are due again at `due_at`.
        token: the token of the attempt, so that of very many attempts only the first and the last are remembered.
        changes: values of more columns.
    """
    now = now_plus(connection)
    why = {
        "error_type": failure.error_type,
        "error": failure.error,
        "traceback": failure.traceback,
        "place": failure.place,
    }
    attempt = select(
        _DELIVERY.event_id,
        _DELIVERY.handler,
        _DELIVERY.attempts,
        _DELIVERY.attempts - _DELIVERY.attempts_before,
        _DELIVERY.worker,
        _DELIVERY.started_at,
        now,
        literal(outcome.value),
        literal(failure.traceparent or None, String),
        *(literal(text) for text in why.values()),
    ).where(which)
    connection.execute(insert(event_attempts).from_select(_REMEMBERED, attempt))
    if token > _FIRST + _LAST and token % _EVERY == 0:
        connection.execute(_forgetting(which))
    if outcome is Outcome.DEAD:
        state = {"state": State.DEAD, "finished_at": now, "copied": False}
    else:
        state = {"state": waits(), "due_at": due_at, "passes": 0}  # a worker has begun the delivery, so it can be run
    return connection.execute(update(event_deliveries).where(which).values(**state, **why, **changes)).rowcount


def _forgetting(which: ColumnElement[bool]) -> Delete:
    """Delete attempts between the first and the last, except those that were cut short: these few are counted."""
    same_delivery = and_(_DELIVERY.event_id == _ATTEMPT.event_id, _DELIVERY.handler == _ATTEMPT.handler)
    before_last = _ATTEMPT.attempt <= _DELIVERY.attempts - _LAST
    between = exists(select(_DELIVERY.event_id).where(which, same_delivery, before_last))
    return delete(event_attempts).where(_ATTEMPT.attempt > _FIRST, _ATTEMPT.error_type != _AWAY, between)


def interrupt(connection: Connection, which: ColumnElement[bool], why: str, most: int) -> bool:
    """Note that the database cut the running attempt of a delivery short: pending again, and not counted.

    The wait grows each time. False, with nothing changed, if this happened `most` times since the delivery was last
    dead, or if no delivery matches `which`.
    """
    key = connection.execute(select(_DELIVERY.event_id, _DELIVERY.handler).where(which).with_for_update()).first()
    if key is None:
        return False
    its_own = and_(_ATTEMPT.event_id == key.event_id, _ATTEMPT.handler == key.handler)
    died = select(func.max(_ATTEMPT.attempt)).where(its_own, _ATTEMPT.outcome == Outcome.DEAD.value)
    before = select(func.count()).where(
        its_own, _ATTEMPT.error_type == _AWAY, _ATTEMPT.attempt > func.coalesce(died.scalar_subquery(), 0)
    )
    count = connection.scalar(before) or 0
    if count >= most:
        return False
    pause = timedelta(seconds=_PAUSES.after(count + 1))
    due_at, not_counted = now_plus(connection, pause), _DELIVERY.attempts_before + 1
    fail(connection, which, Failure(_AWAY, why, ""), Outcome.HANDED_BACK, due_at, attempts_before=not_counted)
    return True
