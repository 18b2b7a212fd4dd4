"""The same handlers as jobs of pgqueuer.

    python -m rigs.bench.rivals.pgqueuer_worker prefill EVENTS
    python -m rigs.bench.rivals.pgqueuer_worker work

As its documentation has it for speed: asyncpg, uvloop, the vacuum settings of `pgq autovac`, a connection for the queue
manager alone and a pool for the handlers, and the batch size of its tuning guide; five managers with ten jobs each, as
in its own benchmark, were slower. Its tables keep their default durability, which is ours, too.
"""

import json
import os
import sys

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from rigs.bench.rivals.work import AT_ONCE, HANDLERS, bodies

BATCH = 25
URL = os.environ["BENCH_DATABASE_URL"]


async def prefill(events: int) -> None:
    queries = Queries(AsyncpgDriver(await asyncpg.connect(URL)))
    await queries.install()
    await queries.optimize_autovacuum()
    waiting = [json.dumps(body).encode() for body in bodies(events)]
    for first in range(0, events, AT_ONCE):
        payloads = [body for body in waiting[first : first + AT_ONCE] for _ in HANDLERS]
        names = list(HANDLERS) * (len(payloads) // len(HANDLERS))
        await queries.enqueue(names, payloads, [0] * len(payloads))


async def work() -> None:
    async with asyncpg.create_pool(URL, min_size=5, max_size=20) as pool:
        manager = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))
        for name in HANDLERS:
            _register(manager, name, pool)
        await manager.run(batch_size=BATCH, mode=QueueExecutionMode.drain)


def _register(manager: PgQueuer, name: str, pool: asyncpg.Pool) -> None:
    @manager.entrypoint(name)
    async def handle(job: Job) -> None:
        number = json.loads(job.payload or b"{}")["number"]
        async with pool.acquire() as connection:
            await connection.execute("INSERT INTO bench_effects (handler, number) VALUES ($1, $2)", name, number)


if __name__ == "__main__":
    uvloop.run(prefill(int(sys.argv[2])) if sys.argv[1] == "prefill" else work())
