"""Async handlers side by side in the threads of one process, on connections that know nothing of it."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select, update

from events import DomainEvent, Retry, get_engine, handles, publish
from events.current_pipeline import use_pipeline
from events.ledger.outcome import Outcome
from events.settings.settings import Settings
from events.testing import InlinePipeline

tables = MetaData()
counters = Table("counters", tables, Column("id", Integer, primary_key=True), Column("count", Integer))
together = threading.Barrier(2)


class CountedSlowly(DomainEvent):
    pass


@handles(CountedSlowly, retry=Retry(max_attempts=1), group=False)
async def counts_slowly(event: CountedSlowly, connection: Connection) -> None:
    """Both lock one row; whoever has it, waits for something else."""
    await asyncio.to_thread(together.wait, 30)
    connection.execute(update(counters).where(counters.c.id == 1).values(count=counters.c.count + 1))
    await asyncio.sleep(0.3)


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    pipeline = InlinePipeline(Settings(database_url=url, broker_url=""))
    pipeline.migrate()
    use_pipeline(pipeline)
    try:
        tables.create_all(get_engine())
        yield pipeline
    finally:
        use_pipeline(None)
        pipeline.close()


def test_two_that_want_one_row_take_turns(pipeline: InlinePipeline) -> None:
    with get_engine().begin() as connection:
        connection.execute(insert(counters).values(id=1, count=0))
    # Given two deliveries of an async handler, sent
    publish([CountedSlowly(), CountedSlowly()])
    pipeline.subscribe()
    pipeline.relay().step()
    wakeups = [group[0] for group in pipeline.inline.held()]
    assert len(wakeups) == 2
    # When two threads of a process run them at the same time
    deliverer, outcomes = pipeline.deliverer("w1"), []

    def work(index: int) -> None:
        wakeup = wakeups[index]
        result = deliverer.deliver(wakeup.handler, {wakeup.event_id: wakeup.token})
        outcomes.append(result[wakeup.event_id].outcome)

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Then both are done
    assert outcomes == [Outcome.SUCCEEDED, Outcome.SUCCEEDED]
    with get_engine().connect() as connection:
        assert connection.scalar(select(counters.c.count)) == 2
