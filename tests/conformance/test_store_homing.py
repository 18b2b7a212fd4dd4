"""Deliveries whose handler no living worker has: they wait, cost nothing, and are in nobody's way."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select, update

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import HELD, Subscription
from events.relay.dispatch import RelayLimits
from events.relay.relay import Relay
from events.store.database.engine import now_plus, transaction
from events.store.tables import event_deliveries
from support.fleet import Queues
from support.store import HOUR, NOW, OOPS, PAST, Store, make_due, together

MANY = 3_000
A_LOOK = 1_000  # of the pile, at which a relay with batches of 500 looks at once


def pile_up(store: Store, handler: str, count: int = MANY) -> None:
    """That many deliveries, due for a while."""
    ago = datetime.now(UTC) - HOUR
    rows = [
        {"event_id": uuid4(), "handler": handler, "queue": "q", "state": "pending", "event_type": "Said",
         "due_at": ago, "created_at": ago}
        for _ in range(count)
    ]  # fmt: skip
    with store.ledger.events.begin() as connection:
        connection.execute(insert(event_deliveries), rows)


def live(store: Store, *handlers: str) -> None:
    """A worker that has these, and has said twice that it lives."""
    store.ledger.workers.announce(store.worker("w1", {name: {"Said": "1:x"} for name in handlers}))
    store.ledger.subscriptions.keep(
        [Subscription(event_type="Said", handler=name, queue="q", max_attempts=2) for name in handlers]
    )


def relay_of(store: Store, queues: Queues, *handlers: str) -> Relay:
    """With a broker; with handlers, as a worker has it without one."""
    limits = RelayLimits(500, 1000, 8 if handlers else None, HOUR, timedelta(seconds=1))
    ledger = store.ledger
    return Relay(
        subscriptions=ledger.subscriptions, outbox=ledger.outbox, recovery=ledger.recovery,
        transport=queues, limits=limits,  # type: ignore[arg-type]
        handlers=[(name, "Said") for name in handlers] or None, queues=["q"] if handlers else None,
    )  # fmt: skip


def sent(queues: Queues) -> list[UUID]:
    return [wakeup.event_id for queue in queues.of.values() for group in queue for wakeup in group]


@pytest.mark.parametrize("broker", [True, False], ids=["broker", "no broker"])
def test_a_pile_that_nobody_has_is_looked_at_once_and_younger_work_passes(store: Store, broker: bool) -> None:
    # Given thousands of deliveries of a handler that was removed and not retired, and a younger one of another
    store.subscribe("gone")
    store.subscribe("hear")
    pile_up(store, "gone")
    live(store, "hear")
    store.foreign("UPDATE event_subscriptions SET changed_at = NULL")  # they are not of today
    event_id = store.publish()
    queues = Queues(in_memory=not broker)
    relay = relay_of(store, queues, *(() if broker else ("hear",)))
    # When the relay looks, a part of the pile at a time
    for _ in range(2 + MANY // A_LOOK):
        relay.step()
    # Then the younger one is sent, and it alone
    assert sent(queues) == [event_id]
    # And from then on the pile is no reason to look again, nor is any of it looked at
    store.claim(queues.of["q"][0][0])
    due_in = store.ledger.outbox.due_in(copies=False)
    assert due_in is not None
    assert due_in > timedelta(minutes=30)
    with store.statements() as statements:
        assert store.take_due("q", 10) == []
        relay.step()
    assert statements
    assert not [one for one, _ in statements if one.startswith("UPDATE") and "= 'sent'" not in one]
    assert store.row(event_id, "gone").state == "pending"


def test_a_pile_that_nobody_has_is_put_aside_in_parts_so_that_other_work_waits_for_moments(store: Store) -> None:
    # Given thousands of deliveries of a handler that no living worker has
    store.subscribe("gone")
    pile_up(store, "gone")
    live(store, "hear")
    aside = select(func.count()).select_from(event_deliveries).where(event_deliveries.c.due_at == HELD)
    for looks in range(1, MANY // A_LOOK + 1):
        # When a relay looks for what is due
        assert store.take_due("q", 500) == []
        # Then it puts a part of them aside, and no more
        with store.ledger.events.begin() as connection:
            assert connection.scalar(aside) == looks * A_LOOK
        # And the next look is due at once, unless that was all
        due_in = store.ledger.outbox.due_in(copies=False)
        assert (due_in == timedelta(0)) == (looks * A_LOOK < MANY)


def test_what_waited_for_a_handler_runs_when_a_worker_has_it_again_the_oldest_first(store: Store) -> None:
    # Given a pile that nobody has, a part of which is paused besides
    store.subscribe("gone")
    pile_up(store, "gone", 50)
    live(store, "hear")
    assert store.take_due("q", 1000) == []
    store.ledger.switches.pause("gone", "ann")
    assert store.ledger.switches.hold("gone", 20) == 20
    # When a worker has it, and it is resumed
    store.subscribe("gone")
    store.ledger.switches.resume("gone", "ann")
    while store.ledger.recovery.bring_home(7) + store.ledger.recovery.unpause(7):
        pass
    # Then all of it is due
    assert len(store.take_due("q", 1000)) == 50


def test_a_delivery_of_a_retired_handler_that_is_replayed_waits_for_code_that_has_it(store: Store) -> None:
    (dead,) = store.dead(1)
    store.ledger.switches.unsubscribe("hear", "ann")
    assert store.ledger.dead.replay(DeadLetterFilter(), "ann") == 1
    assert store.take_due("q", 10) == []
    assert (store.row(dead).state, store.row(dead).due_at) == ("pending", HELD)
    store.subscribe()
    assert [one.event_id for one in store.take_due("q", 10)] == [dead]


def test_while_no_worker_lives_nobody_can_tell_and_all_is_sent(store: Store) -> None:
    store.subscribe()
    store.ledger.subscriptions.keep([])
    event_id = store.publish()
    assert [one.event_id for one in store.take()] == [event_id]


def test_what_is_passed_on_comes_again_later_each_time_and_uses_no_attempt(store: Store) -> None:
    # Given a delivery that goes from worker to worker, none of which can run it
    store.subscribe()
    event_id = store.publish()
    waits = []
    for number in range(8):
        (wakeup,) = store.take()
        if number % 2:
            assert store.ledger.inbox.pass_on([store.claim(wakeup)]) == 1
        else:
            assert store.ledger.outbox.pass_on([wakeup]) == 1
        in_queue = store.ledger.outbox.waiting()["q"].total_seconds()
        waits.append(in_queue)
        make_due(store)
        # and is left for some seconds to a worker that can run it
        assert store.take() == []
        make_due(store, since=HOUR)
    # Then it waits longer and longer, within bounds, and has all its attempts
    assert waits[0] <= 2
    assert waits[2] > 1
    assert all(3 < wait <= 16 for wait in waits[3:])
    row = store.row(event_id)
    assert row.attempts - row.attempts_before == 0
    # And what was passed on without an end begins anew when it is replayed
    claim = store.claim(store.take()[0])
    store.ledger.inbox.bury(claim, OOPS)
    store.ledger.dead.replay(DeadLetterFilter(), "ann")
    assert store.row(event_id).passes == 0
    assert store.ledger.outbox.waiting()["q"] == NOW


def test_what_was_passed_on_is_taken_by_who_can_run_it_once_and_when_it_is_due(store: Store) -> None:
    # Given deliveries of which a worker passed all but one on
    store.subscribe("hear")
    store.subscribe("see")
    store.publish(*(uuid4() for _ in range(4)))
    wakeups = store.take()
    kept, others = wakeups[0], wakeups[1:]
    assert store.ledger.outbox.pass_on(others) == len(others)
    # Then nobody gets any before its time, and afterwards who has the handler, and reads the queue
    assert store.take_passed("hear", "see") == []
    make_due(store)
    assert store.take_passed("hear", queue="elsewhere") == store.take_passed("other") == store.take_passed() == []
    expected = {(one.event_id, one.handler) for one in others if one.handler == "hear"}
    # And each once, by several at the same moment, too
    taken = [one for found in together(*[lambda: store.take_passed("hear", limit=2)] * 4) for one in found]
    assert {(one.event_id, one.handler) for one in taken} == expected
    assert len(taken) == len(expected)
    assert store.row(kept.event_id, kept.handler).passes == 0
    # And it runs at the attempt that it had, and is nobody's to be passed by again once it has begun and failed
    claim = store.claim(taken[0])
    store.ledger.inbox.retry(claim, OOPS, NOW)
    assert store.row(claim.envelope.id, "hear").passes == 0
    assert claim.envelope.id in {one.event_id for one in store.take_due("q", 10)}


def test_what_code_of_one_form_can_t_read_nobody_with_that_form_takes_again(store: Store) -> None:
    # Given a delivery whose event a worker with the one form of it couldn't read
    store.subscribe("hear")
    store.publish()
    (wakeup,) = store.take()
    assert store.ledger.inbox.pass_on([store.claim(wakeup)], "1:a") == 1
    make_due(store)
    # Then it comes to none with that form, and at once to one with another
    assert store.take_passed("hear", form="1:a") == []
    (again,) = store.take_passed("hear", form="2:b")
    # And when that can't read it either, to the first again, which may have been told of it meanwhile
    assert store.ledger.inbox.pass_on([store.claim(again)], "2:b") == 1
    make_due(store)
    assert store.take_passed("hear", form="2:b") == []
    # Nor does somebody without the handler, who passes it on, make them forget
    make_due(store, HOUR)
    (sent,) = store.take_due("q", 10)
    assert store.ledger.outbox.pass_on([sent]) == 1
    make_due(store)
    assert store.take_passed("hear", form="2:b") == []
    assert [one.event_id for one in store.take_passed("hear", form="1:a")] == [wakeup.event_id]


def test_to_look_for_what_was_passed_on_costs_one_statement_and_no_lock(store: Store) -> None:
    # Given nothing of that kind, and somebody who is writing
    store.subscribe()
    store.publish()
    with transaction(store.ledger.engine), store.statements() as statements:
        # When a worker looks
        assert store.take_passed("hear") == []
    # Then it has asked one question, and waited for nobody
    asked = [one for one, _ in statements if one != "BEGIN"]  # SQLite's, which takes no lock
    assert len(asked) == 1, asked
    assert asked[0].startswith("SELECT")


def test_a_worker_that_feeds_itself_leaves_what_its_code_cannot_read_to_others(store: Store) -> None:
    # Given a delivery that code of one form couldn't read, and passed on, and that is due again
    store.subscribe()
    store.publish()
    claim = store.claim(store.take()[0])
    assert store.ledger.inbox.pass_on([claim], "1:old") == 1
    mine = [("hear", "Said")]

    def found(form: str) -> int:
        with store.ledger.outbox.due("q", 10, mine, (), [("Said", form)]) as due:
            return len(due.deliveries)

    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).values(due_at=now_plus(connection, timedelta(seconds=-1))))
    # When workers without a broker look for what they can run, then only one with other code finds it
    assert [found("1:old"), found("2:new")] == [0, 1]
    # But if none of those takes it for some seconds, anybody may
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).values(due_at=now_plus(connection, PAST)))
    assert found("1:old") == 1
