"""An `event_store` that is there already: its rows, defaults and further columns stay, and it becomes the ledger's."""

import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from events.errors import SchemaError
from events.store import check_schema, migrate
from events.store.database.engine import transaction
from events.store.schema.adopting import adopt
from events.store.schema.migrating import configured
from events.store.tables import metadata
from support.foreign_table import INDEXES, both_publish, handled, made, postgres_only, row
from support.roles import Role
from support.store import Store, envelope


def test_the_designs_table_is_adopted_with_its_rows(empty: Store, caplog: pytest.LogCaptureFixture) -> None:
    # Given the table of an application, with what its own processor has done, and what it has not
    made(empty, *INDEXES)
    done = [row(empty, processed=True) for _ in range(3)]
    waiting = [row(empty, timestamp=f"2026-01-31 09:30:0{second}") for second in range(2)]
    # When it is migrated, then that is said
    with caplog.at_level(logging.WARNING, "events.store"):
        assert migrate(empty.ledger.engine)[0] == "0001"
    check_schema(empty.ledger.engine)
    assert "with 5 rows; 2 of them, not processed, are handled" in caplog.text
    assert "the same as idx_aggregate, idx_unprocessed" in caplog.text
    # And all its rows are there; those that were not processed are handled, and no others
    assert empty.count() == 5
    assert sorted(handled(empty)) == sorted(waiting)
    assert [empty.ledger.outbox.settle_marked(10).looked_at, empty.ledger.outbox.fan_out(10).events] == [0, 0]
    shown = empty.ledger.history.event(done[0])
    assert shown is not None
    assert (json.loads(shown.data), shown.deliveries, shown.fan_out) == ({"n": 1}, [], "")
    # And whoever writes there may do so as before
    both_publish(empty)
    # And to migrate again changes nothing
    assert migrate(empty.ledger.engine) == []


def test_what_is_there_may_be_left(empty: Store) -> None:
    # Given rows that nobody has processed
    made(empty)
    for _ in range(3):
        row(empty)
    # When the table is adopted from now on only, then none of them is handled, and what comes is
    migrate(empty.ledger.engine, leave_existing=True)
    assert handled(empty) == []
    assert empty.count() == 3
    both_publish(empty)


@pytest.mark.parametrize("revision", ["0011", "head"])
def test_to_leave_what_is_there_is_refused_where_the_table_is_the_ledgers(empty: Store, revision: str) -> None:
    # Given a table that was adopted, perhaps by an older version, and what waits in it
    made(empty)
    left, waits = row(empty), row(empty)
    with transaction(empty.ledger.engine) as connection:
        adopt(connection, leave=False)
        command.upgrade(configured(connection=connection), revision)
    # When what is there is to be left, though it is late for that, then it isn't passed over
    with pytest.raises(SchemaError, match="--leave-existing belongs to the first `events migrate`") as refused:
        migrate(empty.ledger.engine, leave_existing=True)
    # And when the operator does what is said
    migrate(empty.ledger.engine)
    told = str(refused.value).partition("never to be handled: ")[2]
    empty.foreign(told.replace("...", f"id = '{left}'"))
    # Then it stays as it is, and only the rest is handled
    assert handled(empty) == [waits]
    assert empty.ledger.outbox.settle_marked(10).looked_at == 0


@postgres_only
def test_what_is_adopted_is_what_the_code_speaks_of(empty: Store) -> None:
    made(empty, *INDEXES, version="SMALLINT", event_data="JSON", event_type="VARCHAR(40)", created_at="TIMESTAMPTZ(3)")
    migrate(empty.ledger.engine)
    options = {"compare_type": True, "include_object": lambda _, name, kind, *__: name != "events_schema"}
    with empty.ledger.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    assert [(kind, index.name) for kind, index in differences] == [
        ("remove_index", "idx_aggregate"), ("remove_index", "idx_unprocessed"),
    ]  # fmt: skip


