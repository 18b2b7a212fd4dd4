"""What stands in the ledger, counted for those who watch."""

from dataclasses import replace
from uuid import uuid4

from sqlalchemy import update

from events.ledger.overview import Overview
from events.ledger.parked import Parked
from events.ledger.records import State
from events.store.database.engine import now_plus
from events.store.tables import event_deliveries, event_store
from support.store import OOPS, PAST, Store, make_due


def age_everything(store: Store) -> None:
    """All that is there has stood for an hour."""
    with store.ledger.events.begin() as connection:
        for column in (event_store.c.created_at, event_deliveries.c.due_at):
            connection.execute(update(column.table).values({column.name: now_plus(connection, PAST)}))


def counts(found: Overview, *states: State) -> dict[str, int]:
    return {one.handler: sum(one.deliveries.get(state, 0) for state in states) for one in found.handlers}


def test_a_handler_that_has_nothing_to_do_is_there_with_noughts(store: Store) -> None:
    # Given a ledger with nothing in it, of which there is nothing to say
    nothing = store.ledger.overviews.unfinished()
    assert (nothing.handlers, nothing.event_types, nothing.oldest_due, nothing.lag, nothing.parked) == (
        [],
        [],
        {},
        0,
        {},
    )
    # When a handler subscribes, and an event comes that nobody wants
    store.subscribe()
    store.publish(event_type="Unheard")
    # Then there is something to draw from the start, and what nobody wants doesn't lag
    found = store.ledger.overviews.unfinished()
    assert counts(found, State.PENDING) == {"hear": 0}
    assert (found.oldest_due, found.lag, found.unhandled_types) == ({"q": 0}, 0, ["Unheard"])


def test_each_state_is_counted_by_handler(store: Store) -> None:
    # Given deliveries of one handler in every state, and some of another's; and parked messages
    for reason in ("not a task", "not a task", "eta"):
        store.ledger.parked.park(Parked(uuid4(), "q", reason, "?", b"", {}, "w1"))
    store.dead(2)
    store.publish(*(uuid4() for _ in range(6)))
    sent = store.take(limit=3)
    store.claim(sent[0])
    claim = store.claim(sent[1])
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [claim])
    store.subscribe("slow", queue="elsewhere", event_type="Piled")
    store.publish(event_type="Piled")
    store.ledger.outbox.fan_out(10)
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).where(event_deliveries.c.handler == "slow").values(state="paused"))
    # When they are counted
    standing = store.ledger.overviews.unfinished()
    # Then each is where it belongs, and what succeeded is nowhere
    assert counts(standing, State.PENDING) == {"hear": 3, "slow": 0}
    assert counts(standing, State.SENT, State.RUNNING) == {"hear": 2, "slow": 0}
    assert counts(standing, State.DEAD) == {"hear": 2, "slow": 0}
    assert counts(standing, State.PAUSED) == {"hear": 0, "slow": 1}
    assert standing.parked == {"not a task": 2, "eta": 1}


def test_what_has_waited_long_shows_its_age(store: Store) -> None:
    # Given a delivery that has been due for an hour, and an event that is not fanned out, in different queues
    store.subscribe()
    store.subscribe("slow", queue="elsewhere", event_type="Piled")
    store.subscribe("calm", queue="idle", event_type="Seldom")
    store.publish()
    store.ledger.outbox.fan_out(10)
    store.publish(event_type="Piled")
    age_everything(store)
    # When they are counted
    standing = store.ledger.overviews.unfinished()
    # Then both are old, and the queue for which nothing waits is not
    assert standing.oldest_due["q"] >= 3600
    assert standing.oldest_due["elsewhere"] >= 3600
    assert standing.oldest_due["idle"] == 0
    # And of the event a relay should have made a delivery, as nothing is under way in its queue
    assert standing.lag >= 3600


def test_what_waits_for_workers_waits_for_no_relay(store: Store) -> None:
    # Given an event that is not fanned out, for an hour, while something in its queue has been sent to workers
    store.subscribe()
    store.publish()
    (sent,) = store.take()
    store.publish()
    age_everything(store)
    # When it is counted, then it waits, and no relay is to blame
    standing = store.ledger.overviews.unfinished()
    assert standing.oldest_due["q"] >= 3600
    assert standing.lag == 0
    # Nor while the only worker of its queue has its hands full
    worker = store.worker("w1", {"hear": {"Said": "1:x"}})
    store.ledger.workers.announce(replace(worker, concurrency=1))
    store.claim(sent)
    assert store.ledger.overviews.unfinished().lag == 0
    # But so it is when workers are idle
    store.ledger.workers.announce(replace(worker, concurrency=2))
    assert store.ledger.overviews.unfinished().lag >= 3600


def test_a_retry_that_is_to_come_has_not_waited(store: Store) -> None:
    # Given a delivery that is due in an hour
    claim = store.running()
    assert store.ledger.inbox.retry(claim, OOPS, -PAST)
    # Then it is of the backlog, and its age is none
    standing = store.ledger.overviews.unfinished()
    assert (counts(standing, State.PENDING), standing.oldest_due) == ({"hear": 1}, {"q": 0.0})
    make_due(store)
    assert store.ledger.overviews.unfinished().oldest_due["q"] >= 0
