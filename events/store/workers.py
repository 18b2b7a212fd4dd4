"""Keeps which workers live, and what each understands. Keeps the contract of events.ledger.WorkerRegistry."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, Text, cast, delete, select, update

from events.ledger import WorkerInfo
from events.store.database.engine import look, now_plus, transaction
from events.store.tables import event_workers

_WORKER = event_workers.c
_JSON = ("queues", "handlers", "activity", "definitions")
_FORGOTTEN_AFTER = timedelta(days=1)


class SqlWorkers:
    """Rows of event_workers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def announce(self, worker: WorkerInfo) -> None:
        values = asdict(worker) | {
            "queues": json.dumps(worker.queues),
            "handlers": json.dumps(worker.handlers),
            "activity": json.dumps(worker.activity),
            "definitions": json.dumps(worker.definitions),
            "clock_ahead": self._clock_ahead(),
        }
        with transaction(self._engine) as connection:
            now = now_plus(connection)
            old = now_plus(connection, -_FORGOTTEN_AFTER)
            known = select(_WORKER.name).where((_WORKER.name == worker.name) | (_WORKER.seen_at < old)).correlate(None)
            free = known.with_for_update(skip_locked=True)  # the lock may belong to a process that never ends
            connection.execute(delete(event_workers).where(_WORKER.name.in_(free)))
            connection.execute(event_workers.insert().values(**values | {"started_at": now, "seen_at": now}))

    def renew(self, name: str, activity: Mapping[str, Mapping[str, float]]) -> bool:
        with transaction(self._engine) as connection:
            seen = {"seen_at": now_plus(connection), "activity": json.dumps(activity)}
            return connection.execute(update(event_workers).where(_WORKER.name == name).values(seen)).rowcount == 1

    def gone(self, name: str) -> None:
        with transaction(self._engine) as connection:
            connection.execute(delete(event_workers).where(_WORKER.name == name))

    def alive(self, within: timedelta) -> list[WorkerInfo]:
        with look(self._engine) as connection:
            return alive(connection, within)

    def understood_elsewhere(self, handler: str, event_type: str, fingerprint: str, within: timedelta) -> bool:
        return any(
            worker.handlers.get(handler, {}).get(event_type, fingerprint) != fingerprint
            for worker in self.alive(within)
        )

    def _clock_ahead(self) -> float:
        """Return the seconds by which this machine's clock is ahead of the database's. On SQLite there is one clock."""
        if self._engine.dialect.name == "sqlite":
            return 0.0
        with look(self._engine) as connection:
            before = datetime.now(UTC)
            theirs = connection.execute(select(now_plus(connection))).scalar_one()
            after = datetime.now(UTC)
        return round(((before + (after - before) / 2) - theirs).total_seconds(), 3)


def alive(connection: Connection, within: timedelta) -> list[WorkerInfo]:
    """See events.ledger.WorkerRegistry."""
    query = select(
        *(cast(column, Text).label(column.name) if column.name in _JSON else column for column in _WORKER)
    ).order_by(_WORKER.name)
    rows = connection.execute(query.where(_WORKER.seen_at >= now_plus(connection, -within))).all()
    return [WorkerInfo(**dict(row._mapping) | {name: json.loads(row._mapping[name]) for name in _JSON}) for row in rows]
