"""A real PgBouncer in front of the ledger: it is recognised, and what it can't keep for us is not asked of it."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import shop
from events import ConfigurationError, publish
from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store import check_schema
from events.store.database.engine import make_engine
from events.store.database.listener import NOTIFY, PostgresListener
from events.store.database.pooler import Pooler, pooler_of
from support.databases import migrated_postgres
from support.operator import events
from support.servers import PostgresDatabase, own_server, pooled
from support.system import POOLED, System
from support.waiting import eventually

CURE = "set EVENTS_LISTEN=off"


@pytest.fixture
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(migrated_postgres())
    yield database
    database.drop()


def pooler_at(url: str) -> Pooler | None:
    engine = make_engine(Settings(database_url=url, broker_url=""))
    try:
        return pooler_of(engine)
    finally:
        engine.dispose()


def told(url: str, listen: str) -> dict[str, Any]:
    """What doctor says of poolers, and of connections."""
    environment = {"PATH": os.environ["PATH"], "EVENTS_DATABASE_URL": url, "EVENTS_LISTEN": listen}
    report = json.loads(events("doctor", "--json", environment=environment | {"EVENTS_HANDLERS": "colorsys"}).stdout)
    return {finding["check"]: finding for finding in report["findings"]}


def test_in_transaction_mode_it_is_recognised_and_doctor_has_the_cure(database: PostgresDatabase) -> None:
    url = pooled(database.url)
    assert pooler_at(url) is Pooler.TRANSACTION
    found = told(url, "on")["pooler"]
    says = "a pooler such as PgBouncer is between this machine and the database, in transaction mode"
    assert (found["level"], found["found"]) == ("error", f"{says}, and EVENTS_LISTEN is on")
    assert CURE in found["cure"]
    found = told(url, "off")
    assert found["pooler"]["level"] == found["connections"]["level"] == "ok"
    assert "max_client_conn" in found["connections"]["found"]


def test_in_session_mode_it_is_no_fault_and_notify_is_heard(database: PostgresDatabase) -> None:
    with own_server("pgbouncer-session") as machine:
        url = pooled(database.url, machine.url)
        # Then it is recognised for what it is
        assert pooler_at(url) is Pooler.SESSION
        assert told(url, "on")["pooler"]["level"] == "ok"
        assert told(url, "off")["pooler"]["level"] == "ok"
        # And who listens, hears
        engine = make_engine(Settings(database_url=url, broker_url=""))
        listener = PostgresListener(engine)
        assert not listener.wait(timedelta(milliseconds=1))
        with engine.begin() as connection:
            connection.exec_driver_sql(NOTIFY)
        assert listener.wait(timedelta(seconds=60))
        listener.close()
        engine.dispose()


def test_postgresql_itself_is_taken_for_no_pooler(database: PostgresDatabase) -> None:
    assert pooler_at(database.url) is None
    assert "pooler" not in told(database.url, "on")


def test_transaction_mode_is_recognised_when_there_are_connections_for_all(database: PostgresDatabase) -> None:
    # Given a pooler that has as many connections of the server as we shall have of it
    url = pooled(database.url)
    with psycopg.connect(url) as one, psycopg.connect(url) as other:
        served = [client.execute("SELECT pg_backend_pid()").fetchone() for client in (one, other)]
        assert served[0] != served[1]
    # Then it is recognised all the same
    assert pooler_at(url) is Pooler.TRANSACTION


def test_a_worker_that_would_listen_through_it_ends_with_one_line(tmp_path: Path) -> None:
    with System(POOLED, tmp_path).in_use() as system:
        worker = system.start(["celery", "-A", "events", "worker", "-P", "solo"], listen="on")
        assert worker.exit_code() == 1
        said = worker.log.read_text()
        assert "Traceback" not in said
        assert said.rstrip().splitlines()[-1].startswith("events: EVENTS_LISTEN is on, and EVENTS_DATABASE_URL=")
        assert said.endswith(f"{CURE}\n")
        # And so does a relay of its own
        relay = events("relay", environment=system.environment | {
            "EVENTS_LISTEN": "on", "EVENTS_BROKER_URL": "redis://127.0.0.1:1/0",
        })  # fmt: skip
        assert relay.returncode != 0
        assert CURE in relay.stderr
        assert relay.stderr.count("\n") == 1


def test_tables_are_made_through_it_as_well() -> None:
    database = PostgresDatabase()
    pipeline = Pipeline(Settings(database_url=pooled(database.url), broker_url="", listen=False))
    assert pipeline.migrate()
    pipeline.check()
    pipeline.close()
    database.drop()


def test_options_that_it_refuses_have_their_cure(database: PostgresDatabase) -> None:
    url = f"{pooled(database.url)}?options=-csearch_path%3Dshop"
    engine = make_engine(Settings(database_url=url, broker_url="", listen=False))
    with pytest.raises(ConfigurationError, match="ALTER ROLE postgres SET search_path = NAME"):
        check_schema(engine)
    engine.dispose()


class Failed(Exception):
    pass


_LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_handler_leaves_on_its_connection_reaches_nobody(database: PostgresDatabase, fails: bool) -> None:
    # Given a handler that sets what outlives its transaction, and takes a lock that does, and may fail then
    url = pooled(database.url)
    pipeline = Pipeline(Settings(database_url=url, broker_url="", listen=False))
    inbox = pipeline.ledger.inbox
    with suppress(Failed), inbox.begin() as connection, inbox.lend(connection, "hear"):
        connection.exec_driver_sql("SET search_path = pg_catalog")
        connection.exec_driver_sql("SELECT pg_advisory_lock(47)")
        connection.exec_driver_sql("CREATE TEMP TABLE passing (x int)")
        if fails:
            raise Failed
    # When its transaction has ended
    # Then neither of the connections that others get knows of it
    with psycopg.connect(url) as one, psycopg.connect(url) as other:
        for client in (one, other):
            assert client.execute("SHOW search_path").fetchone() == ('"$user", public',)
            assert client.execute("SELECT to_regclass('pg_temp.passing')").fetchone() == (None,)
            # The pooler closes the server's connection, and the lock with it, a moment after ours.
            eventually(lambda client=client: client.execute(_LOCKS).fetchone() == (0,), "the lock is free")
    pipeline.close()


def test_it_may_die_and_come_back_while_a_worker_works(tmp_path: Path) -> None:
    with own_server("pgbouncer") as machine, System("postgres", tmp_path).in_use() as system:
        # Given a worker that knows the ledger through a pooler of its own
        behind = pooled(system.environment["EVENTS_DATABASE_URL"], machine.url)
        system.start_worker(database_url=behind, listen="off")
        placed = [shop.OrderPlaced(order=f"P-{number}") for number in range(100)]
        for number, event in enumerate(placed):
            publish(event)
            # When that is killed, and started again, in the middle of it
            if number == 50:
                system.settled(1)
                machine.restart()
        # Then everything is handled, once
        assert system.settled(300) == {"succeeded": 300}
        assert system.effects(*(event.event_id for event in placed)) == {
            (str(event.event_id), "book_order"): 1 for event in placed
        }
