"""Publishing through a real PgBouncer in transaction mode, by each driver of an application's own.

Its pool has two connections, and somebody else takes the one that we had, so that each transaction is on another.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from events import EventIdTaken, publish, publish_async
from events.current_pipeline import use_pipeline
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.databases import migrated_postgres
from support.publishers import CountedUp, create_tables, found
from support.servers import PostgresDatabase, pooled

ROUNDS = 16  # psycopg prepares a statement that it has seen five times
DRIVERS = {
    "psycopg": {},
    "psycopg2": {},
    "psycopg_async": {},
    # As docs/pgbouncer.md says: SQLAlchemy prepares whatever asyncpg sends.
    "asyncpg": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",
    },
}  # type: dict[str, dict[str, Any]]


@pytest.fixture
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(migrated_postgres())
    engine = create_engine(make_url(database.url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        create_tables(connection)
    engine.dispose()
    yield database
    database.drop()


@contextmanager
def publishing(url: str, *, listen: bool = False) -> Iterator[Pipeline]:
    pipeline = Pipeline(Settings(database_url=url, broker_url="", listen=listen))
    use_pipeline(pipeline)
    try:
        yield pipeline
    finally:
        use_pipeline(None)
        pipeline.close()


@contextmanager
def taken(url: str) -> Iterator[None]:
    """While the block runs, another client has the connection that was free last."""
    with psycopg.connect(url) as other:
        other.execute("SELECT 1")
        yield


def rounds(url: str) -> Iterator[int]:
    for number in range(ROUNDS):
        with taken(url) if number % 2 else nullcontext():
            yield number


def numbers_of(number: int) -> tuple[int, int, int]:
    return number * 3 + 1, number * 3 + 2, number * 3 + 3


def rows_of(number: int) -> Any:
    """What the application writes itself. Never the same text twice: what it has prepared is its own affair."""
    return text(f"INSERT INTO rows VALUES {', '.join(f'({one})' for one in numbers_of(number))}")


def publish_all(number: int, write: Callable[[Any], Any]) -> None:
    one, *others = (CountedUp(number=one) for one in numbers_of(number))
    write(one)
    write(one)  # which is stored: it is looked at, and changes nothing
    write(others)


def by_session(engine: Any, number: int) -> None:
    with Session(engine) as session, session.begin():
        session.execute(rows_of(number))
        publish_all(number, lambda events: publish(events, session=session))


def by_connection(engine: Any, number: int) -> None:
    with engine.begin() as connection:
        connection.execute(rows_of(number))
        publish_all(number, lambda events: publish(events, session=connection))


async def by_async_session(engine: Any, number: int) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(rows_of(number))
        await publish_all_async(number, session)


async def by_async_connection(engine: Any, number: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(rows_of(number))
        await publish_all_async(number, connection)


async def publish_all_async(number: int, session: Any) -> None:
    said: list[Any] = []
    publish_all(number, said.append)
    for events in said:
        await publish_async(events, session=session)


@pytest.mark.parametrize("way", ["Session", "Connection"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_an_application_publishes_as_often_as_it_likes(database: PostgresDatabase, driver: str, way: str) -> None:
    # Given an application with an engine of its own, as SQLAlchemy makes it
    url = pooled(database.url)
    own = make_url(url).set(drivername=f"postgresql+{driver}")
    with publishing(url) as pipeline:
        # When it publishes in one transaction after the other, each on another connection of the server
        if driver in ("psycopg", "psycopg2"):
            engine = create_engine(own, connect_args=DRIVERS[driver])
            for number in rounds(url):
                (by_session if way == "Session" else by_connection)(engine, number)
            engine.dispose()
        else:
            asyncio.run(publish_by_asyncio(own, driver, way, url))
        # Then all that it has written is there
        expected = {one for number in range(ROUNDS) for one in numbers_of(number)}
        assert found(pipeline) == (expected, expected)


async def publish_by_asyncio(own: Any, driver: str, way: str, url: str) -> None:
    engine = create_async_engine(own, connect_args=DRIVERS[driver])
    for number in rounds(url):
        await (by_async_session if way == "Session" else by_async_connection)(engine, number)
    await engine.dispose()


def test_publishing_alone_and_inside_our_own_engine_does_as_well(database: PostgresDatabase) -> None:
    url = pooled(database.url)
    with publishing(url) as pipeline:
        for number in rounds(url):
            publish_all(number, publish)
            by_session(pipeline.ledger.engine, ROUNDS + number)
        written, events = found(pipeline)
        assert (len(written), len(events)) == (3 * ROUNDS, 6 * ROUNDS)


@pytest.mark.parametrize("listen", [True, False])
def test_what_publishing_sends_is_prepared_unless_listen_is_off(database: PostgresDatabase, listen: bool) -> None:
    # Given an application's own engine, which may prepare statements
    engine = create_engine(make_url(database.url).set(drivername="postgresql+psycopg"))
    with publishing(database.url, listen=listen), engine.connect() as connection:
        # When it has published often, and an event was refused at last
        for number in range(ROUNDS):
            with connection.begin():
                publish_all(number, lambda events: publish(events, session=connection))
        event = CountedUp(number=0)
        with connection.begin(), pytest.raises(EventIdTaken):
            publish([event, event.model_copy(update={"number": 1})], session=connection)
        # Then none of our statements was prepared if EVENTS_LISTEN is off, and the engine is what it was
        ours = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%event_store%'"
        assert (connection.scalar(text(ours)) > 0) == listen
        assert connection.connection.driver_connection.prepare_threshold == 5
    engine.dispose()
