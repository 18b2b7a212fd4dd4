"""Keeps which handlers want which events. Keeps the contract of events.ledger.Subscriptions.

Workers only add and change subscriptions: those that one worker's code lacks may belong to another. While workers of
several versions live, the newest definition counts: the one whose first appearance was the latest. So old code that
starts late changes nothing; but if only old code lives, its definition counts again. A masked field stays masked.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Integer, Text, and_, case, cast, func, select, text, tuple_, update

from events.ledger import ALIVE, Pace, Subscription, WorkerInfo
from events.store.database.engine import look, now_plus, relaxed_commit, transaction
from events.store.database.upsert import insert_into
from events.store.routing import bring_home
from events.store.tables import event_subscriptions
from events.store.workers import alive

_SUBSCRIPTION = event_subscriptions.c
_KEY = ("handler", "event_type")
_JSON = ("masked", "definitions")
_REMEMBERED = 50  # definitions that are remembered for each subscription
_BATCH = 1000
# The most by which other programs' clocks may be off; some of them count whole seconds. Also, a role without
# pg_read_all_stats doesn't see since when others' transactions are open; most of these take less than this.
_OFF = timedelta(seconds=10)
_OLDEST_OPEN = """
    SELECT least(statement_timestamp(), min(xact_start)) FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND backend_type IS DISTINCT FROM 'autovacuum worker'
"""
_LOCK = 7_310_579_604_113  # any number; all transactions that change subscriptions use it
DEFAULT_MAX_ATTEMPTS = 8  # for a handler whose subscription is gone

Key = tuple[str, str]  # handler, event type


class SqlSubscriptions:
    """Rows of event_subscriptions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def subscribe(self, subscriptions: Collection[Subscription]) -> None:
        wanted = _by_key(subscriptions)
        if not wanted:
            return
        with transaction(self._engine) as connection:
            one_at_a_time(connection)
            known = _rows(connection)
            if all(_stands(known.get(key), subscription) for key, subscription in wanted.items()):
                return
            living = alive(connection, ALIVE)
            changes = [_changes(known.get(key), subscription, living) for key, subscription in wanted.items()]
            since = _beginning(connection) if wanted.keys() - known.keys() else None
            moves = False
            for change in filter(None, changes):
                if change.pop("moves"):
                    change["changed_at"], moves = now_plus(connection), True
                upsert = insert_into(event_subscriptions, connection.dialect.name)
                times = {"updated_at": now_plus(connection), "subscribed_at": since}
                upsert = upsert.values(change | times)
                news = {name: upsert.excluded[name] for name in (*change, "updated_at") if name not in _KEY}
                connection.execute(upsert.on_conflict_do_update(index_elements=_KEY, set_=news))
        while moves and bring_home(self._engine, _BATCH):
            pass  # the relay brings deliveries home that are not visible yet

    def keep(self, subscriptions: Collection[Subscription]) -> None:
        wanted = _by_key(subscriptions)
        with look(self._engine) as connection:
            known = _rows(connection)
            others = [key for key, row in known.items() if key not in wanted and row["orphaned_at"] is None]
            orphans = _had_by_none(connection, others)
        if not all(_stands(known.get(key), subscription) for key, subscription in wanted.items()):
            self.subscribe(subscriptions)
        if orphans:
            with transaction(self._engine) as connection:
                # A worker that has just started has subscribed before us, or will do so after us.
                one_at_a_time(connection)
                for handler, event_type in _had_by_none(connection, orphans):
                    this = and_(_SUBSCRIPTION.handler == handler, _SUBSCRIPTION.event_type == event_type)
                    marked = update(event_subscriptions).where(this, _SUBSCRIPTION.orphaned_at.is_(None))
                    connection.execute(marked.values(orphaned_at=now_plus(connection)))

    def paces(self) -> dict[str, Pace]:
        query = select(
            _SUBSCRIPTION.handler, _SUBSCRIPTION.most, _SUBSCRIPTION.batch, _SUBSCRIPTION.linger, _SUBSCRIPTION.pace
        ).order_by(_SUBSCRIPTION.updated_at)  # the newest row counts, if the event types of a handler differ
        with look(self._engine) as connection:
            return {
                row.handler: Pace(row.most, row.batch, timedelta(seconds=row.linger), row.pace)
                for row in connection.execute(query)
            }

    def masked(self) -> dict[str, set[str]]:
        fields_of: dict[str, set[str]] = {}
        query = select(_SUBSCRIPTION.event_type, cast(_SUBSCRIPTION.masked, Text))
        with look(self._engine) as connection:
            for event_type, fields in connection.execute(query):
                fields_of.setdefault(event_type, set()).update(json.loads(fields))
        return fields_of

    def event_types(self) -> dict[str, bool]:
        # Events of handlers that are away for a while still come, so their types count; but which events are public,
        # only handlers that are present decide, if there are any.
        said = cast(_SUBSCRIPTION.public, Integer)
        there = func.max(case((_SUBSCRIPTION.orphaned_at.is_(None), said)))
        query = select(_SUBSCRIPTION.event_type, func.coalesce(there, func.max(said)))
        with look(self._engine) as connection:
            return {name: bool(public) for name, public in connection.execute(query.group_by(_SUBSCRIPTION.event_type))}

    def note_pace(self, handler: str, seconds: float) -> None:
        with transaction(self._engine) as connection:
            relaxed_commit(connection)
            # Workers tell a mark again and again, so a row that has the pace is left as it is.
            theirs = select(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type).where(
                _SUBSCRIPTION.handler == handler, _SUBSCRIPTION.pace.is_distinct_from(seconds)
            )
            # The pace is a hint, and not worth waiting for a lock.
            free = theirs.correlate(None).with_for_update(skip_locked=True)
            key = tuple_(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type)
            connection.execute(update(event_subscriptions).where(key.in_(free)).values(pace=seconds))


