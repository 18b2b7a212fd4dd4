"""New deliveries that need not wait: fanned out and marked as sent in one statement, where workers keep up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from events.errors import TransportError
from events.hooks import Hooks, Watcher
from events.ledger.records import Express, FannedOut, Group, Subscription, Wakeup
from support.relays import Recorded, relay_of
from support.store import HOUR, OOPS, Store, make_due

ALL = Express(events=8, messages=100, in_flight=64, stale_after=HOUR)
on_postgres = pytest.mark.parametrize("url", ["postgres"], indirect=True)


def published(store: Store, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    for event_id in ids:
        store.publish(event_id)
    return ids


def fan_out(store: Store, express: Express | None = ALL) -> FannedOut:
    return store.ledger.outbox.fan_out(1000, express)


def sent(found: FannedOut) -> list[Wakeup]:
    return [wakeup for group in found.sent for wakeup in group]


@on_postgres
def test_what_is_new_is_sent_at_once_each_in_a_message_of_its_own(store: Store) -> None:
    # Given two handlers and three new events
    store.subscribe("hear")
    store.subscribe("note")
    ids = published(store, 3)
    # When they are fanned out
    found = fan_out(store)
    # Then every delivery is to be sent, and the ledger has it as sent, for its first attempt
    assert (found.events, found.waiting, len(found.sent)) == (3, 0, 6)
    assert {(one.event_id, one.handler, one.queue, one.attempt) for one in sent(found)} == {
        (event_id, handler, "q", 1) for event_id in ids for handler in ("hear", "note")
    }
    rows = [store.row(one.event_id, one.handler) for one in sent(found)]
    assert {row.state for row in rows} == {"sent"}
    assert len({row.message for row in rows}) == 6
    # And it is claimed as any other, and looked for when nobody claims it
    assert store.claim(sent(found)[0]).attempt == 1
    make_due(store)
    assert store.ledger.recovery.overdue() == {"q": 5}


def test_without_leave_all_waits(store: Store) -> None:
    store.subscribe()
    published(store, 3)
    assert fan_out(store, None) == FannedOut(3, (), 3)
    assert len(store.take()) == 3


@on_postgres
def test_a_backlog_is_left_to_be_grouped(store: Store) -> None:
    store.subscribe()
    published(store, 9)
    assert fan_out(store) == FannedOut(backlog=True)
    assert store.count_of("event_deliveries", "true") == 0


@on_postgres
def test_where_something_is_due_in_the_queue_what_is_new_takes_its_turn(store: Store) -> None:
    # Given a queue in which a delivery waits, and another in which none does
    store.subscribe("hear", queue="busy")
    store.subscribe("note", queue="quiet")
    published(store, 1)
    fan_out(store, None)
    store.take_due("quiet", 10)
    # When an event is new for both
    (event_id,) = published(store, 1)
    # Then it is left to those who know which queues have room, and no delivery is made that would wait in vain
    found = fan_out(store)
    assert (found.backlog, found.waits, found.events) == (True, True, 0)
    assert store.count_of("event_deliveries", f"event_id = '{event_id}'") == 0
    # And when nothing waits any more, it is sent at once
    store.take_due("busy", 10)
    assert {wakeup.handler for wakeup in sent(fan_out(store))} == {"hear", "note"}


@on_postgres
def test_a_retry_that_is_due_later_is_no_reason_to_wait(store: Store) -> None:
    # Given a delivery that is tried again in an hour
    claim = store.running()
    store.ledger.inbox.retry(claim, OOPS, HOUR)
    published(store, 1)
    assert len(fan_out(store).sent) == 1


@on_postgres
def test_where_workers_dont_keep_up_it_waits(store: Store) -> None:
    # Given four deliveries on the way, one of them running, where six may be
    store.subscribe()
    published(store, 4)
    store.claim(sent(fan_out(store))[0])
    # When three events are new, then they are left
    ids = published(store, 3)
    assert fan_out(store, replace(ALL, in_flight=6)) == FannedOut(backlog=True, waits=True)
    # And where one more may be, or those that run don't count, they are sent
    assert fan_out(store, replace(ALL, in_flight=5, count_running=False)).events == 0
    found = fan_out(store, replace(ALL, in_flight=6, count_running=False))
    assert [one.event_id for one in sent(found)] == ids


@on_postgres
@pytest.mark.parametrize("express", [replace(ALL, handlers=[("hear", "Said")]), replace(ALL, queues=["quick"])])
def test_only_what_the_sender_has_handlers_for_is_sent(store: Store, express: Express) -> None:
    # Given handlers in two queues, and two new events
    store.subscribe("hear", queue="quick")
    store.subscribe("note", queue="slow")
    published(store, 2)
    # When somebody fans out who takes only a part of their deliveries
    found = fan_out(store, express)
    # Then he gets that part, and the rest waits for others
    assert (len(found.sent), found.waiting) == (2, 2)
    assert len(store.take_due("slow", 10)) + len(store.take_due("quick", 10)) == 2


@on_postgres
def test_without_room_for_all_of_it_nothing_is_fanned_out(store: Store) -> None:
    store.subscribe("hear")
    store.subscribe("note")
    published(store, 2)
    assert fan_out(store, replace(ALL, messages=3)) == FannedOut(backlog=True, waits=True)
    assert store.count_of("event_deliveries", "true") == 0
    assert len(fan_out(store, replace(ALL, messages=4)).sent) == 4


@on_postgres
def test_under_a_steady_load_no_delivery_is_written_more_often_than_it_must(store: Store) -> None:
    # Given a queue in which something waits, as it does after a moment in which much came at once
    store.subscribe()
    published(store, 1)
    fan_out(store, None)
    transport = Recorded()
    relay = relay_of(store, transport)
    # When events go on coming
    ids = []
    for _ in range(20):
        ids += published(store, 1)
        relay.step(look=False)
    # Then those that come are sent as soon as they are fanned out, after what waited
    assert len(transport.groups) == 21
    assert {store.row(event_id).sent_at == store.row(event_id).created_at for event_id in ids} == {True}


@on_postgres
def test_what_goes_to_a_batch_handler_waits_for_its_batch(store: Store) -> None:
    store.ledger.subscriptions.subscribe(
        [
            Subscription(
                event_type="Said",
                handler="many",
                queue="q",
                max_attempts=2,
                most=100,
                batch=True,
                linger=timedelta(seconds=1),
            )
        ]
    )
    published(store, 1)
    assert fan_out(store) == FannedOut(1, (), 1)


@on_postgres
def test_a_queue_that_is_full_does_not_slow_another(store: Store) -> None:
    # Given a relay, and a queue that nobody works off, as full as it may be
    store.subscribe("slow", queue="elsewhere", event_type="Piled")
    store.subscribe("hear")
    for _ in range(20):
        store.publish(event_type="Piled")
    transport = Recorded()
    relay = relay_of(store, transport, batch=10, max_in_flight=8)
    while relay.step():
        pass
    piled = len(transport.groups)
    assert 0 < piled < 20
    # When an event for another queue is new
    event_id = store.publish()
    # Then the relay's next look at new events sends it
    relay.step(look=False)
    assert [group[0].event_id for group in transport.groups[piled:]] == [event_id]
    assert store.row(event_id).sent_at == store.row(event_id).created_at  # by one statement


def test_while_a_backlog_is_being_sent_every_round_sends_some(store: Store) -> None:
    # Given a relay that sends ten at a time, and a hundred events
    store.subscribe()
    published(store, 100)
    transport = Recorded()
    relay = relay_of(store, transport, batch=10)
    # When it looks for more as soon as it has found some, without being woken
    while relay.step(look=False):
        pass
    # Then all have been sent when it finds nothing
    assert len({wakeup.event_id for group in transport.groups for wakeup in group}) == 100


class Choosy(Recorded):
    """Refuses the message of one event, and all that are given with it."""

    refused: UUID | None = None

    def send(self, groups: Sequence[Group]) -> None:
        if any(wakeup.event_id == self.refused for group in groups for wakeup in group):
            raise TransportError("not that one")
        super().send(groups)


class Counting(Watcher):
    def __init__(self) -> None:
        self.told: list[UUID] = []

    def sent(self, groups: Sequence[Group]) -> None:
        self.told += [wakeup.event_id for group in groups for wakeup in group]


def test_whoever_watches_is_told_of_what_the_broker_took_and_of_nothing_else(store: Store) -> None:
    # Given a broker that refuses one of a backlog
    store.subscribe()
    ids = [store.publish() for _ in range(20)]
    transport, watcher, hooks = Choosy(), Counting(), Hooks()
    transport.refused = ids[7]
    hooks.add(watcher)
    relay = relay_of(store, transport, batch=100, hooks=hooks)
    # When the relay has sent what it can
    while relay.step():
        pass
    # Then it has told of each other one, once
    assert sorted(watcher.told) == sorted(set(ids) - {ids[7]})
