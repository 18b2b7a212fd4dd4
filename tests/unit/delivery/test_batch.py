"""Batch handlers: all events of a message in one call, and one by one when that fails."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Connection, insert
from sqlalchemy.orm import Session

from events import Delivery, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import (
    HANDLER_OF,
    TWICE,
    Item,
    Noticed,
    counted,
    deliver,
    do_now,
    items,
    notes,
    noticed,
    places,
    row,
    run_the_rest,
    run_together,
    sent_together,
    tables,
    written,
)

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK


class InBatch(Item):
    pass


class InBatchToo(Item):
    pass


calls: list[list[str]] = []


@handles(InBatch, InBatchToo, batch=20, retry=TWICE)
def as_batch(
    events: list[InBatch | InBatchToo], deliveries: list[Delivery], connection: Connection, session: Session
) -> None:
    calls.append([event.place for event in events])
    assert [delivery.event_id for delivery in deliveries] == [event.event_id for event in events]
    for event in events:
        connection.execute(insert(notes).values(text=event.place))
        publish(Noticed(of=event.place))
    for event in events:
        match event.do:
            case "fail":
                raise ValueError(f"nothing for {event.place}")
            case "commit":
                connection.commit()
            case "roll back":
                connection.rollback()


HANDLER_OF[InBatch] = "as_batch"


@pytest.fixture
def pipeline(events_pipeline: InlinePipeline) -> Iterator[InlinePipeline]:
    tables.create_all(get_engine())
    calls.clear()
    yield events_pipeline
    do_now.clear()


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_batch_handler_gets_all_in_one_call(pipeline: InlinePipeline, count: int) -> None:
    # Given events of both kinds that a batch handler takes
    events = [[InBatch, InBatchToo][index % 2](place=f"{index:03}") for index in range(count)]
    publish(events)
    # When they are run
    results = pipeline.run()
    # Then it is called once with all of them, and each delivery has succeeded
    assert [sorted(call) for call in calls] == [places(events)]
    assert [result.outcome for _, result in results] == [SUCCEEDED] * count
    assert (written(), noticed()) == (places(events), count)


def test_more_than_a_batch_are_several_calls(pipeline: InlinePipeline) -> None:
    events = items(InBatch, 45)
    publish(events)
    pipeline.run()
    assert sorted(map(len, calls), reverse=True) == [20, 20, 5]
    assert (written(), noticed()) == (places(events), 45)


@pytest.mark.parametrize(("do", "attempts"), [("fail", 2), ("commit", 1), ("roll back", 1)])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_batch_that_fails_is_run_one_by_one_and_only_the_guilty_one_is_dead(
    pipeline: InlinePipeline, do: str, attempts: int, place: int
) -> None:
    # Given a batch with one bad event
    events = items(InBatch, 5, do, place)
    bad, good = events[place], [event for event in events if not event.do]
    # When it is run
    outcomes = run_together(pipeline, *events)
    # Then nothing is done, and nobody is blamed
    assert outcomes == [BACK] * 5
    assert (written(), noticed()) == ([], 0)
    assert [(row(event).alone, counted(event)) for event in events] == [(True, 0)] * 5
    # And one by one, in calls with one event each, its neighbours succeed and the bad one has all of its attempts
    calls.clear()
    done = run_the_rest(pipeline)
    assert done == {event.event_id: [SUCCEEDED] for event in good} | {bad.event_id: [RETRY, DEAD][-attempts:]}
    assert set(map(len, calls)) == {1}
    assert (written(), noticed()) == (places(good), 4)
    (letter,) = pipeline.dead_letters.find()
    assert (letter.event_id, counted(bad)) == (bad.event_id, attempts)
    assert "as_batch" in letter.traceback or "as_batch" in letter.error


def test_one_that_cant_be_read_is_left_out_of_its_batch(pipeline: InlinePipeline) -> None:
    # Given a batch with one event whose data doesn't fit
    events, event_id = items(InBatch, 3), uuid4()
    publish(events)
    with get_engine().begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp) VALUES "
            f"('{event_id}', '001', 'InBatch', '{{\"place\": [1]}}', '2020-01-01')"
        )
    # When it is run
    results = deliver(pipeline, sent_together(pipeline, "as_batch"))
    # Then that one is a dead letter, and the others are done in one call
    assert results.pop(event_id).outcome is DEAD
    assert {result.outcome for result in results.values()} == {SUCCEEDED}
    assert [sorted(call) for call in calls] == [places(events)]
