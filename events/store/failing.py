"""An attempt that failed: the delivery waits for the next one or is a dead letter, and the attempt is remembered."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, insert, literal, select, update

from events.outcome import Outcome
from events.records import Failure, State
from events.store.engine import now_plus
from events.store.tables import event_attempts, event_deliveries, waits

_DELIVERY = event_deliveries.c
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
    **changes: Any,
) -> int:
    """Write to the deliveries of this condition, which are running; how many.

    Args:
        outcome: DEAD ends them; of any other they are due again at `due_at`.
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
    if outcome is Outcome.DEAD:
        state = {"state": State.DEAD, "finished_at": now, "copied": False}
    else:
        state = {"state": waits(), "due_at": due_at}
    return connection.execute(update(event_deliveries).where(which).values(**state, **why, **changes)).rowcount
