"""A server and a ledger for the checks of PostgreSQL's upkeep."""

from collections.abc import Iterator

import psycopg
import pytest

from events.pipeline import Pipeline
from events.settings.settings import Settings
from events.store import migrate
from rigs.chaos.machines import Machine
from support.servers import PostgresDatabase, own_server
from support.upkeep import Say


@pytest.fixture(scope="package")
def machine() -> Iterator[Machine]:
    """A server whose autovacuum is on and, in the time of a test, never comes."""
    with own_server("postgres") as machine:
        with psycopg.connect(machine.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET autovacuum_naptime = '1d'")
        machine.restart()
        yield machine


@pytest.fixture
def database(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresDatabase]:
    """On that server."""
    monkeypatch.setenv("EVENTS_TEST_POSTGRES_URL", machine.url)
    database = PostgresDatabase()
    yield database
    database.drop()


@pytest.fixture
def pipeline(database: PostgresDatabase) -> Iterator[Pipeline]:
    """Of a ledger in a schema of its own."""
    pipeline = Pipeline(Settings(database_url=database.url, broker_url="", ledger_schema="ledger"))
    migrate(pipeline.ledger.engine)
    yield pipeline
    pipeline.ledger.close()


@pytest.fixture
def say(database: PostgresDatabase) -> Say:
    """Says a statement to the database."""

    def say(statement: str) -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(statement)

    return say
