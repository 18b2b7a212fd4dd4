"""What a group costs in round trips to PostgreSQL: what its handlers send, and three."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from events import publish
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import HANDLER_OF, ForConnection, deliver, in_use, items, run_together, sent_together

pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)
WRITE, PUBLISH = 1, 1
CLAIM, SUCCESS, COMMIT = 1, 1, 1
OTHERS = CLAIM + SUCCESS + COMMIT


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    with in_use(url) as pipeline:
        yield pipeline


@contextmanager
def traced(pipeline: InlinePipeline, file: Path) -> Iterator[None]:
    """Write down what goes to the server and comes from it."""
    engine = pipeline.ledger.engine
    with file.open("ab") as output:

        def trace(connection: Any, *_: Any) -> None:
            connection.pgconn.trace(output.fileno())

        def stop(connection: Any, *_: Any) -> None:
            connection.pgconn.untrace()

        event.listen(engine, "checkout", trace)
        event.listen(engine, "checkin", stop)
        try:
            yield
        finally:
            event.remove(engine, "checkout", trace)
            event.remove(engine, "checkin", stop)


@pytest.mark.parametrize("count", [2, 40])
def test_a_group_takes_three_round_trips_beside_those_of_its_handlers(
    pipeline: InlinePipeline, tmp_path: Path, count: int
) -> None:
    # Given a group of handlers that write a row and publish an event, in a process that has run one before
    assert set(run_together(pipeline, *items(ForConnection, 20))) == {Outcome.SUCCEEDED}
    publish(items(ForConnection, count))
    group = sent_together(pipeline, HANDLER_OF[ForConnection])
    # When it is run
    with traced(pipeline, tmp_path / "trace"):
        results = deliver(pipeline, group)
    # Then each handler took two round trips, which took its savepoint along, and the group three
    assert [result.outcome for result in results.values()] == [Outcome.SUCCEEDED] * count
    said = (tmp_path / "trace").read_text("utf-8", "replace")
    prepared = said.count('Parse\t "_pg3_')  # once for each connection, and a round trip each
    assert said.count("\tReadyForQuery\t") - prepared == OTHERS + (WRITE + PUBLISH) * count
