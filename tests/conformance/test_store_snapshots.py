"""Numbers that stand side by side are of one moment, whatever is committed while they are read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text, update

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.history import EventFilter
from events.ledger.records import State
from events.store.tables import event_deliveries
from support.store import Store

UNFINISHED = (State.PENDING, State.SENT, State.RUNNING, State.PAUSED, State.DEAD)
EACH = 3  # deliveries in each state
NEXT = " ".join(f"WHEN '{one}' THEN '{UNFINISHED[number - 1]}'" for number, one in enumerate(UNFINISHED))
ON = f"UPDATE event_deliveries SET state = CASE state {NEXT} ELSE state END"


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """The same ledger, by connections of its own."""
    other = Store(store.url)
    yield other
    other.ledger.close()


@contextmanager
def disturbed(store: Store, deed: Callable[[], object]) -> Iterator[list[str]]:
    """After each statement that the block sends, something is done by others, and committed. Yields the statements."""
    sent: list[str] = []

    def after(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)
        deed()

    event.listen(store.ledger.engine, "after_cursor_execute", after)
    try:
        yield sent
    finally:
        event.remove(store.ledger.engine, "after_cursor_execute", after)


def some_in_each_state(store: Store) -> None:
    store.subscribe()
    for state in UNFINISHED:
        for _ in range(EACH):
            event_id = store.publish()
            store.ledger.outbox.fan_out(1)
            with store.ledger.events.begin() as connection:
                mine = update(event_deliveries).where(event_deliveries.c.event_id == event_id)
                connection.execute(mine.values(state=state))


def test_a_delivery_that_moves_on_meanwhile_is_counted_once(store: Store, other: Store) -> None:
    # Given deliveries in every state that is not finished, which go on to the next one all the time
    some_in_each_state(store)
    # When they are counted, state by state
    with disturbed(store, lambda: other.foreign(ON)) as sent:
        found = store.ledger.overviews.unfinished()
    # Then each was counted once, in the state that it had at that one moment
    assert len(sent) > len(UNFINISHED)
    assert {state: found.deliveries(state) for state in UNFINISHED} == dict.fromkeys(UNFINISHED, EACH)
    assert [one.deliveries for one in found.event_types] == [one.deliveries for one in found.handlers]


def test_events_deliveries_and_the_newest_agree_while_others_publish(store: Store, other: Store) -> None:
    # Given a ledger in which each event has one delivery, and somebody who publishes all the time
    store.subscribe()

    def publishes() -> None:
        other.publish()
        other.ledger.outbox.fan_out(10)

    publishes()
    # When everything is counted
    with disturbed(store, publishes) as sent:
        found = store.ledger.overviews.take(newest=1000)
    # Then the numbers are those of one moment
    assert len(other.ledger.history.find(EventFilter(limit=1000))) > len(sent) > 5
    assert found.events == found.deliveries(*State) == len(found.newest) > 0


def test_dead_letters_their_groups_and_their_number_agree(store: Store, other: Store) -> None:
    # Given dead letters, of which there are more all the time
    store.dead(2)
    # When an operator looks at them, and at what failed alike
    for grouped in (True, False):
        with disturbed(store, lambda: other.dead(1)) as sent:
            found = store.ledger.dead.survey(DeadLetterFilter(limit=1000), grouped=grouped)
        # Then all of it is of one moment
        assert len([one for one in sent if "event_deliveries" in one]) == 2
        assert len(found.letters) == found.count
        assert found.groups is None or sum(one.count for one in found.groups) == found.count


def test_the_story_of_an_event_is_of_one_moment(store: Store, other: Store) -> None:
    # Given a dead letter that is replayed, and dies, again and again
    (event_id,) = store.dead(1)

    def replays() -> None:
        assert other.ledger.dead.replay(DeadLetterFilter(), "ann") == 1
        other.foreign("UPDATE event_deliveries SET state = 'dead'")

    replays()
    # When its history is read
    with disturbed(store, replays):
        found = store.ledger.history.event(event_id)
    # Then its delivery was replayed as often as the history says
    assert found is not None
    assert found.deliveries[0].replays == len(found.actions) > 0


def test_who_counts_writes_nothing_and_leaves_the_connection_as_it_was(store: Store) -> None:
    # Given a ledger that was counted
    store.ledger.overviews.take()
    # Then its connection, which the next one takes out of the pool, writes as before, and asks as before
    with store.ledger.events.begin() as connection:
        if not store.sqlite:
            assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"
            assert connection.scalar(text("SHOW transaction_read_only")) == "off"
    assert store.publish()
    # And a database that was made read-only stays so
    if not store.sqlite:
        name = store.ledger.engine.url.database
        store.foreign(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        store.ledger.engine.dispose()
        store.ledger.overviews.take()
        with store.ledger.engine.connect() as connection:
            assert connection.scalar(text("SHOW transaction_read_only")) == "on"
