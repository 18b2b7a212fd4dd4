"""Which handlers want which events. Keeps the contract of events.ports.Subscriptions."""

import json
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Text, and_, cast, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from events.records import Pace, State, Subscription
from events.store.engine import look, now_plus, relaxed_commit, transaction
from events.store.tables import event_deliveries, event_subscriptions, in_state, waits

_DELIVERY, _SUBSCRIPTION = event_deliveries.c, event_subscriptions.c
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_KEY = ("handler", "event_type")
DEFAULT_MAX_ATTEMPTS = 8  # of a handler whose subscription is gone


class SqlSubscriptions:
    """Rows of event_subscriptions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def subscribe(self, subscriptions: Collection[Subscription]) -> None:
        rows = [
            {
                "handler": one.handler,
                "event_type": one.event_type,
                "queue": one.queue,
                "max_attempts": one.max_attempts,
                "most": one.most,
                "batch": one.batch,
                "linger": one.linger.total_seconds(),
                "masked": json.dumps(one.masked),
            }
            for one in sorted(subscriptions, key=lambda one: (one.handler, one.event_type))
        ]
        if not rows:
            return
        kept = [(one.handler, one.event_type) for one in subscriptions]
        with transaction(self._engine) as connection:
            upsert = _INSERTS[connection.dialect.name](event_subscriptions)
            changes = {name: upsert.excluded[name] for name in rows[0] if name not in _KEY}
            connection.execute(
                upsert.on_conflict_do_update(index_elements=_KEY, set_=changes | {"updated_at": now_plus(connection)}),
                rows,
            )
            theirs = _SUBSCRIPTION.handler.in_({one.handler for one in subscriptions})
            connection.execute(
                delete(event_subscriptions).where(
                    theirs, tuple_(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type).not_in(kept)
                )
            )
            _move_to_queues(connection, theirs)

    def paces(self) -> dict[str, Pace]:
        query = select(
            _SUBSCRIPTION.handler, _SUBSCRIPTION.most, _SUBSCRIPTION.batch, _SUBSCRIPTION.linger, _SUBSCRIPTION.pace
        )
        with look(self._engine) as connection:
            return {
                row.handler: Pace(row.most, row.batch, timedelta(seconds=row.linger), row.pace)
                for row in connection.execute(query)
            }

    def masked(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        query = select(_SUBSCRIPTION.event_type, cast(_SUBSCRIPTION.masked, Text))
        with look(self._engine) as connection:
            for event_type, fields in connection.execute(query):
                found.setdefault(event_type, set()).update(json.loads(fields))
        return found

    def event_types(self) -> set[str]:
        with look(self._engine) as connection:
            return set(connection.scalars(select(_SUBSCRIPTION.event_type).distinct()))

    def note_pace(self, handler: str, seconds: float) -> None:
        with transaction(self._engine) as connection:
            relaxed_commit(connection)
            connection.execute(update(event_subscriptions).where(_SUBSCRIPTION.handler == handler).values(pace=seconds))


def _move_to_queues(connection: Connection, handlers: ColumnElement[bool]) -> None:
    """A handler was given another queue: what waits for it moves along, or nobody might ever read it."""
    wanted = select(_SUBSCRIPTION.handler, _SUBSCRIPTION.queue).where(handlers).distinct().subquery("wanted")
    elsewhere = and_(_DELIVERY.handler == wanted.c.handler, _DELIVERY.queue != wanted.c.queue)
    moved = {"queue": wanted.c.queue}
    connection.execute(update(event_deliveries).where(elsewhere, in_state(State.PENDING, State.PAUSED)).values(moved))
    again = moved | {"state": waits(), "due_at": now_plus(connection)}
    connection.execute(update(event_deliveries).where(elsewhere, in_state(State.SENT)).values(again))


def max_attempts(connection: Connection, handler: str) -> int:
    """What the handler's subscription says."""
    query = select(func.max(_SUBSCRIPTION.max_attempts)).where(_SUBSCRIPTION.handler == handler)
    return connection.scalar(query) or DEFAULT_MAX_ATTEMPTS
