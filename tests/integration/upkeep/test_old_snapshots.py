"""`events doctor` names who keeps PostgreSQL from removing dead rows: real transactions of every kind."""

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from events.diagnosis.findings import Finding, Level
from events.diagnosis.old_snapshots import old_snapshots
from events.diagnosis.upkeep import LIMITS, Limits
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.databases import migrated_postgres, migrated_sqlite
from support.roles import Role, role_in
from support.servers import PostgresDatabase, pooled
from support.waiting import eventually

AT_ONCE = replace(LIMITS, age=timedelta(0))


@pytest.fixture
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(migrated_postgres())
    yield database
    database.drop()


@pytest.fixture
def guest() -> Iterator[Role]:
    yield from role_in(PostgresDatabase(migrated_postgres()))


def look(url: str, limits: Limits = AT_ONCE) -> list[Finding]:
    """What doctor says of old snapshots, for whom a transaction is old at once."""
    pipeline = Pipeline(Settings(database_url=url, broker_url="", listen=False))
    try:
        return old_snapshots(pipeline, limits)
    finally:
        pipeline.ledger.close()


def say(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def write(url: str) -> None:
    """A transaction that begins and ends: what it left dead is kept from now on."""
    say(url, "CREATE TABLE IF NOT EXISTS written (number int); INSERT INTO written VALUES (1)")


def writer(url: str, application: str) -> "psycopg.Connection[tuple[object, ...]]":
    """A transaction that has written, and does nothing more."""
    connection = psycopg.connect(url, application_name=application)
    connection.execute("SELECT pg_current_xact_id()")
    return connection


def test_an_idle_transaction_is_named_and_the_cure_ends_it(database: PostgresDatabase) -> None:
    # Given an application that wrote something and forgot to commit
    with closing(writer(database.url, "forgetful")) as forgetful:
        write(database.url)
        # Then doctor names it, with what it takes to end it
        (found,) = look(database.url)
        assert found.level is Level.WARNING
        pid = forgetful.info.backend_pid
        assert f"a transaction of session {pid} (postgres, application 'forgetful', from 127.0.0.1) is idle and " in (
            found.found
        )
        assert " s old; it keeps all dead rows of the last " in found.found
        assert "ALTER ROLE \"postgres\" SET idle_in_transaction_session_timeout = '5min'" in found.cure
        # And when that is done, all is well
        say(database.url, found.cure.removeprefix("run: ").partition(";")[0])
        eventually(lambda: look(database.url)[0].level is Level.OK, "it has ended")


def test_a_young_transaction_is_no_fault(database: PostgresDatabase) -> None:
    with closing(writer(database.url, "busy")):
        write(database.url)
        (found,) = look(database.url, LIMITS)
        assert (found.level, found.found) == (Level.OK, "nobody has kept dead rows for 5 min")


def test_a_long_statement_is_active(database: PostgresDatabase) -> None:
    # Given a report that takes hours
    with psycopg.connect(database.url, application_name="report") as connection:

        def report() -> None:
            with suppress(psycopg.OperationalError):
                connection.execute("SELECT pg_sleep(3600)")

        thread = threading.Thread(target=report)
        thread.start()

        def seen() -> list[Finding]:
            write(database.url)
            return [one for one in look(database.url) if "is active and" in one.found]

        # Then it is named
        (found,) = eventually(seen, "the report is named")
        assert "application 'report'" in found.found
        # And ended by the cure
        say(database.url, found.cure.partition("run: ")[2].partition(";")[0])
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("isolation", "keeps"), [("read committed", False), ("repeatable read", True), ("serializable", True)]
)
def test_an_idle_transaction_that_only_read_keeps_what_its_snapshot_keeps(
    database: PostgresDatabase, isolation: str, keeps: bool
) -> None:
    with psycopg.connect(database.url) as reader:
        reader.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        reader.execute("SELECT count(*) FROM event_store")
        write(database.url)
        assert (look(database.url)[0].level is Level.WARNING) == keeps


def test_a_transaction_of_another_database_keeps_nothing_here(database: PostgresDatabase) -> None:
    other = PostgresDatabase()
    try:
        with closing(writer(other.url, "elsewhere")):
            write(database.url)
            assert look(database.url)[0].level is Level.OK
    finally:
        other.drop()


