"""Connections: enough for all handlers of a process, and some more that they can't take."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from events import DomainEvent, Retry, get_engine, handles, publish
from events.current_pipeline import use_pipeline
from events.ledger.outcome import Outcome
from events.settings.settings import Settings
from events.testing import InlinePipeline


class Greedy(DomainEvent):
    whose: str


@handles(Greedy, retry=Retry(max_attempts=1), group=False)
def takes_all(event: Greedy) -> None:
    engine = get_engine()
    if event.whose == "its own":
        engine = create_engine("sqlite://", pool_size=1, max_overflow=0, pool_timeout=0.05)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(engine.connect())


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    pipeline = InlinePipeline(Settings(database_url=url, broker_url="", pool_size=2))
    pipeline.migrate()
    use_pipeline(pipeline)
    try:
        yield pipeline
    finally:
        use_pipeline(None)
        pipeline.close()


@pytest.mark.parametrize(("pool", "concurrency", "most"), [("thread", 30, 80), ("prefork", 30, 22), ("solo", 1, 22)])
def test_a_process_has_two_connections_for_each_handler_that_it_runs(
    pipeline: InlinePipeline, pool: str, concurrency: int, most: int
) -> None:
    ledger = pipeline.ledger
    ledger.make_room(pool, concurrency, pool_size=2)
    ledger.engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    with ExitStack() as stack:
        # Given handlers that have taken all that there are
        for _ in range(most):
            stack.enter_context(ledger.engine.connect())
        with pytest.raises(PoolTimeout, match="EVENTS_POOL_SIZE") as none_left:
            stack.enter_context(ledger.engine.connect())
        # Then it is the database that is away, and no failure of a handler
        assert ledger.inbox.is_away(none_left.value)
        # And what must go on does
        assert ledger.workers.alive(timedelta(minutes=1)) == []
        assert ledger.outbox.waiting() == {}
        assert ledger.inbox.release("nobody") == 0
    with ledger.engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize(("whose", "outcome"), [("ours", Outcome.HANDED_BACK), ("its own", Outcome.DEAD)])
def test_only_a_pool_of_the_handlers_own_is_its_failure(pipeline: InlinePipeline, whose: str, outcome: Outcome) -> None:
    pipeline.ledger.engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    publish(Greedy(whose=whose))
    pipeline.subscribe()
    pipeline.relay().step()
    ((wakeup,),) = pipeline.inline.held()
    result = pipeline.deliverer("w1").deliver(wakeup.handler, {wakeup.event_id: wakeup.token})
    assert result[wakeup.event_id].outcome is outcome
