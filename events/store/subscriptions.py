"""Which handlers want which events. Keeps the contract of events.ledger.Subscriptions.

Workers only add and change: what one worker's code lacks may be another's. While workers of several versions live, the
newest definition counts, which is the one that was seen last for the first time: old code that starts late changes
nothing, and old code that is all that lives has its way again. What is masked stays masked.
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
_REMEMBERED = 50  # definitions
_BATCH = 1000
# That other programs' clocks may be, some of which count whole seconds. And a role without pg_read_all_stats doesn't
# see since when the transactions of others are open, most of which take less.
_OFF = timedelta(seconds=10)
_OLDEST_OPEN = """
    SELECT least(statement_timestamp(), min(xact_start)) FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND backend_type IS DISTINCT FROM 'autovacuum worker'
"""
_LOCK = 7_310_579_604_113  # any number, the same for all who change subscriptions
DEFAULT_MAX_ATTEMPTS = 8  # of a handler whose subscription is gone

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
            if all(_stands(known.get(key), one) for key, one in wanted.items()):
                return
            living = alive(connection, ALIVE)
            changes = [_changes(known.get(key), one, living) for key, one in wanted.items()]
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
            pass  # the relay goes on with what was not to be seen yet

    def keep(self, subscriptions: Collection[Subscription]) -> None:
        wanted = _by_key(subscriptions)
        with look(self._engine) as connection:
            known = _rows(connection)
            others = [key for key, row in known.items() if key not in wanted and row["orphaned_at"] is None]
            orphans = _had_by_none(connection, others)
        if not all(_stands(known.get(key), one) for key, one in wanted.items()):
            self.subscribe(subscriptions)
        if orphans:
            with transaction(self._engine) as connection:
                one_at_a_time(connection)  # a worker that has just started has said so, or does it after us
                for handler, event_type in _had_by_none(connection, orphans):
                    this = and_(_SUBSCRIPTION.handler == handler, _SUBSCRIPTION.event_type == event_type)
                    marked = update(event_subscriptions).where(this, _SUBSCRIPTION.orphaned_at.is_(None))
                    connection.execute(marked.values(orphaned_at=now_plus(connection)))

    def paces(self) -> dict[str, Pace]:
        query = select(
            _SUBSCRIPTION.handler, _SUBSCRIPTION.most, _SUBSCRIPTION.batch, _SUBSCRIPTION.linger, _SUBSCRIPTION.pace
        ).order_by(_SUBSCRIPTION.updated_at)  # what was said last counts, should a handler's events differ
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

    def event_types(self) -> dict[str, bool]:
        # Of handlers that are away for a while events still come; but what is public say those that are there.
        said = cast(_SUBSCRIPTION.public, Integer)
        there = func.max(case((_SUBSCRIPTION.orphaned_at.is_(None), said)))
        query = select(_SUBSCRIPTION.event_type, func.coalesce(there, func.max(said)))
        with look(self._engine) as connection:
            return {name: bool(public) for name, public in connection.execute(query.group_by(_SUBSCRIPTION.event_type))}

    def note_pace(self, handler: str, seconds: float) -> None:
        with transaction(self._engine) as connection:
            relaxed_commit(connection)
            theirs = select(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type).where(_SUBSCRIPTION.handler == handler)
            free = theirs.correlate(None).with_for_update(skip_locked=True)  # a handler doesn't wait for a hint
            key = tuple_(_SUBSCRIPTION.handler, _SUBSCRIPTION.event_type)
            connection.execute(update(event_subscriptions).where(key.in_(free)).values(pace=seconds))


def one_at_a_time(connection: Connection) -> None:
    """Until this transaction ends nobody else changes subscriptions. On SQLite there is one writer in any case."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def max_attempts(connection: Connection, handler: str) -> int:
    """What the handler's subscription says."""
    query = select(func.max(_SUBSCRIPTION.max_attempts)).where(_SUBSCRIPTION.handler == handler)
    return connection.scalar(query) or DEFAULT_MAX_ATTEMPTS


def _beginning(connection: Connection) -> datetime:
    """Of what is stored before this a handler that subscribes now gets nothing that another program has processed.

    An event is of the time at which its transaction began, and may be seen only much later: on PostgreSQL what is open
    now counts as new. On SQLite nobody else is writing.
    """
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC) - _OFF
    oldest: datetime = connection.scalar(text(_OLDEST_OPEN))
    return oldest - _OFF


def _by_key(subscriptions: Collection[Subscription]) -> dict[Key, Subscription]:
    ordered = sorted(subscriptions, key=lambda one: (one.handler, one.event_type))
    return {(one.handler, one.event_type): one for one in ordered}


def _rows(connection: Connection) -> dict[Key, dict[str, Any]]:
    columns = [cast(column, Text).label(column.name) if column.name in _JSON else column for column in _SUBSCRIPTION]
    return {
        (row.handler, row.event_type): dict(row._mapping) | {name: json.loads(row._mapping[name]) for name in _JSON}
        for row in connection.execute(select(*columns))
    }


def _stands(row: Mapping[str, Any] | None, one: Subscription) -> bool:
    """Nothing is to be changed."""
    if row is None or row["orphaned_at"] is not None:
        return False
    return bool(row["definition"] == one.definition) and set(one.masked) <= set(row["masked"])


def _changes(row: Mapping[str, Any] | None, one: Subscription, living: Sequence[WorkerInfo]) -> dict[str, Any] | None:
    """The columns of the row as they are to be, None if they are; `moves`: its deliveries may be in a wrong place."""
    ours: dict[str, Any] = {
        "queue": one.queue, "max_attempts": one.max_attempts, "most": one.most, "batch": one.batch,
        "linger": one.linger.total_seconds(), "public": one.public, "definition": one.definition,
    }  # fmt: skip
    key = {"handler": one.handler, "event_type": one.event_type}
    if row is None:
        first = {"masked": json.dumps(one.masked), "definitions": json.dumps([one.definition])}
        return key | ours | first | {"moves": True}
    order = list(row["definitions"])
    if one.definition not in order:
        order.append(one.definition)  # newer code than any before
    elif _is_said(row, living) and order.index(one.definition) < _place(order, row["definition"]):
        ours = {name: row[name] for name in ours}
    masked = sorted({*row["masked"], *one.masked})
    changed = ours | {"masked": masked, "definitions": order[-_REMEMBERED:], "orphaned_at": None}
    if all(row[name] == value for name, value in changed.items()):
        return None
    moves = row["orphaned_at"] is not None or row["queue"] != ours["queue"]
    return key | changed | {name: json.dumps(changed[name]) for name in _JSON} | {"moves": moves}


def _place(order: Sequence[str], definition: str | None) -> int:
    return order.index(definition) if definition in order else -1


def _is_said(row: Mapping[str, Any], living: Sequence[WorkerInfo]) -> bool:
    """A living worker has the definition of the row."""
    return any(
        worker.definitions.get(row["handler"], {}).get(row["event_type"]) == row["definition"] for worker in living
    )


def _had_by_none(connection: Connection, keys: Collection[Key]) -> list[Key]:
    """Of these, what no worker has of all that live; nobody can tell while none lives."""
    living = alive(connection, ALIVE) if keys else ()
    return [key for key in keys if living and not any(worker.has(*key) for worker in living)]
