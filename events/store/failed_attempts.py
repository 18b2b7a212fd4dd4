"""An attempt that failed: the delivery waits for the next one or is a dead letter, and the attempt is remembered."""

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
from events.store.database.engine import now_plus
from events.store.tables import event_attempts, event_deliveries, waits
from events.throttle import Backoff

_DELIVERY, _ATTEMPT = event_deliveries.c, event_attempts.c
_AWAY = f"{DatabaseAway.__module__}.{DatabaseAway.__qualname__}"
_FIRST, _LAST, _EVERY = 5, 10, 5  # attempts that are remembered; after every so many the others are forgotten
_PAUSES = Backoff(first=0.5, longest=300.0)
_REMEMBERED = (
    "event_id", "handler", "attempt", "run", "worker", "started_at", "ended_at",
    "outcome", "traceparent", "error_type", "error", "traceback", "place",
)  # fmt: skip


def fail(
    connection: Connection,
    which: ColumnElement[bool],
    failure: Failure,
    outcome: Outcome,
    due_at: "datetime | ColumnElement[datetime] | None" = None,
    token: int = 0,
    **changes: Any,
) -> int:
    """Write to the deliveries of this condition, which are running; how many.

    Args:
        outcome: DEAD ends them; of any other they are due again at `due_at`.
        token: of the attempt, so that of very many only the first and the last are remembered.
        changes: of more columns.
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
        state = {"state": waits(), "due_at": due_at, "passes": 0}  # whoever has begun it could run it
    return connection.execute(update(event_deliveries).where(which).values(**state, **why, **changes)).rowcount


def _forgetting(which: ColumnElement[bool]) -> Delete:
    """Those that were cut short stay, of which there are only so many: they are counted."""
    between = exists(select(_DELIVERY.event_id).where(
        which, _DELIVERY.event_id == _ATTEMPT.event_id, _DELIVERY.handler == _ATTEMPT.handler,
        _ATTEMPT.attempt <= _DELIVERY.attempts - _LAST,
    ))  # fmt: skip
    return delete(event_attempts).where(_ATTEMPT.attempt > _FIRST, _ATTEMPT.error_type != _AWAY, between)


def interrupt(connection: Connection, which: ColumnElement[bool], why: str, most: int) -> bool:
    """The attempt of this delivery, which is running, was cut short by the database: pending again, and not counted.

    Each time it waits longer. False, and nothing is changed, if it was so `most` times since it was last dead; or if
    there is no such delivery.
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
