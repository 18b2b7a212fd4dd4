"""The same handlers as jobs of Oban for Python, on Postgres.

    python -m rigs.bench.rivals.oban_worker prefill EVENTS
    python -m rigs.bench.rivals.oban_worker work

Its own command, `oban start`, which runs on uvloop, in two processes, as one has one core; its documentation has queues
of 10, 20 and 50 jobs at once. All else is its default.
"""

import asyncio
import os
import sys
from typing import Any

from oban import Job, Oban, worker
from oban.cli import main
from oban.schema import install
from psycopg_pool import AsyncConnectionPool

from rigs.bench.rivals.work import AT_ONCE, HANDLERS, INSERT, QUEUE, bodies

URL = os.environ["BENCH_DATABASE_URL"]
AT_A_TIME = 50  # jobs in each process
_pool: list[AsyncConnectionPool] = []  # of the handlers; made where a loop runs


async def _opened() -> AsyncConnectionPool:
    if not _pool:
        _pool.append(AsyncConnectionPool(URL, min_size=5, max_size=20, open=False, kwargs={"autocommit": True}))
        await _pool[0].open()
    return _pool[0]


@worker(queue=QUEUE)
class Handle:
    async def process(self, job: Job) -> None:
        arguments: dict[str, Any] = job.args
        pool = await _opened()
        async with pool.connection() as connection:
            await connection.execute(INSERT, (arguments["handler"], arguments["number"]))


async def prefill(events: int) -> None:
    waiting = [body | {"handler": name} for body in bodies(events) for name in HANDLERS]
    async with await Oban.create_pool(URL) as pool:
        await install(pool)
        oban = Oban(pool=pool)
        for first in range(0, len(waiting), AT_ONCE):
            await oban.enqueue_many(Handle.new(arguments) for arguments in waiting[first : first + AT_ONCE])


if __name__ == "__main__":
    if sys.argv[1] == "prefill":
        from rigs.bench.rivals import oban_worker  # by its name, which its jobs carry

        asyncio.run(oban_worker.prefill(int(sys.argv[2])))
    else:
        main(["start", "--dsn", URL, "--queues", f"{QUEUE}:{AT_A_TIME}", "--node", str(os.getpid()),
              "--log-level", "WARNING"])  # fmt: skip
