"""The `event_store` of another program, as it is before this package comes: its table, its rows, what it writes on."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from support.store import Store

POSTGRES = {
    "id": "UUID PRIMARY KEY DEFAULT gen_random_uuid()",
    "aggregate_id": "VARCHAR(255)",
    "event_type": "VARCHAR(255) NOT NULL",
    "event_data": "JSONB NOT NULL",
    "version": "INTEGER DEFAULT 1",
    "timestamp": "TIMESTAMPTZ NOT NULL",
    "processed": "BOOLEAN DEFAULT FALSE",
    "created_at": "TIMESTAMPTZ DEFAULT NOW()",
}
SQLITE = POSTGRES | {
    "id": "TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(16))))",
    "event_data": "JSON NOT NULL",
    "timestamp": "TIMESTAMP NOT NULL",
    "created_at": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
}
ORM = {  # what an ORM makes whose defaults are the application's own
    "id": "CHAR(32) NOT NULL, PRIMARY KEY (id)", "aggregate_id": "VARCHAR(255)", "event_type": "VARCHAR(255)",
    "event_data": "JSON", "version": "INTEGER", "timestamp": "DATETIME", "processed": "BOOLEAN NOT NULL",
    "created_at": "DATETIME",
}  # fmt: skip
INDEXES = [
    "CREATE INDEX idx_unprocessed ON event_store (processed, timestamp) WHERE processed = FALSE",
    "CREATE INDEX idx_aggregate ON event_store (aggregate_id, version)",
]
WHEN = "2026-01-31 09:30:00"
postgres_only = pytest.mark.parametrize("url", ["postgres"], indirect=True)
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def made(store: Store, *statements: str, **columns: str) -> None:
    """Another program makes its table; a column that is "" is left out."""
    table = (SQLITE if store.sqlite else POSTGRES) | columns
    definitions = sorted((f'"{name}" {kind}' for name, kind in table.items() if kind), key=lambda one: "PRIMARY" in one)
    for statement in (f"CREATE TABLE event_store ({', '.join(definitions)})", *statements):
        store.foreign(statement)


def row(store: Store, *, event_type: str | None = "Said", **values: Any) -> UUID:
    """It writes an event."""
    event_id = uuid4()
    given = {"id": str(event_id), "aggregate_id": "a-1", "event_type": event_type, "event_data": '{"n": 1}',
             "version": 1, "timestamp": WHEN, "processed": False} | values  # fmt: skip
    columns = {name: value for name, value in given.items() if value != ""}
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    store.foreign(f"INSERT INTO event_store ({names}) VALUES ({marks})", *columns.values())
    return event_id


def handled(store: Store) -> list[UUID]:
    """Events that the handler of what was said gets, in order."""
    store.subscribe()
    return [store.claim(wakeup).envelope.id for wakeup in store.take()]


def both_publish(store: Store) -> None:
    """The other program goes on, as does this package, and both are heard."""
    said = row(store, id="", timestamp=WHEN) if _has_default_id(store) else row(store)
    ours = store.publish()
    found = handled(store)
    assert len(found) == 2
    assert ours in found
    assert _has_default_id(store) or said in found


def _has_default_id(store: Store) -> bool:
    with store.ledger.engine.connect() as connection:
        if store.sqlite:
            made_by = "SELECT sql FROM sqlite_master WHERE name = 'event_store'"
            return "randomblob" in str(connection.exec_driver_sql(made_by).scalar())
        return bool(connection.exec_driver_sql(
            "SELECT column_default FROM information_schema.columns WHERE table_name = 'event_store' "
            "AND column_name = 'id'"
        ).scalar())  # fmt: skip
