"""Fan-out and sending: what relays do to the ledger."""

from datetime import timedelta
from uuid import uuid4

import pytest

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import State, Wakeup
from events.store.tables import event_deliveries
from support.store import HOUR, NOW, OOPS, PAST, Store, make_due, together


def test_two_relays_at_once_fan_out_every_event_once(store: Store) -> None:
    # Given 100 events
    store.subscribe()
    store.publish(*(uuid4() for _ in range(100)))

    # When two relays fan out at once, until nothing is left
    def all_of_it() -> int:
        return sum(iter(lambda: store.ledger.outbox.fan_out(10).events, 0))

    moved = together(all_of_it, all_of_it)
    # Then each event was moved by one of them
    assert sum(moved) == 100
    assert store.count(event_deliveries) == 100


def test_an_event_that_nobody_subscribed_to_waits(store: Store) -> None:
    # Given an event without a handler
    store.subscribe()
    event_id = store.publish(event_type="Later")
    assert (store.ledger.outbox.fan_out(10).events, store.take()) == (0, [])
    # When one subscribes
    store.subscribe(handler="late", event_type="Later")
    # Then it is delivered
    assert [(wakeup.event_id, wakeup.handler) for wakeup in store.take()] == [(event_id, "late")]


def test_subscribing_drops_what_the_same_handler_no_longer_wants(store: Store) -> None:
    # Given a handler of one event type
    store.subscribe(handler="hear", event_type="Said", queue="old")
    store.subscribe(handler="other", event_type="Said")
    # When it subscribes to another
    store.subscribe(handler="hear", event_type="Sung", queue="new")
    # Then its old row is gone, and other handlers' rows are not
    assert sorted(store.ledger.subscriptions.paces()) == ["hear", "other"]
    store.publish()
    assert [wakeup.handler for wakeup in store.take()] == ["other"]


def test_take_due_keeps_to_limit_queue_and_handlers(store: Store) -> None:
    # Given three events for two handlers
    store.subscribe("a")
    store.subscribe("b")
    store.publish(*(uuid4() for _ in range(3)))
    outbox = store.ledger.outbox
    outbox.fan_out(10)
    # Then only what was asked for is taken, and only once
    assert store.take_due("elsewhere", 10) == []
    assert store.take_due("q", 10, HOUR, [("c", "Said"), ("a", "Sung")]) == []
    first = store.take_due("q", 2, HOUR, [("a", "Said")])
    assert [(wakeup.handler, wakeup.queue, wakeup.attempt) for wakeup in first] == [("a", "q", 1)] * 2
    assert len(store.take_due("q", 10, HOUR, [("a", "Said")])) == 1
    assert outbox.in_flight() == {"q": {"a": 3}}
    assert [wakeup.handler for wakeup in store.take_due("q", 10)] == ["b"] * 3


def test_two_relays_never_take_the_same_delivery(store: Store) -> None:
    # Given 200 due deliveries
    store.subscribe()
    store.publish(*(uuid4() for _ in range(200)))
    store.ledger.outbox.fan_out(1000)

    # When two relays take them at once
    def all_of_it() -> list[Wakeup]:
        batches = iter(lambda: store.take_due("q", 10), [])
        return [wakeup for batch in batches for wakeup in batch]

    first, second = together(all_of_it, all_of_it)
    # Then no delivery was taken twice, and none was left
    assert len({wakeup.event_id for wakeup in first + second}) == len(first) + len(second) == 200


def test_a_delivery_handed_back_is_due_again_and_used_no_attempt(store: Store) -> None:
    # Given a sent delivery
    store.subscribe()
    store.publish()
    taken = store.take()
    # When it is handed back, for later and then for now
    assert store.ledger.outbox.hand_back(taken, HOUR) == 1
    assert store.take() == []
    # Then handing it back again changes nothing, and it returns with the same attempt
    assert store.ledger.outbox.hand_back(taken, NOW) == 0
    make_due(store)
    assert store.take() == taken


def test_a_started_delivery_is_not_handed_back(store: Store) -> None:
    claim = store.running()
    wakeup = Wakeup(claim.envelope.id, "hear", "q", 1)
    assert store.ledger.outbox.hand_back([wakeup], NOW) == 0
    assert store.row(claim.envelope.id).state == State.RUNNING


