"""The same handlers as jobs of pgqueuer; runs in an environment that has pgqueuer and nothing of ours.

    python rival_worker.py prefill URL EVENTS
    python rival_worker.py work URL

As its documentation has it for speed: asyncpg, uvloop, the vacuum settings of `pgq autovac`, a connection for the queue
manager alone and a pool for the handlers, and the batch size of its tuning guide; five managers with ten jobs each, as
in its own benchmark, were slower. Its tables keep their default durability, which is ours, too.
"""

import json
import sys

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

HANDLERS = ("OnConnection.0", "OnConnection.1", "OnConnection.2")
BATCH = 25
AT_ONCE = 1000
LINES = [{"article": "spice, harvested by crawler 1", "quantity": "12.5 kg", "price": "199.90"}] * 5


async def prefill(url: str, count: int) -> None:
    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    await queries.install()
    await queries.optimize_autovacuum()
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        bodies = [json.dumps({"number": n, "customer": "Duke Leto Atreides", "lines": LINES}).encode() for n in numbers]
        payloads = [body for body in bodies for _ in HANDLERS]
        await queries.enqueue(list(HANDLERS) * len(bodies), payloads, [0] * len(payloads))


async def work(url: str) -> None:
    async with asyncpg.create_pool(url, min_size=5, max_size=20) as pool:
        manager = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))
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
    uvloop.run(prefill(sys.argv[2], int(sys.argv[3])) if sys.argv[1] == "prefill" else work(sys.argv[2]))
