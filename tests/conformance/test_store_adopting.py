"""An `event_store` that is there already: its rows, defaults and further columns stay, and it becomes the ledger's."""

import json
import logging
import re
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, MetaData, Table, Text, Uuid, insert, select

from events.errors import ConfigurationError, SchemaError
from events.settings.settings import Settings
from events.store import check_schema, migrate, open_ledger
from events.store.database.engine import transaction
from events.store.schema import adopting
from events.store.schema.adopting import adopt
from events.store.schema.migrating import configured
from events.store.tables import metadata
from support.roles import Role
from support.store import Store, envelope

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


@sqlite_only
def test_a_table_whose_defaults_are_its_applications_gets_defaults(empty: Store) -> None:
    # Given what an ORM has made, with ids in its own spelling, an index and a trigger
    noted = "CREATE TRIGGER noted AFTER INSERT ON event_store BEGIN INSERT INTO log VALUES (NEW.id); END"
    made(empty, *INDEXES, "CREATE TABLE log (id TEXT)", noted, **ORM)
    done, waiting = (row(empty, id=uuid4().hex.upper(), processed=one, created_at=WHEN) for one in (True, False))
    before = {UUID(value[0]) for value in _all(empty, "SELECT id FROM event_store")}
    # When it is adopted, then publishers need not know these columns, and what stood beside it stands there still
    migrate(empty.ledger.engine)
    assert done != waiting
    (found,) = handled(empty)
    assert {UUID(value[0]) for value in _all(empty, "SELECT id FROM event_store")} == before
    assert {str(value[0]) for value in _all(empty, "SELECT id FROM event_store")} == {str(one) for one in before}
    assert found in before
    both_publish(empty)
    assert len(_all(empty, "SELECT id FROM log")) == 4
    names = {name for (name,) in _all(empty, "SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {"idx_unprocessed", "idx_aggregate", "event_store_unprocessed", "event_store_aggregate"} <= names


@sqlite_only
def test_indexes_of_a_table_that_is_made_anew_stay_what_they_are(
    empty: Store, recwarn: pytest.WarningsRecorder
) -> None:
    # Given a table that has to be made anew, and indexes of all kinds
    made(
        empty,
        *INDEXES,
        "CREATE INDEX by_lower ON event_store (lower(event_type))",
        "CREATE INDEX by_json ON event_store (aggregate_id, json_extract(event_data, '$.n')) WHERE version > 1",
        "CREATE UNIQUE INDEX once ON event_store (aggregate_id, lower(id))",
        'CREATE INDEX "its ""newest""" ON event_store (timestamp DESC, event_type COLLATE NOCASE)',
        **ORM,
    )
    theirs = "tbl_name = 'event_store' AND name NOT LIKE 'event_store_%' AND sql IS NOT NULL"
    query = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND {theirs}"
    before = _all(empty, query)
    row(empty)
    # When it is adopted, then they are there as they were, without a word
    migrate(empty.ledger.engine)
    assert sorted(map(tuple, _all(empty, query))) == sorted(map(tuple, before))
    assert len(before) == 6
    assert [str(one.message) for one in recwarn] == []


@sqlite_only
@pytest.mark.parametrize("column", ['"tenant" TEXT UNIQUE', "tenant TEXT UNIQUE", '"tenant" TEXT, UNIQUE ("tenant")'])
def test_what_was_unique_in_a_table_that_is_made_anew_is_so_still(empty: Store, column: str) -> None:
    # Given a table that has to be made anew, with a constraint that has no name
    definitions = ", ".join(f'"{name}" {kind}' for name, kind in ORM.items() if name != "id")
    empty.foreign(f'CREATE TABLE event_store ("id" CHAR(32) NOT NULL PRIMARY KEY, {definitions}, {column})')
    row(empty, tenant="one")
    # When it is adopted, then it holds as before
    migrate(empty.ledger.engine)
    row(empty, tenant="two")
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: event_store\.tenant"):
        row(empty, tenant="one")


def _all(store: Store, query: str) -> list[Any]:
    with store.ledger.engine.connect() as connection:
        return list(connection.exec_driver_sql(query))


BOTH_REFUSE = [
    ({"processed": "", "timestamp": ""}, [], "it has no timestamp, processed; mend that, or rename"),
    ({"id": "UUID"}, [], "its primary key is missing; it has to be id"),
    ({"tenant": "INTEGER NOT NULL"}, [], "tenant is NOT NULL and has no default"),
    ({"fanned_out": "INTEGER"}, [], "fanned_out is a column of ours that it should not have yet"),
    (
        {},
        ["CREATE UNIQUE INDEX once ON event_store (aggregate_id, version)"],
        "once makes aggregate_id, version unique",
    ),
    ({}, ["CREATE INDEX event_store_new ON event_store (version)"], "another kind is called event_store_new"),
    ({"id": "INTEGER PRIMARY KEY"}, [], "id is INTEGER, and has to "),
]
POSTGRES_REFUSES = [
    ({"id": "VARCHAR(36) PRIMARY KEY"}, [], r'id is VARCHAR\(36\), and has to be uuid: ALTER TABLE event_store ALTER '
                                            r'COLUMN "id" TYPE uuid USING "id"::uuid'),
    ({"aggregate_id": "UUID"}, [], r"aggregate_id is UUID, and has to be varchar\(255\)"),
    ({"event_data": "TEXT"}, [], "event_data is TEXT, and has to be jsonb"),
    ({"event_data": "TEXT", "processed": "INTEGER"}, [], "event_data is TEXT.*; processed is INTEGER"),
    ({"version": "INTEGER GENERATED ALWAYS AS (1) STORED"}, [], "version is generated"),
    ({"timestamp": "TIMESTAMP"}, ["SET_ZONE"], "timestamp is TIMESTAMP WITHOUT TIME ZONE, .* is Europe/Berlin, .* "
                                               "AT TIME ZONE 'UTC'"),
    ({"timestamp": "TIMESTAMPTZ(3)"}, ["CREATE VIEW seen AS SELECT timestamp FROM event_store"], "used by a view"),
]  # fmt: skip
SQLITE_REFUSES = [
    ({"id": "BLOB PRIMARY KEY"}, [], "id is BLOB, and has to hold UUIDs as text"),
    ({}, ["DROP TABLE event_store", "CREATE TABLE event_store (id TEXT PRIMARY KEY, aggregate_id TEXT, "
          "event_type TEXT, event_data TEXT, version INT, timestamp TEXT, processed INT, created_at TEXT) STRICT"],
     "it is STRICT"),
    ({}, ["INSERT INTO event_store (id, event_type, event_data, timestamp) VALUES ('x', 'Said', '{}', '')"],
     "id holds 'x', and has to hold UUIDs"),
    ({"created_at": "TIMESTAMP"}, ["CREATE TABLE child (id TEXT REFERENCES event_store (id))"],
     "created_at can't be changed as long as child refers to the table"),
]  # fmt: skip
REFUSED = [
    *(("sqlite", *one) for one in (*BOTH_REFUSE, *SQLITE_REFUSES)),
    *(("postgres", *one) for one in (*BOTH_REFUSE, *POSTGRES_REFUSES)),
]


@pytest.mark.parametrize(("url", "columns", "statements", "told"), REFUSED, indirect=["url"])
def test_what_cannot_be_adopted_is_named_with_its_cure_and_stays_as_it_is(
    empty: Store, columns: dict[str, str], statements: list[str], told: str
) -> None:
    # Given a table that can't become the ledger's
    zone = f"ALTER DATABASE \"{empty.path}\" SET timezone = 'Europe/Berlin'"
    made(empty, *(zone if one == "SET_ZONE" else one for one in statements), **columns)
    # When it is migrated, then one line says why, and nothing has happened
    for _ in range(2):
        with pytest.raises(
            SchemaError, match=f"^the database has an event_store that can't be adopted: .*{told}"
        ) as no:
            migrate(empty.ledger.engine)
        assert "\n" not in str(no.value)
    with pytest.raises(SchemaError, match="has no tables of events"):
        check_schema(empty.ledger.engine)


def test_events_without_a_type_and_ids_that_are_the_same_stand_in_the_way(empty: Store) -> None:
    made(empty, event_type="VARCHAR(255)")
    row(empty, event_type=None)
    row(empty, event_type=None)
    with pytest.raises(SchemaError, match="2 rows have no event_type; give them one, or delete them"):
        migrate(empty.ledger.engine)
    empty.foreign("DELETE FROM event_store")
    if empty.sqlite:
        one = uuid4()
        for spelling in (one.hex, str(one)):
            row(empty, id=spelling)
        with pytest.raises(SchemaError, match=r"UNIQUE constraint failed: event_store\.id"):
            migrate(empty.ledger.engine)


APPEND_ONLY = {
    "sqlite": ["CREATE TRIGGER ro BEFORE UPDATE ON event_store BEGIN SELECT RAISE(ABORT, 'append only'); END"],
    "postgres": [
        "CREATE FUNCTION ro() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append only'; END $$",
        "CREATE TRIGGER ro BEFORE UPDATE ON event_store FOR EACH ROW EXECUTE FUNCTION ro()",
    ],
}
LONG = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i)"
AT_COMMIT = [
    "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'too late'; END $$",
    "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON event_store INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION late()",
]
FAIL_LATER = [
    ("sqlite", {}, APPEND_ONLY["sqlite"], True, "append only"),
    ("postgres", {}, APPEND_ONLY["postgres"], False, "append only"),
    ("postgres", {}, AT_COMMIT, False, "pending trigger events"),
    ("postgres", {"aggregate_id": "TEXT"}, [f"UPDATE event_store SET aggregate_id = {LONG}"], True,
     "index row requires"),
    ("postgres", {"event_type": "TEXT"}, [f"UPDATE event_store SET event_type = {LONG}"], True, "index row requires"),
    ("postgres", {"metadata": "JSONB"},
     [f"UPDATE event_store SET metadata = jsonb_build_object('correlation_id', {LONG})"], True, "index row requires"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "columns", "statements", "processed", "told"), FAIL_LATER, indirect=["url"])
def test_what_stands_in_the_way_of_later_migrations_is_no_matter_of_the_address(
    empty: Store, columns: dict[str, str], statements: list[str], *, processed: bool, told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    # Given a table that looks as it should, and what stands in the way of a change to come
    made(empty, **columns)
    row(empty, processed=processed)
    for statement in statements:
        empty.foreign(statement)
    # When it is migrated, then that is said, and not that it was adopted
    with pytest.raises(SchemaError, match=f"has an event_store that can't be adopted: .*{told}.*; mend that") as no:
        migrate(empty.ledger.engine)
    assert "address" not in str(no.value)
    assert "adopted" not in caplog.text
    with pytest.raises(SchemaError, match="has no tables of events"):
        check_schema(empty.ledger.engine)


def test_a_database_that_is_lost_on_the_way_is_not_blamed_on_the_table(empty: Store) -> None:
    made(empty)
    row(empty)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adopting, "_fill", _lose)
        with pytest.raises(ConfigurationError, match="EVENTS_DATABASE_URL=") as lost:
            migrate(empty.ledger.engine)
    assert not isinstance(lost.value, SchemaError)


def _lose(connection: Connection, _: object) -> None:
    """The database goes away, or its disk fails."""
    statement = "SELECT pg_terminate_backend(pg_backend_pid())"
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        statement = "DELETE FROM event_store"
    connection.exec_driver_sql(statement)


STRANGE = {"schema_version": [2, 0, -1], "metadata": [
    "[]", "1", '"x"', "null", '{"correlation_id": 7}', '{"correlation_id": {"a": 1}}', '{"causation_id": ["x"]}',
]}  # fmt: skip
STRANGE_ON_SQLITE = {"schema_version": ["one"], "metadata": ["no JSON", 7, b"{}}"]}


@pytest.mark.parametrize("column", STRANGE)
def test_columns_of_our_names_and_another_meaning_are_not_adopted(empty: Store, column: str) -> None:
    # Given a column that is called as one of ours, and rows of which no worker could read that
    made(empty, metadata="JSONB", schema_version="INTEGER")
    values = STRANGE[column] + (STRANGE_ON_SQLITE[column] if empty.sqlite else [])
    ids = [row(empty, **{column: value}) for value in values]
    row(empty, metadata=None, schema_version=None)
    row(empty, metadata='{"correlation_id": null, "causation_id": "x", "tenant": 7}', schema_version=1)
    # When the table is adopted, then it is said how many there are, which one for example, and what to do
    with pytest.raises(SchemaError, match=f"adopted: {len(ids)} rows .*example .*id ({'|'.join(map(str, ids))})") as no:
        migrate(empty.ledger.engine)
    (cure,) = re.findall(r"ALTER TABLE event_store RENAME COLUMN .*? TO \.\.\.", str(no.value))
    # And when that is done, then all are handled
    empty.foreign(cure.replace("...", "tenant"))
    migrate(empty.ledger.engine)
    assert len(handled(empty)) == len(ids) + 2
    both_publish(empty)


def test_a_version_of_another_meaning_can_be_set_to_one(empty: Store) -> None:
    made(empty, schema_version="INTEGER")
    done, waits = row(empty, schema_version=3, processed=True), row(empty, schema_version=3)
    with pytest.raises(SchemaError, match="1 rows that are not processed have another schema_version") as no:
        migrate(empty.ledger.engine)
    empty.foreign(re.findall(r"UPDATE event_store .* IS NOT true", str(no.value))[0])
    migrate(empty.ledger.engine)
    assert done not in (found := handled(empty))
    assert found == [waits]


def test_a_version_of_another_meaning_does_not_matter_where_all_is_left(empty: Store) -> None:
    made(empty, schema_version="INTEGER DEFAULT 1")
    row(empty, schema_version=3)
    migrate(empty.ledger.engine, leave_existing=True)
    both_publish(empty)


@pytest.mark.parametrize("default", ["3", "'2'"])
def test_new_events_may_have_no_other_version_than_one(empty: Store, default: str) -> None:
    made(empty, schema_version=f"INTEGER DEFAULT {default}")
    with pytest.raises(SchemaError, match=r"schema_version has the default .* RENAME COLUMN schema_version"):
        migrate(empty.ledger.engine)


@sqlite_only
@pytest.mark.parametrize(
    ("column", "true", "false"),
    [("BOOLEAN DEFAULT 'f'", "t", "f"), ("TEXT", "true", "false"), ("BOOLEAN NOT NULL", 1, "f"), ("INTEGER", 1, 2)],
)
def test_what_sqlite_holds_for_true_is_not_guessed(empty: Store, column: str, true: Any, false: Any) -> None:
    # Given a program that writes no 1 and 0, as some frameworks do
    made(empty, processed=column)
    done, waits = row(empty, processed=true), row(empty, processed=false)
    # When its table is adopted, then nothing is taken for unprocessed that isn't
    with pytest.raises(SchemaError, match=f"processed holds .*'?{false}.* and has to hold 1 or 0") as no:
        migrate(empty.ledger.engine)
    # And when its operator does what is said
    (cure,) = re.findall(r"UPDATE event_store SET processed = processed IN \(.*?\)", str(no.value))
    empty.foreign(cure)
    migrate(empty.ledger.engine)
    assert handled(empty) == [waits]
    shown = empty.ledger.history.event(done)
    assert shown is not None
    assert shown.fanned_out


@sqlite_only
@pytest.mark.parametrize("column", ["BOOLEAN", "TEXT", "INTEGER", "NUMERIC", ""])
def test_however_sqlite_holds_one_and_zero_they_are_adopted(empty: Store, column: str) -> None:
    made(empty, processed=column or "BLOB")
    row(empty, processed=1)
    waits = [row(empty, processed=0), row(empty, processed=None)]
    migrate(empty.ledger.engine)
    assert sorted(handled(empty)) == sorted(waits)


def test_a_view_of_that_name_is_no_ledger(empty: Store) -> None:
    empty.foreign("CREATE VIEW event_store AS SELECT 1 AS id")
    with pytest.raises(SchemaError, match="it is no table; rename it"):
        migrate(empty.ledger.engine)


def test_other_tables_of_our_names_are_named(empty: Store) -> None:
    empty.foreign("CREATE TABLE event_workers (name TEXT)")
    with pytest.raises(SchemaError, match="has event_workers and no record that `events migrate` has made that"):
        migrate(empty.ledger.engine)


@postgres_only
def test_who_does_not_own_the_table_is_told_to_be_its_owner(empty: Store) -> None:
    # Given a role that may do much, but owns another's table no more than anybody
    made(empty)
    role = f"events_{uuid4().hex[:8]}"
    empty.foreign(f"CREATE ROLE {role} LOGIN")
    empty.foreign(f"GRANT ALL ON SCHEMA public TO {role}")
    empty.foreign(f"GRANT ALL ON event_store TO {role}")
    engine = empty.ledger.engine.url.set(username=role, password=None)
    ledger = open_ledger(Settings(database_url=engine.render_as_string(hide_password=False), broker_url=""))
    try:
        # When it migrates, then it is told so
        with pytest.raises(SchemaError, match="must be owner of table event_store; run `events migrate` as the role"):
            migrate(ledger.engine)
    finally:
        ledger.close()
        empty.foreign(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        empty.foreign(f"DROP OWNED BY {role}")
        empty.foreign(f"DROP ROLE {role}")


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


@sqlite_only
def test_an_orm_finds_its_rows_again_by_the_documented_type(empty: Store) -> None:
    # Given a program whose ORM has written ids of 32 hex digits
    docs = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
    made_of: dict[str, Any] = {}
    exec(code, made_of)
    by_hex, by_text = _orm_table(Uuid()), _orm_table(made_of["EventId"]())
    made(empty, id="CHAR(32) NOT NULL PRIMARY KEY")
    event_id = uuid4()
    with empty.ledger.events.begin() as connection:
        connection.execute(insert(by_hex).values(id=event_id, event_type="Said", event_data="{}", timestamp=WHEN))
    # When the table is adopted
    migrate(empty.ledger.engine)
    # Then it finds them by the type that docs/migrating.md shows, and by its own no more, nor what it writes now
    more = uuid4()
    with empty.ledger.events.begin() as connection:
        connection.execute(insert(by_text).values(id=more, event_type="Said", event_data="{}", timestamp=WHEN))
        for one in (event_id, more):
            assert connection.scalar(select(by_text.c.id).where(by_text.c.id == one)) == one
            assert connection.scalar(select(by_hex.c.id).where(by_hex.c.id == one)) is None
    assert sorted(handled(empty)) == sorted([event_id, more])


def _orm_table(kind: Any) -> Table:
    names = ("event_type", "event_data", "timestamp")
    return Table("event_store", MetaData(), Column("id", kind, primary_key=True), *(Column(one, Text) for one in names))
