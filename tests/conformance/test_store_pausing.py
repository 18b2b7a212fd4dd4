"""A handler that is paused: nothing of it is started, nothing of it is lost; and one that is retired."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, update

from events.errors import NoSuchHandler, StillRunning
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import Express, Failure
from events.operating.handlers import Upkeep
from events.store.tables import event_actions, event_handlers
from support.store import HOUR, NOW, OOPS, PAST, Store, make_due


@pytest.fixture
def upkeep(store: Store) -> Upkeep:
    return Upkeep(store.ledger.switches, store.ledger.overviews, store.ledger.workers)


def state(store: Store, event_id: UUID) -> str:
    return str(store.row(event_id, "hear").state)


def actions(store: Store) -> list[tuple[str, str, str, bool]]:
    """What operators did: action, handler, actor, and whether it was done to one delivery."""
    column = event_actions.c
    with store.ledger.engine.connect() as connection:
        rows = connection.execute(select(column).order_by(column.acted_at, column.id)).all()
    return [(row.action, row.handler, row.actor, row.event_id is not None) for row in rows]


def test_nothing_of_a_paused_handler_is_sent_or_started(store: Store, upkeep: Upkeep) -> None:
    # Given a delivery that waits, one whose wake-up is on its way, and one that runs
    store.subscribe(max_attempts=5)
    ids = {store.publish() for _ in range(3)}
    first, second = store.take(2)
    claim, runs, on_its_way = store.claim(first), first.event_id, second.event_id
    (waits,) = ids - {runs, on_its_way}
    # When the handler is paused
    assert upkeep.pause("hear", "ann")
    # Then nothing is due, and the wake-up finds nothing to start
    assert [state(store, one) for one in (runs, on_its_way, waits)] == ["running", "paused", "paused"]
    assert store.take_due("q", 10) == []
    assert store.ledger.outbox.waiting() == {}
    assert store.ledger.outbox.due_in(copies=False) != NOW
    assert store.ledger.inbox.claim("hear", {on_its_way: 1}, "w1", HOUR) == []
    # And what comes later waits, too: a new event, a retry, what was handed back, a dead letter that is replayed
    later = store.publish()
    if store.ledger.outbox.fan_out(10, Express(8, 100, 64, HOUR)).backlog:  # SQLite has no express way
        assert store.ledger.outbox.fan_out(10).events == 1
    assert state(store, later) == "paused"
    store.ledger.inbox.retry(claim, OOPS, NOW)
    assert state(store, runs) == "paused"
    assert not upkeep.pause("hear", "bob")


def test_what_is_replayed_while_it_is_paused_waits(store: Store, upkeep: Upkeep) -> None:
    (dead,) = store.dead(1)
    upkeep.pause("hear", "ann")
    assert store.ledger.dead.replay(DeadLetterFilter(), "ann") == 1
    assert state(store, dead) == "paused"


def test_another_handler_of_the_same_event_goes_on(store: Store, upkeep: Upkeep) -> None:
    store.subscribe()
    store.subscribe("see")
    upkeep.pause("hear", "ann")
    event_id = store.publish()
    assert [(one.event_id, one.handler) for one in store.take()] == [(event_id, "see")]


def test_when_it_is_resumed_all_of_it_is_sent(store: Store, upkeep: Upkeep) -> None:
    # Given a handler that is paused, for which more waits than the relay moves at once
    store.subscribe()
    upkeep.pause("hear", "ann")
    ids = {store.publish() for _ in range(5)}
    assert store.take() == []
    assert store.ledger.recovery.unpause(3) == 0
    # When it is resumed, then the relay finds all of it, some at a time
    assert upkeep.resume("hear", "bob")
    assert not upkeep.resume("hear", "bob")
    assert [store.ledger.recovery.unpause(3) for _ in range(3)] == [3, 2, 0]
    assert {one.event_id for one in store.take()} == ids
    # And who did it is remembered
    assert actions(store) == [("pause", "hear", "ann", False), ("resume", "hear", "bob", False)]


def test_a_delivery_that_was_made_by_a_fan_out_from_before_is_found_all_the_same(store: Store, upkeep: Upkeep) -> None:
    # Given a handler that was resumed a moment ago, and a delivery that still believes it to be paused
    store.subscribe()
    upkeep.pause("hear", "ann")
    event_id = store.publish()
    store.take()
    upkeep.resume("hear", "ann")
    assert store.ledger.recovery.unpause(10) == 1
    store.foreign("UPDATE event_deliveries SET state = 'paused'")
    # When the relay looks again, then it finds it; later it forgets that the handler was ever paused
    assert store.ledger.recovery.unpause(10) == 1
    assert [one.event_id for one in store.take()] == [event_id]
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_handlers).values(changed_at=store.row(event_id).created_at - timedelta(days=1)))
    assert store.ledger.recovery.unpause(10) == 0
    assert store.count(event_handlers) == 0


def test_a_lost_worker_of_a_paused_handler_leaves_its_delivery_waiting(store: Store, upkeep: Upkeep) -> None:
    claim = store.running(lease=timedelta(hours=-1))
    upkeep.pause("hear", "ann")
    store.ledger.recovery.expire_leases(10)
    assert state(store, claim.envelope.id) == "paused"


def test_a_wake_up_that_a_broker_refuses_after_the_pause_waits(store: Store, upkeep: Upkeep) -> None:
    store.subscribe()
    store.publish()
    (wakeup,) = store.take()
    store.ledger.switches.pause("hear", "ann")  # and nobody has held back what is sent
    store.ledger.outbox.hand_back([wakeup], NOW)
    assert state(store, wakeup.event_id) == "paused"


def test_a_retired_handler_gets_nothing_more_and_what_waited_is_discarded(store: Store, upkeep: Upkeep) -> None:
    # Given a handler with a dead letter, a delivery that waits, and another handler
    (dead,) = store.dead(1)
    store.subscribe("see", event_type="Seen")
    waits = store.publish()
    store.ledger.outbox.fan_out(10)
    # When it is retired
    assert upkeep.would_drop("hear") == 1
    assert upkeep.retire("hear", "ann") == 1
    # Then its events wait for somebody who wants them, and only its dead letter is left
    assert (state(store, dead), state(store, waits)) == ("dead", "discarded")
    store.publish()
    assert store.take() == []
    assert sorted(actions(store)) == [("retire", "hear", "ann", False), ("retire", "hear", "ann", True)]
    # And what was discarded can be taken back
    assert store.ledger.dead.restore(DeadLetterFilter(event_ids=(waits,)), "ann") == 1
    assert {handler.handler for handler in upkeep.handlers()} == {"hear", "see"}


def test_what_a_dead_worker_had_begun_comes_back_and_is_given_up_by_retiring_once_more(
    store: Store, upkeep: Upkeep
) -> None:
    # Given a delivery that a worker began that lives no more, and a handler that is retired before the lease ends
    event_id = store.running(PAST).envelope.id
    assert upkeep.retire("hear", "ann") == 0
    # When the lease has ended, then it waits, and stands in the list of what nobody has
    store.ledger.recovery.expire_leases(10)
    assert state(store, event_id) == "pending"
    (hear,) = upkeep.handlers()
    assert hear.waiting == 1
    # Until it is given up
    assert upkeep.would_drop("hear") == 1
    assert upkeep.retire("hear", "ann") == 1
    assert state(store, event_id) == "discarded"


def test_a_handler_that_a_living_worker_has_is_not_retired(store: Store, upkeep: Upkeep) -> None:
    store.subscribe()
    store.ledger.workers.announce(store.worker("w1", {"hear": {"Said": "1:a"}}))
    for refused in (lambda: upkeep.retire("hear", "ann"), lambda: upkeep.would_drop("hear")):
        with pytest.raises(StillRunning, match="w1"):
            refused()


def test_a_name_that_nobody_has_is_refused_with_the_known_ones(store: Store, upkeep: Upkeep) -> None:
    store.subscribe()
    for refused in (upkeep.pause, upkeep.resume, upkeep.retire):
        with pytest.raises(NoSuchHandler, match="knows hear"):
            refused("heer", "ann")


def test_a_retry_of_a_paused_handler_that_was_due_long_ago_runs_at_once_when_resumed(
    store: Store, upkeep: Upkeep
) -> None:
    claim = store.running(max_attempts=3)
    upkeep.pause("hear", "ann")
    store.ledger.inbox.retry(claim, Failure("ValueError", "no", ""), HOUR)
    make_due(store)
    upkeep.resume("hear", "ann")
    store.ledger.recovery.unpause(10)
    assert [one.attempt for one in store.take()] == [2]


def test_what_waits_as_events_for_a_retired_handler_is_discarded_too(store: Store, upkeep: Upkeep) -> None:
    # Given events that are not fanned out: for a handler alone, for it and another, and for the other alone
    for handler, event_type in (("hear", "Said"), ("hear", "Sung"), ("see", "Sung"), ("see", "Seen")):
        store.subscribe(handler, event_type=event_type)
    said, sung, seen = (store.publish(event_type=kind) for kind in ("Said", "Sung", "Seen"))
    assert upkeep.would_drop("hear") == 2
    assert upkeep.would_drop("hear", "Sung") == 1
    # When the handler is retired
    assert upkeep.retire("hear", "ann") == 2
    # Then nothing waits for it any more, whoever subscribes later, and the others have theirs
    assert [state(store, said), store.row(sung, "hear").state, store.row(sung, "see").state] == [
        "discarded", "discarded", "pending",
    ]  # fmt: skip
    assert store.ledger.overviews.take().unhandled_types == []
    store.subscribe("hear", event_type="Said")
    assert {(one.event_id, one.handler) for one in store.take()} == {(sung, "see"), (seen, "see")}