def test_resend_takes_the_oldest_missing_only(store: Store) -> None:
    # Given three overdue deliveries that were sent one after the other, and one that is not overdue
    store.subscribe()
    sent = []
    for _ in range(3):
        store.publish()
        sent += store.take(stale_after=PAST)
    store.publish()
    (fresh,) = store.take()
    recovery = store.ledger.recovery
    assert recovery.overdue() == {"q": 4}
    # When two are missing
    assert recovery.resend("q", 2) == 2
    # Then the two oldest are due, and the others are on their way still
    assert [store.row(wakeup.event_id).state for wakeup in [*sent, fresh]] == ["pending", "pending", "sent", "sent"]
    assert recovery.overdue() == {"q": 2}
    assert {wakeup.event_id for wakeup in store.take()} == {sent[0].event_id, sent[1].event_id}


def test_resend_of_none_missing_changes_nothing(store: Store) -> None:
    store.subscribe()
    store.publish()
    store.take(stale_after=PAST)
    assert store.ledger.recovery.resend("q", 0) == 0
    assert store.take() == []


def test_wakeups_in_the_hand_of_a_living_worker_are_not_missing(store: Store) -> None:
    # Given two overdue wake-ups, one of which a worker says it holds
    store.subscribe()
    store.publish()
    store.publish()
    held, other = store.take(stale_after=PAST)
    store.ledger.recovery.renew([held], HOUR, "w1")
    # Then only the other counts as sent and in nobody's hand
    assert store.ledger.recovery.overdue() == {"q": 1}
    assert store.ledger.recovery.resend("q", 1) == 1
    assert [wakeup.event_id for wakeup in store.take()] == [other.event_id]


def test_what_a_worker_held_that_fell_silent_is_sent_again(store: Store) -> None:
    # Given a wake-up whose holder has not renewed it in time
    store.subscribe()
    store.publish()
    (held,) = store.take(stale_after=PAST)
    store.ledger.recovery.renew([held], PAST, "w1")
    # Then it is sent again, though nothing is missing in the queue, and is in nobody's hand
    assert store.ledger.recovery.resend("q", 0) == 1
    assert [wakeup.event_id for wakeup in store.take()] == [held.event_id]
    assert store.row(held.event_id).worker is None


def test_a_delivery_that_cant_be_sent_is_a_dead_letter_with_the_reason(store: Store) -> None:
    store.subscribe()
    store.publish()
    (wakeup,) = store.take()
    assert store.ledger.outbox.give_up(wakeup, OOPS)
    assert not store.ledger.outbox.give_up(wakeup, OOPS)
    (letter,) = store.ledger.dead.find(DeadLetterFilter())
    assert (letter.event_id, letter.error_type) == (wakeup.event_id, OOPS.error_type)


def test_due_in_tells_when_to_look_again(store: Store) -> None:
    # Given nothing; Then nothing will be due
    outbox = store.ledger.outbox
    store.subscribe()
    assert outbox.due_in(copies=False) is None
    # When an event waits, then a delivery; Then look now
    store.publish(event_type="Unheard")
    assert outbox.due_in(copies=False) is None
    store.publish()
    assert outbox.due_in(copies=False) == NOW
    outbox.fan_out(10)
    assert outbox.due_in(copies=False) == NOW
    # When it is sent, runs, waits for its retry; Then look at its time
    (wakeup,) = store.take(stale_after=HOUR)
    assert timedelta(minutes=59) < (outbox.due_in(copies=False) or NOW) <= HOUR
    claim = store.claim(wakeup, lease=2 * HOUR)
    assert timedelta(minutes=119) < (outbox.due_in(copies=False) or NOW) <= 2 * HOUR
    store.ledger.inbox.retry(claim, OOPS, 3 * HOUR)
    assert timedelta(minutes=179) < (outbox.due_in(copies=False) or NOW) <= 3 * HOUR


def test_a_delivery_that_is_due_after_the_end_of_pythons_time_stops_nobody(store: Store) -> None:
    # Given one that is due in the year 12026, as PostgreSQL can say, in a queue of its own; and one that is due now
    if store.sqlite:
        pytest.skip("it holds what Python writes")
    store.subscribe("far", queue="slow", event_type="Far")
    store.publish(event_type="Far")
    store.ledger.outbox.fan_out(10)
    store.foreign("UPDATE event_deliveries SET due_at = '12026-01-01 00:00:00+00'")
    store.subscribe()
    event_id = store.publish()
    store.ledger.outbox.fan_out(10)
    # Then the one waits for ever, and the other for nobody
    assert store.ledger.outbox.waiting() == {"slow": timedelta.max, "q": timedelta(0)}
    assert store.ledger.outbox.due_in(copies=False) == timedelta(0)
    assert [wakeup.event_id for wakeup in store.take_due("q", 10)] == [event_id]
