"""EVENTS_SCHEMA: the ledger in a schema of its own, which no search path has; all works as it does in any other."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Connection, NullPool, create_engine, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import shop
from events import DomainEvent, publish, publish_async
from events.current_pipeline import use_pipeline
from events.errors import ConfigurationError, PublishError, SchemaError
from events.ledger.history import EventFilter
from events.pipeline import Pipeline
from events.settings.environment import load_settings
from events.settings.settings import Settings
from events.store import check_schema, migrate, migration_sql
from events.store.schema.migrating import VERSION_TABLE
from events.store.tables import metadata
from events.testing import InlinePipeline
from support.databases import migrated_postgres
from support.operator import Operator
from support.servers import PostgresDatabase
from support.store import Store
from support.system import System
from support.waiting import eventually

OURS = {*metadata.tables, VERSION_TABLE}
SCHEMA = "ledger"


class UnheardInSchema(DomainEvent):
    pass


@pytest.fixture
def address() -> Iterator[str]:
    """A database in which nothing is."""
    database = PostgresDatabase()
    yield database.url
    database.drop()


@contextmanager
def opened(url: str, schema: str = SCHEMA) -> Iterator[Store]:
    store = Store(url, ledger_schema=schema)
    try:
        yield store
    finally:
        store.ledger.close()


@contextmanager
def publishing(url: str) -> Iterator[Store]:
    """publish() goes there."""
    with opened(url) as store:
        migrate(store.ledger.engine)
        pipeline = Pipeline(store.settings)
        use_pipeline(pipeline)
        try:
            yield store
        finally:
            use_pipeline(None)
            pipeline.close()


def tick() -> shop.OrderPlaced:
    return shop.OrderPlaced(order="1")


def shape(connection: Connection, schema: str) -> Any:
    """All that the tables in this schema are made of."""
    inspector = inspect(connection)
    return {
        name: (
            [[str(one[key]) for key in ("name", "type", "nullable", "default")]
             for one in inspector.get_columns(name, schema)],
            sorted(str(one) for one in inspector.get_indexes(name, schema)),
            inspector.get_pk_constraint(name, schema),
        )
        for name in inspector.get_table_names(schema)
        if name in OURS
    }  # fmt: skip


def connected(url: str) -> Connection:
    return create_engine(Settings(database_url=url).database_url, poolclass=NullPool).connect()


def psql(url: str, script: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(script.encode())


def by_script(store: Store) -> None:
    psql(store.url, migration_sql(store.ledger.engine))


def by_command(store: Store) -> None:
    migrate(store.ledger.engine)


def by_moving(store: Store) -> None:
    """As docs/alembic.md says it, from a ledger that was there."""
    store.ledger.close()
    with opened(store.url, "") as before:
        migrate(before.ledger.engine)
    page = (Path(__file__).parents[2] / "docs/alembic.md").read_text("utf-8")
    (script,) = [part.partition("```")[0] for part in page.split("```sql\n")[1:] if "SET SCHEMA" in part]
    psql(store.url, script.replace("SCHEMA events;", f"SCHEMA {SCHEMA};"))


@pytest.mark.parametrize("made", [by_command, by_script, by_moving])
def test_the_tables_are_there_and_only_there_and_are_the_same(address: str, made: Callable[[Store], None]) -> None:
    # Given a ledger in a schema of its own, made in one of the ways
    with opened(address) as store:
        made(store)
    # Then nothing is anywhere else
    usual = PostgresDatabase(migrated_postgres())
    with connected(address) as connection:
        assert set(inspect(connection).get_table_names(SCHEMA)) == OURS
        assert inspect(connection).get_table_names("public") == []
        found = shape(connection, SCHEMA)
    # And they are as they are elsewhere
    with connected(usual.url) as connection:
        assert found == shape(connection, "public")
    usual.drop()
    # And it is in order
    with opened(address) as store:
        check_schema(store.ledger.engine)
        assert migrate(store.ledger.engine) == []


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_what_is_published_by_a_session_of_the_applications_own_goes_there(address: str, driver: str) -> None:
    # Given an application's own engine, which knows of no schema
    with publishing(address) as store:
        engine = create_engine(store.ledger.engine.url.set(drivername=f"postgresql+{driver}"), poolclass=NullPool)
        # When it publishes one or many, in savepoints, and with another search path
        with Session(engine) as session, session.begin():
            kept = [tick() for _ in range(5)]
            publish(kept[0], session=session)
            with session.begin_nested():
                session.execute(text("SET LOCAL search_path TO pg_catalog"))
                publish(kept[1], session=session)
            with session.begin_nested() as savepoint:
                publish(tick(), session=session)
                savepoint.rollback()
            publish(kept[2:], session=session)
        # Then what was committed is in the ledger, once, also if it is published again
        assert store.count() == 5
        with Session(engine) as session, session.begin():
            publish(kept[0], session=session)
        assert store.count() == 5
        # And the same id with another content is refused
        with pytest.raises(PublishError, match="has this id, and another"), Session(engine) as session, session.begin():
            publish(kept[0].model_copy(update={"order": "other"}), session=session)


def test_what_is_published_on_asyncio_goes_there(address: str) -> None:
    async def work(url: URL) -> None:
        engine = create_async_engine(url.set(drivername="postgresql+asyncpg"))
        async with AsyncSession(engine) as session, session.begin():
            await publish_async(tick(), session=session)
        await engine.dispose()

    with publishing(address) as store:
        asyncio.run(work(store.ledger.engine.url))
        assert store.count() == 1


@pytest.mark.parametrize("mode", ["postgres", "redis"])
def test_workers_and_every_command_work_in_it(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, ledger_schema=SCHEMA).in_use() as system:
        operator = Operator(system.environment["EVENTS_DATABASE_URL"], **system.environment)

        def runs(*arguments: object) -> str:
            done = operator.runs(*arguments)
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
            return done.stdout

        # Given a worker, which says where it works
        worker = system.start_worker()
        assert f", schema {SCHEMA}" in worker.log.read_text()
        # When events are handled, are tried again, and fail
        good, again, bad = tick(), shop.Flaky(works_on_attempt=2), shop.NeverRetried()
        publish([good, again, bad, UnheardInSchema()])
        eventually(lambda: set(system.states()) == {"succeeded", "dead"}, "all are settled")
        # Then each command does what it does
        assert re.search(r"schema\tup to date", operator.runs("doctor").stdout)  # the server itself is not in order
        runs("status")
        runs("handlers", "list")
        runs("find")
        runs("show", str(bad.event_id))
        assert str(bad.event_id)[:8] in runs("dead", "list")
        runs("dead", "groups")
        runs("dead", "show", str(bad.event_id))
        runs("dead", "discard", str(bad.event_id))
        runs("dead", "list", "--discarded")
        runs("dead", "restore", str(bad.event_id))
        runs("dead", "replay", str(bad.event_id))
        runs("handlers", "pause", "refuses")
        runs("handlers", "resume", "refuses")
        runs("parked", "list")
        assert "UnheardInSchema" in runs("unhandled", "list")
        runs("unhandled", "drop", "--all", "--older-than", "1ms", "--yes")
        assert "UnheardInSchema" not in runs("unhandled", "list")
        runs("migrate", "--check")
        assert runs("migrate")
        worker.stop()
        runs("handlers", "retire", "refuses", "--yes")
        runs("prune", "--older-than", "1s", "--yes")


def test_a_ledger_that_is_there_is_not_left_behind_unseen(address: str) -> None:
    # Given a ledger where it usually is
    with opened(address, "") as store:
        migrate(store.ledger.engine)
    # When somebody sets EVENTS_SCHEMA, then no second one is made, neither by the script
    with opened(address) as store:
        for make in (migrate, migration_sql):
            with pytest.raises(SchemaError, match="has a ledger, in the schema public: set EVENTS_SCHEMA=public"):
                make(store.ledger.engine)
        with pytest.raises(SchemaError, match=r"no tables of events in the schema ledger.* EVENTS_SCHEMA=public"):
            check_schema(store.ledger.engine)
        # Unless the schema was made for it
        psql(address, f"CREATE SCHEMA {SCHEMA}")
        assert migrate(store.ledger.engine)
        store.publish()
        assert store.count() == 1
    # And each has its own
    with opened(address, "public") as store:
        assert migrate(store.ledger.engine) == []
        assert store.count() == 0


def test_who_forgets_to_set_it_is_told_where_the_ledger_is(address: str) -> None:
    with opened(address) as store:
        migrate(store.ledger.engine)
    with opened(address, "") as store:
        with pytest.raises(SchemaError, match="the one in the schema ledger is used with EVENTS_SCHEMA=ledger"):
            check_schema(store.ledger.engine)
        with pytest.raises(SchemaError, match=r"set EVENTS_SCHEMA=ledger to work with it.* set EVENTS_SCHEMA=public"):
            migrate(store.ledger.engine)


def test_a_role_without_a_right_to_make_schemas_uses_one_that_was_made_for_it(address: str) -> None:
    # Given a role that may make tables in a schema, and no schemas
    psql(address, f"CREATE SCHEMA {SCHEMA}")
    with opened(address) as store:
        with store.ledger.engine.begin() as connection:
            name = f"maker_{store.ledger.engine.url.database}"
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
            connection.exec_driver_sql(f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {name}")
        url = store.ledger.engine.url.set(username=name, password="x").render_as_string(hide_password=False)
    try:
        # When it migrates, then the tables are there
        with opened(url) as store:
            assert migrate(store.ledger.engine)
            store.publish()
            assert store.count() == 1
    finally:
        psql(address, f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_two_schemas_in_one_process_are_refused_while_both_are_open(address: str) -> None:
    with opened(address, "one"):
        with pytest.raises(ConfigurationError, match=r"EVENTS_SCHEMA='two': .* in the schema 'one'"):
            Store(address, ledger_schema="two")
        with opened(address, "one"):
            pass
    with opened(address, "two"):
        pass


def test_sqlite_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_DATABASE_URL", "sqlite:///x.db")
    monkeypatch.setenv("EVENTS_SCHEMA", SCHEMA)
    with pytest.raises(ConfigurationError, match="EVENTS_SCHEMA=ledger is for PostgreSQL"):
        load_settings()


@pytest.fixture
def set_for_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_SCHEMA", SCHEMA)


@pytest.mark.usefixtures("set_for_the_application")
def test_an_applications_tests_have_a_ledger_in_a_file_all_the_same(events_pipeline: InlinePipeline) -> None:
    publish(tick())
    assert len(events_pipeline.history.find(EventFilter())) == 1


@pytest.mark.parametrize("name", ["My", "a-b", 'a"b', "pg_x", "9a", "a.b", "x" * 64])
def test_names_that_would_have_to_be_quoted_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("EVENTS_DATABASE_URL", "postgresql://h/a")
    monkeypatch.setenv("EVENTS_SCHEMA", name)
    with pytest.raises(ConfigurationError, match=r"^EVENTS_SCHEMA=.*lower-case letters"):
        load_settings()
