"""An `event_store` that can't become the ledger's: its operator is told why and what to do, and nothing is changed."""

from uuid import uuid4

import pytest
from sqlalchemy import Connection

from events.errors import ConfigurationError, SchemaError
from events.settings.settings import Settings
from events.store import check_schema, migrate, open_ledger
from events.store.schema import adopting
from support.foreign_table import made, postgres_only, row
from support.store import Store

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
