"""A ghost: a process that is stopped, or on a machine that vanished, in whose name the database keeps row locks.

Nobody who works for all waits for it: relays, heartbeats, and what a handler's thread tells. And what it had locked is
found when the locks are free, however much later.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from events.ledger.dead_letters import DeadLetter
from events.ledger.records import Subscription, Wakeup
from events.relay.dispatch import RelayLimits
from events.relay.relay import Relay
from events.relay.transport import TransportFeatures
from support.fleet import Queues
from support.store import HOUR, NOW, OOPS, PAST, Store

pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)

TABLES = ["event_store", "event_deliveries", "event_subscriptions", "event_handlers", "event_workers"]
STATES = ["pending", "sent", "running", "dead", "paused"]


@pytest.fixture
def store(store: Store) -> Store:
    """In which it is an error to wait for a lock."""
    name = store.ledger.engine.url.database
    store.foreign(f"ALTER DATABASE {name} SET lock_timeout = '1s'")
    store.ledger.engine.dispose()
    store.ledger.background.dispose()
    return store


@contextmanager
def ghost(store: Store, table: str, where: str = "true") -> Iterator[None]:
    """Has all rows of a table locked, as an UPDATE of them has."""
    with psycopg.connect(store.url) as connection:
        assert connection.execute(f"SELECT 1 FROM {table} WHERE {where} FOR NO KEY UPDATE").fetchone()
        yield
        connection.rollback()


def of_every_kind(store: Store) -> dict[str, UUID]:
    """A delivery in each state in which something is to be done about it; subscriptions, switches and workers."""
    ids = {}
    store.subscribe(max_attempts=1)
    for state in STATES:
        ids[state] = store.publish()
        (wakeup,) = store.take(stale_after=PAST if state == "sent" else HOUR)
        if state in ("running", "dead"):
            claim = store.claim(wakeup, PAST)
            if state == "dead":
                store.ledger.inbox.bury(claim, OOPS)
    store.foreign("UPDATE event_deliveries SET state = 'pending', due_at = now() WHERE event_id = ?", ids["pending"])
    store.foreign("UPDATE event_deliveries SET state = 'paused', due_at = now() WHERE event_id = ?", ids["paused"])
    ids["silent"] = store.publish()
    (wakeup,) = (one for one in store.take(stale_after=PAST) if one.event_id == ids["silent"])
    store.ledger.recovery.renew([wakeup], PAST, "somebody who fell silent")
    ids["new"] = store.publish()
    store.ledger.switches.pause("other", "ann")
    store.ledger.switches.resume("other", "ann")
    store.foreign("UPDATE event_handlers SET changed_at = now() - interval '1 hour'")
    store.foreign("UPDATE event_subscriptions SET changed_at = now() - interval '1 hour'")
    store.ledger.workers.announce(store.worker("old", {"hear": {"Said": "1:x"}}))
    store.foreign("UPDATE event_workers SET seen_at = now() - interval '30 days'")
    return ids


class Broker(Queues):
    def __init__(self) -> None:
        super().__init__(in_memory=False)
        self.features = TransportFeatures(copies_dead_letters=True)
        self.copies: list[UUID] = []

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        self.copies += [one.event_id for one in letters]


def relay_of(store: Store, queues: Queues) -> Relay:
    limits = RelayLimits(500, 1000, None, HOUR, timedelta(seconds=1), lease=timedelta(milliseconds=1))
    ledger = store.ledger
    return Relay(
        subscriptions=ledger.subscriptions, outbox=ledger.outbox, recovery=ledger.recovery,
        transport=queues, limits=limits,  # type: ignore[arg-type]
    )  # fmt: skip


def look(relay: Relay) -> None:
    relay._next_look = 0.0
    relay.step()


@pytest.mark.parametrize("table", TABLES)
def test_nobody_who_works_for_all_waits_for_a_ghost(store: Store, table: str) -> None:
    # Given deliveries of every kind, one that runs, and a ghost that has all rows of a table
    claim = store.running()
    ids = of_every_kind(store)
    queues = Broker()
    relay = relay_of(store, queues)
    with ghost(store, table):
        # When relays look, heartbeats beat, handlers tell how long they take, and a worker starts
        look(relay)
        look(relay)
        store.ledger.recovery.renew([Wakeup(ids["silent"], "hear", "q", 1, "Said")], PAST, "who falls silent again")
        store.ledger.inbox.extend([claim], HOUR)
        store.ledger.subscriptions.note_pace("hear", 1.0)
        store.ledger.workers.announce(store.worker("new", {"hear": {"Said": "1:x"}}))
        store.ledger.workers.renew("new", {})
        # Then nobody waited
    # And when the ghost is gone, all that it had is found
    for _ in range(3):
        look(relay)
    store.ledger.workers.announce(store.worker("newer", {"hear": {"Said": "1:x"}}))
    states = {name: store.row(event_id).state for name, event_id in ids.items()}
    assert states == {
        "pending": "sent", "sent": "sent", "silent": "sent", "running": "dead", "dead": "dead", "paused": "sent",
        "new": "sent",
    }  # fmt: skip
    assert {wakeup.event_id for group in queues.of["q"] for wakeup in group} >= {
        ids[name] for name in ("pending", "sent", "silent", "paused", "new")
    }
    assert sorted(queues.copies) == sorted([ids["dead"], ids["running"]])  # each once, though what was locked was seen
    assert store.count_of("event_deliveries", "state = 'dead' AND NOT copied") == 0
    assert store.count_of("event_workers", "name = 'old'") == 0


@pytest.mark.parametrize("state", ["pending", "paused", "sent", "running"])
def test_what_a_ghost_holds_while_its_subscription_changes_goes_home_later(store: Store, state: str) -> None:
    # Given two deliveries of a handler, of which a ghost has one
    store.subscribe()
    ids = [store.publish(), store.publish()]
    wakeups = store.take()
    if state == "running":
        for wakeup in wakeups:
            store.claim(wakeup)
    elif state != "sent":
        store.foreign(f"UPDATE event_deliveries SET state = '{state}'")
    with ghost(store, "event_deliveries", f"event_id = '{ids[0]}'"):
        # When newer code has the handler in another queue, long ago
        store.subscribe(queue="other")
        store.foreign("UPDATE event_subscriptions SET changed_at = now() - interval '1 hour'")
        while store.ledger.recovery.bring_home(100):
            pass
        assert [store.row(one).queue for one in ids] == ["q", "other"]
    # Then it is there as soon as the ghost is gone
    while store.ledger.recovery.bring_home(100):
        pass
    assert [store.row(one).queue for one in ids] == ["other", "other"]
    # And nobody looks any more
    assert store.count_of("event_subscriptions", "changed_at IS NOT NULL") == 0


def test_what_nobody_had_and_a_ghost_holds_when_its_handler_is_back_is_due_later(store: Store) -> None:
    # Given deliveries of a handler that no living worker has, of which a ghost has one
    store.subscribe("gone")
    ids = [store.publish(), store.publish()]
    store.ledger.outbox.fan_out(10)
    store.ledger.workers.announce(store.worker("w1", {"hear": {"Said": "1:x"}}))
    store.ledger.subscriptions.keep([Subscription(event_type="Said", handler="hear", queue="q", max_attempts=2)])
    assert store.take_due("q", 10) == []
    with ghost(store, "event_deliveries", f"event_id = '{ids[0]}'"):
        # When a worker has it again, and a minute is over
        store.subscribe("gone")
        store.foreign("UPDATE event_subscriptions SET changed_at = now() - interval '1 hour'")
        while store.ledger.recovery.bring_home(100):
            pass
        assert [one.event_id for one in store.take_due("q", 10) if one.handler == "gone"] == [ids[1]]
    # Then that one is due, too, when the ghost is gone
    while store.ledger.recovery.bring_home(100):
        pass
    assert [one.event_id for one in store.take_due("q", 10) if one.handler == "gone"] == [ids[0]]


def test_a_claim_takes_what_is_free_and_leaves_the_rest_as_it_was(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a message of several deliveries, of which a ghost has one
    store.subscribe()
    ids = [store.publish(uuid4()) for _ in range(3)]
    wakeups = store.take()
    tokens = {one.event_id: one.token for one in wakeups}
    with ghost(store, "event_deliveries", f"event_id = '{ids[1]}'"):
        # When a worker claims them
        claims = store.ledger.inbox.claim("hear", tokens, "w1", HOUR)
        # Then it has the others, and a word about that one
        assert {claim.envelope.id for claim in claims} == {ids[0], ids[2]}
        assert "1 deliveries of hear are locked" in caplog.text
        # And of that one alone it has none
        assert store.ledger.inbox.claim("hear", {ids[1]: 1}, "w1", HOUR) == []
    assert store.row(ids[1]).state == "sent"
    # And when the ghost is gone it can be claimed
    assert len(store.ledger.inbox.claim("hear", {ids[1]: 1}, "w1", HOUR)) == 1


def test_a_claim_of_a_paused_handler_waits_for_nobody(store: Store) -> None:
    # Given a delivery that was sent before its handler was paused, and that a ghost has
    store.subscribe()
    ids = [store.publish(), store.publish()]
    tokens = {one.event_id: one.token for one in store.take()}
    store.ledger.switches.pause("hear", "ann")
    with ghost(store, "event_deliveries", f"event_id = '{ids[0]}'"):
        # When a worker claims it, with another, then it has none, and sets aside what is free
        assert store.ledger.inbox.claim("hear", tokens, "w1", HOUR) == []
        assert [store.row(one).state for one in ids] == ["sent", "paused"]


def test_who_waits_knows_it(store: Store) -> None:
    """The test of these tests: what does wait for a lock is an error here."""
    store.subscribe()
    store.publish()
    wakeups = store.take()
    with ghost(store, "event_deliveries"), pytest.raises(DBAPIError, match="lock timeout"):
        store.ledger.outbox.hand_back(wakeups, NOW)
