"""The same handlers as a subscriber of FastStream, on RabbitMQ.

    python -m rigs.bench.rivals.faststream_worker prefill EVENTS
    python -m faststream run rigs.bench.rivals.faststream_worker:app --workers 2

A durable queue and persistent messages; a message is acknowledged when its handler has succeeded, and redelivered when
it has not (by default it would be dropped). Without a prefetch count the first process would take the whole backlog.
"""

import asyncio
import os
import sys
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from psycopg_pool import AsyncConnectionPool

from rigs.bench.rivals.work import AT_ONCE, HANDLERS, INSERT, QUEUE, bodies

PREFETCH = 100

broker = RabbitBroker(os.environ["BENCH_BROKER_URL"], default_channel=Channel(prefetch_count=PREFETCH))
app = FastStream(broker)
queue = RabbitQueue(QUEUE, durable=True)
pool = AsyncConnectionPool(
    os.environ["BENCH_DATABASE_URL"], min_size=5, max_size=20, open=False, kwargs={"autocommit": True}
)


@app.on_startup
async def open_pool() -> None:
    await pool.open()


@broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)
async def handle(body: dict[str, Any]) -> None:
    async with pool.connection() as connection:
        await connection.execute(INSERT, (body["handler"], body["number"]))


async def prefill(events: int) -> None:
    waiting = [body | {"handler": name} for body in bodies(events) for name in HANDLERS]
    async with broker:
        await broker.declare_queue(queue)
        for first in range(0, len(waiting), AT_ONCE):
            await asyncio.gather(
                *(broker.publish(body, queue, persist=True) for body in waiting[first : first + AT_ONCE])
            )


if __name__ == "__main__":
    asyncio.run(prefill(int(sys.argv[2])))