def one_at_a_time(connection: Connection) -> None:
    """Lock the subscriptions until this transaction ends: no other changes them. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def max_attempts(connection: Connection, handler: str) -> int:
    """Return the max_attempts of the handler's subscription, or the default if it is gone."""
    query = select(func.max(_SUBSCRIPTION.max_attempts)).where(_SUBSCRIPTION.handler == handler)
    return connection.scalar(query) or DEFAULT_MAX_ATTEMPTS


def _beginning(connection: Connection) -> datetime:
    """Return the time from which a handler that subscribes now gets events that another program has processed.

    An event has the time at which its transaction began, but may become visible much later. So on PostgreSQL the events
    of all open transactions count as new. On SQLite no other transaction is writing.
    """
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC) - _OFF
    oldest: datetime = connection.scalar(text(_OLDEST_OPEN))
    return oldest - _OFF


def _by_key(subscriptions: Collection[Subscription]) -> dict[Key, Subscription]:
    by_key = {(subscription.handler, subscription.event_type): subscription for subscription in subscriptions}
    return {key: by_key[key] for key in sorted(by_key)}


def _rows(connection: Connection) -> dict[Key, dict[str, Any]]:
    columns = [cast(column, Text).label(column.name) if column.name in _JSON else column for column in _SUBSCRIPTION]
    return {
        (row.handler, row.event_type): dict(row._mapping) | {name: json.loads(row._mapping[name]) for name in _JSON}
        for row in connection.execute(select(*columns))
    }


def _stands(row: Mapping[str, Any] | None, subscription: Subscription) -> bool:
    """Whether the row needs no change."""
    if row is None or row["orphaned_at"] is not None:
        return False
    return bool(row["definition"] == subscription.definition) and set(subscription.masked) <= set(row["masked"])


def _changes(
    row: Mapping[str, Any] | None, subscription: Subscription, living: Sequence[WorkerInfo]
) -> dict[str, Any] | None:
    """Return the columns of the row that has to be written, None if it stays as it is.

    `moves`: its deliveries may be in a wrong place now.
    """
    ours: dict[str, Any] = {
        "queue": subscription.queue,
        "max_attempts": subscription.max_attempts,
        "most": subscription.most,
        "batch": subscription.batch,
        "linger": subscription.linger.total_seconds(),
        "public": subscription.public,
        "definition": subscription.definition,
    }
    key = {"handler": subscription.handler, "event_type": subscription.event_type}
    if row is None:
        definitions = json.dumps([subscription.definition])
        first = {"masked": json.dumps(subscription.masked), "definitions": definitions}
        return key | ours | first | {"moves": True}
    order = list(row["definitions"])
    if subscription.definition not in order:
        order.append(subscription.definition)  # this code is newer than all code before
    elif _is_said(row, living) and order.index(subscription.definition) < _place(order, row["definition"]):
        ours = {name: row[name] for name in ours}
    masked = sorted({*row["masked"], *subscription.masked})
    changed = ours | {"masked": masked, "definitions": order[-_REMEMBERED:], "orphaned_at": None}
    if all(row[name] == value for name, value in changed.items()):
        return None
    moves = row["orphaned_at"] is not None or row["queue"] != ours["queue"]
    return key | changed | {name: json.dumps(changed[name]) for name in _JSON} | {"moves": moves}


def _place(order: Sequence[str], definition: str | None) -> int:
    return order.index(definition) if definition in order else -1


def _is_said(row: Mapping[str, Any], living: Sequence[WorkerInfo]) -> bool:
    """Whether a living worker has the definition of the row."""
    return any(
        worker.definitions.get(row["handler"], {}).get(row["event_type"]) == row["definition"] for worker in living
    )


def _had_by_none(connection: Connection, keys: Collection[Key]) -> list[Key]:
    """Return those keys whose handler no living worker has; none while no worker lives, as that proves nothing."""
    living = alive(connection, ALIVE) if keys else ()
    return [key for key in keys if living and not any(worker.has(*key) for worker in living)]
