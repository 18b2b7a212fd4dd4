"""What a database or a role sets for its sessions stops nobody, and changes nothing that we read or write."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import delete

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.history import EventFilter
from events.ledger.records import Failure
from events.settings.settings import Settings
from events.store import migrate, open_ledger
from events.store.tables import event_deliveries, event_store
from support.servers import PostgresDatabase
from support.store import HOUR, Store

SETTINGS = {
    "DateStyle": "'German'",
    "IntervalStyle": "'sql_standard'",
    "TimeZone": "'America/St_Johns'",
    "bytea_output": "'escape'",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "'serializable'",
    "client_encoding": "'LATIN1'",
}
TEXT = "\u20ac \\ ' \\u0041"


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase()
    store = Store(database.url)
    migrate(store.ledger.engine)
    store.ledger.close()
    yield database
    database.drop()


@pytest.fixture(params=[True, False], ids=["direct", "pgbouncer"])
def store(request: pytest.FixtureRequest, database: PostgresDatabase, setting: str) -> Iterator[Store]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database.name} RESET ALL")
        for name, value in SETTINGS.items():
            if setting in ("all", name):
                connection.execute(f"ALTER DATABASE {database.name} SET {name} = {value}")
    store = Store(database.url)
    store.ledger = open_ledger(Settings(database_url=database.url, broker_url="", listen=request.param))
    with store.ledger.events.begin() as connection:
        for table in (event_store, event_deliveries):
            connection.execute(delete(table))
    yield store
    store.ledger.close()


@pytest.mark.parametrize("setting", ["all", *SETTINGS])
def test_what_a_database_sets_for_its_sessions_changes_nothing(store: Store) -> None:
    # Given a database that says how values are written; When an event fails for good and another is to be tried again
    ledger = store.ledger
    (dead,) = store.dead(1)
    claim = store.running(lease=HOUR)
    assert ledger.inbox.retry(claim, Failure("ValueError", TEXT, ""), timedelta(minutes=1))
    # Then times and texts are what they are
    found = ledger.history.event(claim.envelope.id)
    assert found is not None
    assert found.published_at is not None
    assert abs((datetime.now(UTC) - found.published_at).total_seconds()) < 300
    assert [attempt.error for attempt in found.attempts] == [TEXT]
    assert timedelta(0) < ledger.outbox.waiting()["q"] <= timedelta(minutes=1)
    assert [one.event_id for one in ledger.dead.find(DeadLetterFilter())] == [dead]
    assert len(ledger.history.find(EventFilter(since=datetime.now(UTC) - HOUR))) == 2
    ledger.overviews.take()
    # And handlers' transactions are what claims rely on
    with ledger.inbox.begin() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "read committed"