NULLS: dict[str, Any] = {"event_data": None, "version": None, "timestamp": None, "processed": None}
SHAPES = {
    "everything may be NULL, and is": (
        {"event_type": "VARCHAR(255)", "event_data": "JSONB", "version": "INTEGER", "timestamp": "TIMESTAMPTZ",
         "processed": "BOOLEAN", "created_at": "TIMESTAMPTZ"}, [], NULLS),
    "texts without a limit": ({"aggregate_id": "TEXT", "event_type": "TEXT NOT NULL"}, [], {}),
    "no aggregate but one": ({"aggregate_id": "VARCHAR(100) NOT NULL"}, [], {}),
    "columns of its own": ({"tenant": "TEXT", "seen": "INTEGER NOT NULL DEFAULT 7"}, [], {"tenant": "t"}),
    "metadata of its own": ({"metadata": "JSONB", "schema_version": "INTEGER"}, [], {"metadata": None}),
    "our indexes' names": ({}, [one.replace("idx_", "event_store_") for one in INDEXES], {}),
    "unique, but for the id": ({}, ["CREATE UNIQUE INDEX once ON event_store (aggregate_id, id)"], {}),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_what_differs_without_harm_is_adopted(empty: Store, shape: str) -> None:
    # Given a table of another shape, and an event in it
    columns, statements, values = SHAPES[shape]
    if empty.sqlite:
        columns = {name: kind.replace("TIMESTAMPTZ", "TIMESTAMP") for name, kind in columns.items()}
    made(empty, *statements, **columns)
    event_id = row(empty, **values)
    # When it is adopted, then the event is handled, or will be said to be no event; and all goes on
    migrate(empty.ledger.engine)
    assert handled(empty) == [event_id]
    both_publish(empty)
    both_publish(empty)


@postgres_only
@pytest.mark.parametrize(
    "columns",
    [
        {"event_data": "JSON NOT NULL"},
        {"version": "SMALLINT"},
        {"version": "BIGINT NOT NULL DEFAULT 1"},
        {"timestamp": "TIMESTAMP NOT NULL", "created_at": "TIMESTAMP(3) DEFAULT now()"},
        {"timestamp": "TIMESTAMPTZ(0)"},
        {"position": "BIGSERIAL NOT NULL UNIQUE"},
        {"position": "BIGINT GENERATED ALWAYS AS IDENTITY"},
    ],
    ids=str,
)
def test_types_that_say_the_same_become_the_ledgers(empty: Store, columns: dict[str, str]) -> None:
    # Given such a table in a database whose own time zone is UTC
    empty.foreign(f"ALTER DATABASE \"{empty.path}\" SET timezone = 'UTC'")
    made(empty, **columns)
    event_id = row(empty)
    # When it is adopted, then its times and data are what they were
    migrate(empty.ledger.engine)
    found = empty.ledger.history.event(event_id)
    assert found is not None
    assert found.occurred_at is not None
    assert found.occurred_at.isoformat() == "2026-01-31T09:30:00+00:00"
    assert json.loads(found.data) == {"n": 1}
    assert handled(empty) == [event_id]
    both_publish(empty)


ZONES = [  # statements, what the environment says, and why times are in doubt; none if they aren't
    (["ALTER DATABASE {db} SET timezone = 'Europe/Berlin'"], "UTC", "the time zone of database .* is Europe/Berlin"),
    (["ALTER ROLE {role} SET timezone = 'Europe/Berlin'"], "UTC", "the time zone of role poor_.* is Europe/Berlin"),
    (["ALTER DATABASE {db} SET timezone = 'UTC'", "ALTER ROLE {role} IN DATABASE {db} SET timezone = 'Europe/Berlin'"],
     "", "the time zone of role poor_.* of database .* is Europe/Berlin"),
    ([], "UTC", "is what this process says"),
    (["ALTER DATABASE {db} SET timezone = 'UTC'"], "Europe/Berlin", "own time zone is Europe/Berlin"),
    (["ALTER DATABASE {db} SET timezone = 'Etc/UTC'", "ALTER ROLE {role} SET timezone = 'GMT'"], "UTC", ""),
    (["ALTER DATABASE {db} SET timezone = 'UTC'", "REVOKE ALL ON event_store FROM {role}",
      "ALTER ROLE {role} SET timezone = 'Europe/Berlin'"], "", ""),
]  # fmt: skip


@postgres_only
@pytest.mark.parametrize(("statements", "environment", "doubt"), ZONES)
def test_times_without_a_zone_are_of_utc_only_where_all_their_writers_are(
    empty: Store, statements: list[str], environment: str, doubt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given times without a zone, a role that may write them, and what is set for it, for the database, and for us
    made(empty, timestamp="TIMESTAMP NOT NULL")
    event_id = row(empty)
    role = Role(empty.url)
    role.may("INSERT ON event_store")
    for statement in statements:
        role.say(statement.format(db=f'"{empty.path}"', role=role.name))
    if environment:
        monkeypatch.setenv("PGTZ", environment)
    try:
        # When the table is adopted, then either all say UTC, or nothing is guessed
        if doubt:
            with pytest.raises(SchemaError, match=f"{doubt}.*; say it: ALTER TABLE .* AT TIME ZONE 'UTC'") as no:
                migrate(empty.ledger.engine)
            # And when the operator says it, that is what they are
            (cure,) = re.findall(r"ALTER TABLE .* AT TIME ZONE 'UTC'", str(no.value))
            empty.foreign(cure.replace("'UTC'", "'Europe/Berlin'"))
        migrate(empty.ledger.engine)
    finally:
        empty.ledger.close()
        role.gone()
    shown = empty.ledger.history.event(event_id)
    assert shown is not None
    assert shown.occurred_at == datetime(2026, 1, 31, 8 if doubt else 9, 30, tzinfo=UTC)


@postgres_only
def test_a_table_elsewhere_in_the_search_path_is_left_alone(empty: Store) -> None:
    # Given the table of another program in the schema public, and a schema for the ledger before that
    made(empty)
    row(empty)
    empty.foreign("CREATE SCHEMA ledger")
    empty.foreign(f'ALTER DATABASE "{empty.path}" SET search_path = ledger, public')
    # When it is migrated, then the ledger's own table is made there
    migrate(empty.ledger.engine)
    assert empty.count() == 0
    with psycopg.connect(empty.url) as connection:
        assert connection.execute("SELECT count(*) FROM public.event_store").fetchone() == (1,)


def test_the_version_of_an_aggregate_is_kept(empty: Store) -> None:
    made(empty)
    row(empty, version=7)
    migrate(empty.ledger.engine)
    empty.subscribe()
    assert empty.claim(empty.take()[0]).envelope.version == 7
    with empty.ledger.events.begin() as connection:
        empty.ledger.events.append(connection, [replace(envelope(uuid4()), version=8)])
    assert empty.claim(empty.take()[0]).envelope.version == 8
