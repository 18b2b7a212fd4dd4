"""A handler that does to the transaction of its group what it must not: the others are done all the same."""

from collections.abc import Iterator

import pytest

from events.ledger.outcome import Outcome
from events.testing import InlinePipeline
from support.grouped import (
    ForBoth,
    ForConnection,
    ForSession,
    Item,
    counted,
    effects_of,
    in_use,
    noticed,
    row,
    run_the_rest,
    run_together,
    three,
    written,
)

SUCCEEDED, RETRY, DEAD, BACK = Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.HANDED_BACK
WITH_TRANSACTION = [ForConnection, ForSession, ForBoth]


@pytest.fixture
def pipeline(url: str) -> Iterator[InlinePipeline]:
    with in_use(url) as pipeline:
        yield pipeline


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("end", ["commit", "roll back"])
@pytest.mark.parametrize("kind", WITH_TRANSACTION)
def test_one_that_ends_the_transaction_sends_all_home_uncounted_and_is_found_alone(
    pipeline: InlinePipeline, kind: type[Item], end: str, place: int
) -> None:
    # Given three events in one group, of which one ends the transaction
    events = three(kind, end, place)
    # When they are run
    outcomes = run_together(pipeline, *events)
    # Then nothing is done, and nobody is blamed
    assert outcomes == [BACK] * 3
    assert (written(), noticed()) == ([], 0)
    assert [(row(event).state, row(event).alone, counted(event)) for event in events] == [("pending", True, 0)] * 3
    # And when each is run by itself, only that one is a dead letter
    assert run_the_rest(pipeline) == {event.event_id: [DEAD if event.do else SUCCEEDED] for event in events}
    (letter,) = pipeline.dead_letters.find()
    assert letter.event_id == events[place].event_id
    assert "TransactionMisused" in letter.error_type
    assert written() == effects_of(kind, "".join(event.place for event in events if not event.do))


@pytest.mark.parametrize("place", range(3))
def test_one_that_hides_an_error_of_the_database_harms_nobody(pipeline: InlinePipeline, url: str, place: int) -> None:
    # Given a handler that goes on after an error, with which PostgreSQL has given up the transaction
    events = three(ForConnection, "hide an error in SQL", place)
    run_together(pipeline, *events)
    # When everything has been run
    run_the_rest(pipeline)
    # Then the others have succeeded at their first counted attempt, with their effects
    good = [event for event in events if not event.do]
    assert [(row(event).state, counted(event)) for event in good] == [("succeeded", 1)] * 2
    assert {event.place for event in good} <= set(written())
    # And so has that one where the database lets it, or it is a dead letter without an effect
    assert row(events[place]).state == ("succeeded" if url.startswith("sqlite") else "dead")
    assert len(written()) == len(set(written())) == noticed() == (3 if url.startswith("sqlite") else 2)


@pytest.mark.parametrize("place", range(3))
def test_one_that_rolls_back_in_sql_takes_no_effect_of_the_others_along(pipeline: InlinePipeline, place: int) -> None:
    # Given a handler that ends the transaction past SQLAlchemy, which can't know of it
    events = three(ForConnection, "roll back in SQL", place)
    # When everything has been run
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    # Then the others have succeeded, and their effects are there
    good = [event for event in events if not event.do]
    assert [row(event).state for event in good] == ["succeeded"] * 2
    assert {event.place for event in good} <= set(written())


def test_one_that_fails_after_it_rolled_back_in_sql_takes_no_effect_of_the_others_along(
    pipeline: InlinePipeline,
) -> None:
    # Given one that does so, and one after it that fails
    events = [
        ForConnection(place=place, do=do)
        for place, do in zip("abcd", ["", "roll back in SQL", "fail", ""], strict=True)
    ]
    run_together(pipeline, *events)
    run_the_rest(pipeline)
    # Then the effects of those that have succeeded are there
    assert [row(events[index]).state for index in (0, 2, 3)] == ["succeeded", "dead", "succeeded"]
    assert {"a", "d"} <= set(written())
    assert "c" not in written()
