"""The same handlers as tasks of procrastinate, on Postgres.

    python -m rigs.bench.rivals.procrastinate_worker prefill EVENTS
    python -m procrastinate --app=rigs.bench.rivals.procrastinate_worker.app worker --concurrency=30

Asynchronous tasks, so many at once as its documentation shows, and a connection more than that in its pool, as its
documentation advises for short jobs. All else is its default.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

from rigs.bench.rivals.work import AT_ONCE, HANDLERS, INSERT, QUEUE, bodies

_URL = os.environ["BENCH_DATABASE_URL"]
app = App(connector=PsycopgConnector(conninfo=_URL, max_size=31))
_pool: list[AsyncConnectionPool] = []  # of the handlers; made where a loop runs


async def _opened() -> AsyncConnectionPool:
    if not _pool:
        _pool.append(AsyncConnectionPool(_URL, min_size=5, max_size=20, open=False, kwargs={"autocommit": True}))
        await _pool[0].open()
    return _pool[0]


def _handler(name: str) -> Callable[..., Awaitable[None]]:
    async def handle(number: int, **_: Any) -> None:
        pool = await _opened()
        async with pool.connection() as connection:
            await connection.execute(INSERT, (name, number))

    return handle


tasks = [app.task(name=name, queue=QUEUE)(_handler(name)) for name in HANDLERS]


async def prefill(events: int) -> None:
    waiting = list(bodies(events))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for first in range(0, events, AT_ONCE):
            for task in tasks:
                await task.batch_defer_async(*waiting[first : first + AT_ONCE])


if __name__ == "__main__":
    asyncio.run(prefill(int(sys.argv[2])))
