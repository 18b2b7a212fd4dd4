"""Async handlers through PgBouncer in transaction mode: many at once, and what one sets reaches no other client."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from events import DomainEvent, Retry, handles, publish
from events.testing import InlinePipeline
from support.awaited import AwaitedSession, awaiting, row, told, written
from support.databases import migrated_postgres
from support.servers import PostgresDatabase, pooled

seen: list[str] = []


class Sets(DomainEvent):
    sql: str


@handles(Sets, retry=Retry(max_attempts=1))
async def sets(event: Sets, connection: AsyncConnection) -> None:
    if event.sql:
        await connection.execute(text(event.sql))
    else:
        seen.append((await connection.execute(text("SHOW search_path"))).scalar_one())


@pytest.fixture
def database() -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(migrated_postgres())
    yield database
    database.drop()


@pytest.fixture(params=["psycopg", "asyncpg"])
def pipeline(database: PostgresDatabase, request: pytest.FixtureRequest) -> Iterator[InlinePipeline]:
    with awaiting(pooled(database.url), request.param, listen=False, async_connections=5) as pipeline:
        yield pipeline


def test_many_do_their_work_once(pipeline: InlinePipeline) -> None:
    events = [AwaitedSession(place=f"{number}", steps=["write", "pause", "publish", "read"]) for number in range(100)]
    for part in (events[:50], events[50:]):  # statements are repeated, so that a driver would prepare them
        publish(part)
        pipeline.run()
    assert {(row(event).state, row(event).error) for event in events} == {("succeeded", None)}
    assert len(written()) == len(told()) == 100


@pytest.mark.parametrize("sql", ["SET search_path = nowhere", "SELECT set_config('search_path', 'nowhere', false)"])
def test_what_a_handler_sets_reaches_no_other_client(
    pipeline: InlinePipeline, database: PostgresDatabase, sql: str
) -> None:
    # Given a handler that changes its session
    event = Sets(sql=sql)
    publish(event)
    pipeline.run()
    assert row(event).state == "succeeded"
    # Then other handlers, and other programs, find the server's connections as they were
    seen.clear()
    publish([Sets(sql="") for _ in range(10)])
    pipeline.run()
    plain: Any = pooled(database.url).replace("+psycopg", "")
    for _ in range(10):
        with psycopg.connect(plain, prepare_threshold=None) as other:
            (found,) = other.execute("SHOW search_path").fetchone() or ("",)
            seen.append(found)
    assert len(seen) == 20
    assert "nowhere" not in seen