def test_a_prepared_transaction_is_named_and_the_cure_ends_it(database: PostgresDatabase) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        if connection.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
            pytest.skip("the server has max_prepared_transactions = 0")
        # Given a transaction that its coordinator forgot, with a quote in its name
        connection.execute("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'it''s mine'")
    write(database.url)
    # Then it is named
    (found,) = look(database.url)
    assert 'transaction "it\'s mine" of postgres is prepared and ' in found.found
    # And gone by the cure
    say(database.url, found.cure.rpartition(" or ")[2])
    assert look(database.url)[0].level is Level.OK


def test_a_vacuum_is_no_old_snapshot(database: PostgresDatabase) -> None:
    # Given a VACUUM that takes its time
    say(database.url, "INSERT INTO event_actions (id, handler, action, actor, acted_at) "
        "SELECT gen_random_uuid(), 'h', 'a', 'a', now() FROM generate_series(1, 2000)")  # fmt: skip
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1")

        def vacuum() -> None:
            with suppress(psycopg.OperationalError):
                connection.execute("VACUUM event_actions")

        thread = threading.Thread(target=vacuum)
        thread.start()
        pid = connection.info.backend_pid

        def keeps() -> bool:
            with psycopg.connect(database.url) as other:
                query = "SELECT 1 FROM pg_stat_progress_vacuum JOIN pg_stat_activity USING (pid) WHERE pid = %s"
                return other.execute(f"{query} AND backend_xmin IS NOT NULL", (pid,)).fetchone() is not None

        eventually(keeps, "the VACUUM runs, and has a snapshot")
        write(database.url)
        # Then nobody complains of it
        found = look(database.url)
        assert keeps()
        assert [one.level for one in found] == [Level.OK]
        say(database.url, f"SELECT pg_terminate_backend({pid})")
        thread.join(60)
        assert not thread.is_alive()


def test_many_are_told_by_the_oldest(database: PostgresDatabase) -> None:
    writers = [writer(database.url, f"writer {number}") for number in range(7)]
    found = look(database.url)
    for one in writers:
        one.close()
    assert [f"writer {number}" in one.found for number, one in enumerate(found)] == [True] * 5 + [False]
    assert found[-1].found == "2 more are as old as that, and keep fewer dead rows"


def test_a_role_of_few_rights_says_what_it_may_not_see(guest: Role) -> None:
    with closing(writer(guest.owner, "hidden")) as other:
        write(guest.owner)
        # When a role that may see little looks: then it doesn't say that all is well
        (found,) = look(guest.url)
        assert found.level is Level.OK
        assert f"as far as {guest.name} may see; 1 open transaction of other roles may be as old" in found.found
        # And when so much happened since that it harms at any age, it is a fault
        (found,) = look(guest.url, replace(LIMITS, transactions=1))
        pid = other.info.backend_pid
        assert f"a transaction of session {pid} (postgres, application 'hidden') is open, since when " in found.found
        # When the role is given the right that doctor names, it sees all
        guest.say(found.cure.partition(" shows it")[0])
        (found,) = look(guest.url)
        assert "application 'hidden', from 127.0.0.1) is idle and " in found.found


def test_a_role_of_few_rights_sees_its_own_transactions(guest: Role) -> None:
    with closing(writer(guest.url, "own")):
        write(guest.owner)
        (found,) = look(guest.url)
        assert f"({guest.name}, application 'own', from 127.0.0.1) is idle" in found.found


def test_through_pgbouncer_in_transaction_mode(database: PostgresDatabase) -> None:
    url = pooled(database.url)
    with closing(writer(url, "pooled")):
        write(database.url)
        found = look(url)
        assert [one.level for one in found] == [Level.WARNING]
        assert "application 'pooled'" in found[0].found


def test_sqlite_has_no_such_thing(tmp_path: Path) -> None:
    assert look(migrated_sqlite(tmp_path)) == []


def test_the_name_of_a_role_is_quoted(guest: Role) -> None:
    guest.say('CREATE ROLE "o""dd" LOGIN')
    try:
        url = make_url(guest.owner).set(username='o"dd').render_as_string(hide_password=False)
        with closing(writer(url, "odd")):
            write(guest.owner)
            (found,) = look(guest.owner)
            # Then the cure is a statement that PostgreSQL understands
            guest.say(found.cure.partition("; ")[2].removesuffix(" ends the next one"))
    finally:
        guest.say('DROP ROLE "o""dd"')
