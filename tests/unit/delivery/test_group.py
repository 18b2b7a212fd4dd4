"""Deliveries that travel together, in this process: those that have to wait, batches, and how fast handlers are."""

import time
from collections.abc import Iterator, Sequence
from uuid import UUID

import pytest
from sqlalchemy import Connection, insert

from events import Retry, get_engine, handles, publish
from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import (
    HANDLER_OF,
    ForConnection,
    Item,
    counted,
    do_now,
    items,
    notes,
    places,
    row,
    run_the_rest,
    run_together,
    tables,
    written,
)
from support.waiting import eventually

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK


class ByItself(Item):
    pass


@handles(ByItself, retry=Retry(max_attempts=1), group=False)
def never_shares(event: ByItself, connection: Connection) -> None:
    connection.execute(insert(notes).values(text=event.place))


class Lingering(Item):
    pass


@handles(Lingering, batch=1000, linger=3600)
def lingers_for_long(events: list[Lingering]) -> None: ...


HANDLER_OF[ByItself] = "never_shares"


@pytest.fixture
def pipeline(events_pipeline: InlinePipeline) -> Iterator[InlinePipeline]:
    tables.create_all(get_engine())
    yield events_pipeline
    do_now.clear()


def test_those_behind_a_slow_one_are_handed_back_and_not_counted(pipeline: InlinePipeline) -> None:
    # Given a group of which the second takes longer than a group may
    def take_long() -> None:
        begun = time.monotonic()
        eventually(lambda: time.monotonic() > begun + 0.3, "a slow handler's time has passed")

    do_now["take long"] = take_long
    events = items(ForConnection, 4, "take long", 1)
    # When it is run
    outcomes = run_together(pipeline, *events)
    # Then what is done is committed, and the others wait, as if they hadn't been sent
    assert outcomes == [SUCCEEDED, SUCCEEDED, BACK, BACK]
    assert written() == ["000", "001"]
    assert [(row(event).state, row(event).alone, counted(event)) for event in events[2:]] == [("pending", False, 0)] * 2
    # And it is known that the handler is slow
    assert (pipeline.ledger.subscriptions.paces()["by_connection"].seconds or 0) > 0.1
    # And they are done in the end
    assert run_the_rest(pipeline) == {event.event_id: [SUCCEEDED] for event in events[2:]}
    assert written() == places(events)


def test_a_worker_that_is_ending_finishes_the_one_at_hand_and_hands_back_the_others(pipeline: InlinePipeline) -> None:
    # Given a worker that is told to end while the second of a group runs
    told: list[bool] = []
    do_now["end the worker"] = lambda: told.append(True)
    events = items(ForConnection, 4, "end the worker", 1)
    # When the group is run
    outcomes = run_together(pipeline, *events, draining=lambda: bool(told))
    # Then what is done is committed, and the others are for another worker
    assert outcomes == [SUCCEEDED, SUCCEEDED, BACK, BACK]
    assert written() == ["000", "001"]
    assert [(row(event).state, row(event).alone, counted(event)) for event in events[2:]] == [("pending", False, 0)] * 2


def test_a_process_that_is_ended_in_a_group_blames_nobody(pipeline: InlinePipeline) -> None:
    # Given a process that is ended, by an exception, while the second of a group runs
    def end() -> None:
        raise SystemExit

    do_now["end the process"] = end
    events = items(ForConnection, 3, "end the process", 1)
    # Then the exception goes on, and no effect stays; the ledger finds the rest by the lease
    with pytest.raises(SystemExit):
        run_together(pipeline, *events, stopping=lambda error: isinstance(error, SystemExit))
    assert written() == []
    assert [row(event).state for event in events] == ["running"] * 3
    assert pipeline.ledger.inbox.release("w1") == 3
    assert [counted(event) for event in events] == [0] * 3


def grouped_by_relay(pipeline: InlinePipeline, handler: str, events: Sequence[Item], pace: float) -> list[int]:
    """Publish a backlog of a handler whose pace is known; the sizes of the messages that a relay makes of it."""
    pipeline.subscribe()
    pipeline.ledger.subscriptions.note_pace(handler, pace)
    publish(events)
    pipeline.relay().step()
    return [len(group) for group in pipeline.inline.sent]


def test_a_backlog_of_a_fast_handler_shares_messages_and_each_has_its_outcome(pipeline: InlinePipeline) -> None:
    # Given a backlog of a handler that is known to be fast, with one that fails
    events = items(ForConnection, 100, "fail", 50)
    assert grouped_by_relay(pipeline, "by_connection", events, 0.0001) == [25] * 4
    # When it is run
    outcomes: dict[UUID, list[Outcome]] = {}
    for wakeup, result in pipeline.run():
        outcomes.setdefault(wakeup.event_id, []).append(result.outcome)
    # Then each has its own outcome; what fails does so by itself
    assert outcomes.pop(events[50].event_id) == [BACK, RETRY, DEAD]
    for found in outcomes.values():  # on a machine that is busy, a group sends home what it has no time for
        assert found.pop() is SUCCEEDED
        assert set(found) <= {BACK}
    assert written() == places([event for event in events if not event.do])


def test_a_backlog_of_a_slow_handler_or_of_one_that_opted_out_shares_nothing(pipeline: InlinePipeline) -> None:
    assert grouped_by_relay(pipeline, "by_connection", items(ForConnection, 100), 5.0) == [1] * 100
    pipeline.inline.sent.clear()
    assert grouped_by_relay(pipeline, "never_shares", items(ByItself, 100), 0.0001) == [1] * 100


def test_how_long_a_handler_takes_is_told_to_the_ledger(pipeline: InlinePipeline) -> None:
    # Given a handler that nobody has run
    pipeline.subscribe()
    assert pipeline.ledger.subscriptions.paces()["by_connection"].seconds is None
    # When it runs once
    run_together(pipeline, ForConnection(place="a"))
    # Then its pace is known, also after its worker starts again
    pipeline.subscribe()
    assert 0 < (pipeline.ledger.subscriptions.paces()["by_connection"].seconds or 0) < 5


def test_what_waits_for_its_batch_doesnt_hold_up_another_handler(pipeline: InlinePipeline) -> None:
    # Given more deliveries that linger than a relay looks at, and then an event of another handler on the same queue
    publish(items(Lingering, pipeline.settings.relay_batch + 1))
    other = ForConnection(place="a")
    publish(other)
    # When it relays
    pipeline.run()
    # Then that one is done, while they still wait
    assert row(other).state == "succeeded"


def test_a_batch_larger_than_what_a_relay_looks_at_is_sent_when_it_is_full(pipeline: InlinePipeline) -> None:
    publish(items(Lingering, 1000))
    outcomes = [result.outcome for _, result in pipeline.run()]
    assert outcomes == [SUCCEEDED] * 1000
