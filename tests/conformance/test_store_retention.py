"""What is finished and old is forgotten; what anybody may still need is not."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.parked import Parked, ParkedFilter
from events.ledger.pruned import Pruned
from events.store.database.engine import now_plus
from events.store.tables import event_deliveries, event_parked, event_store
from support.store import Store, together

DAY = timedelta(days=1)


def prune(store: Store, older_than: timedelta = DAY, batch: int = 2, *, dry_run: bool = False) -> Pruned:
    return sum(store.ledger.retention.prune(older_than, batch, dry_run=dry_run), Pruned())


def publish_and_finish(store: Store, count: int) -> None:
    for _ in range(count):
        store.publish()
    for wakeup in store.take():
        claim = store.claim(wakeup)
        with store.ledger.inbox.begin() as connection:
            store.ledger.inbox.succeed(connection, [claim])


def grow_old(store: Store, age: timedelta = 2 * DAY) -> None:
    with store.ledger.engine.begin() as connection:
        then = now_plus(connection, -age)
        connection.execute(update(event_store).values(created_at=then))
        connection.execute(update(event_deliveries).values(finished_at=then, created_at=then))
        connection.execute(update(event_parked).where(event_parked.c.closed_at.is_not(None)).values(closed_at=then))


def left(store: Store) -> tuple[int, int]:
    return store.count(), store.count(event_deliveries)


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_old_events_whose_deliveries_have_succeeded_go(store: Store, batch: int) -> None:
    # Given five events of two days ago, each with two deliveries that succeeded, and three of today
    store.subscribe("hear")
    store.subscribe("write")
    publish_and_finish(store, 5)
    grow_old(store)
    publish_and_finish(store, 3)
    # When what is older than a day is counted, then that deletes nothing
    assert prune(store, batch=batch, dry_run=True) == Pruned(5, 10)
    assert left(store) == (8, 16)
    # When it is pruned, then just the old ones are gone
    assert prune(store, batch=batch) == Pruned(5, 10)
    assert left(store) == (3, 6)
    assert prune(store, batch=batch) == Pruned()


def test_what_somebody_has_still_to_do_with_stays_however_old(store: Store) -> None:
    # Given old events: with a dead letter, running, beside one that has succeeded, and nobody's
    store.dead()
    store.running()
    store.subscribe("write")
    store.publish()
    (one, _) = store.take()
    claim = store.claim(one)
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [claim])
    store.publish(event_type="NobodyListens")
    grow_old(store)
    assert left(store) == (4, 4)
    # When old ones are pruned, then all of them stay
    assert prune(store) == Pruned()
    assert left(store) == (4, 4)


def test_a_discarded_dead_letter_goes_when_it_was_discarded_long_enough_ago(store: Store) -> None:
    # Given an old event whose dead letter was discarded today
    (event_id,) = store.dead()
    grow_old(store)
    assert store.ledger.dead.discard(DeadLetterFilter(event_ids=[event_id]), "ann") == 1
    assert prune(store) == Pruned()
    # When that is long ago too, then it goes
    grow_old(store)
    assert prune(store) == Pruned(1, 1)


def test_parked_messages_go_when_they_were_closed_long_ago(store: Store) -> None:
    # Given three parked messages, two of them discarded
    messages = [Parked(uuid4(), "q", "not a task", "why", b"x", {}, "w1") for _ in range(3)]
    for message in messages:
        store.ledger.parked.park(message)
    store.ledger.parked.discard(ParkedFilter(ids=[message.id for message in messages[:2]]))
    assert prune(store) == Pruned()
    # When that is long ago, then these are gone, and the other one waits
    grow_old(store)
    assert prune(store, batch=1, dry_run=True) == prune(store, batch=1) == Pruned(parked=2)
    assert [message.id for message in store.ledger.parked.find(ParkedFilter())] == [messages[2].id]


def test_two_at_once_count_nothing_twice(store: Store) -> None:
    # Given old events
    store.subscribe()
    publish_and_finish(store, 40)
    grow_old(store)
    # When two prune them at once, then each is counted once; what one had in hand the other leaves alone
    found = together(lambda: prune(store, batch=3), lambda: prune(store, batch=3))
    assert sum(found, Pruned()) + prune(store) == Pruned(40, 40)
    assert left(store) == (0, 0)
