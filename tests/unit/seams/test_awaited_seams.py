"""What of SQLAlchemy's asyncio, and of aiosqlite, we lean on beyond their documentation."""

import asyncio
from threading import Thread
from typing import Any

import aiosqlite
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import concurrency

from events.store.awaited.lazily import LazilyPooled
from support.seam_checks import Library

SQLALCHEMY, AIOSQLITE = Library("SQLAlchemy"), Library("aiosqlite")


def test_synchronous_code_awaits_in_a_greenlet_that_can_be_asked_for() -> None:
    leans = "async handlers, whose SQL runs as synchronous code in a greenlet"
    spawn = SQLALCHEMY.has(concurrency, "greenlet_spawn", leans)
    within = SQLALCHEMY.has(concurrency, "in_greenlet", leans)

    async def look() -> list[bool]:
        return [within(), await spawn(within)]

    assert asyncio.run(look()) == [False, True]


def test_a_connection_can_be_given_what_stands_in_for_the_pools() -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool)
    pooled = LazilyPooled(engine, eager=False, most=1)
    # Given a Connection on what stands in
    connection = Connection(engine, connection=pooled)  # type: ignore[arg-type]
    transaction = connection.begin()
    assert not pooled.is_taken
    # When a statement is sent, then a connection is taken, and it is given back by an end in whatever way
    assert connection.scalar(text("SELECT 1")) == 1
    assert pooled.is_taken
    transaction.commit()
    connection.close()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    # And so it is without a statement, and with one that is rolled back by the close
    for statements in ([], ["SELECT 1"]):
        pooled = LazilyPooled(engine, eager=False, most=1)
        connection = Connection(engine, connection=pooled)  # type: ignore[arg-type]
        connection.begin()
        for statement in statements:
            connection.execute(text(statement))
        assert pooled.is_taken is bool(statements)
        connection.close()
        assert connection.closed
    engine.dispose()


def test_a_connection_of_aiosqlite_has_a_thread() -> None:
    leans = "the end of a worker, which doesn't wait for that thread"

    async def thread_of() -> Any:
        async with aiosqlite.connect(":memory:") as connection:
            return AIOSQLITE.has(connection, "_thread", leans)

    assert isinstance(asyncio.run(thread_of()), Thread)
