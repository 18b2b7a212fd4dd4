"""The lease of a message: one row for a group of deliveries, until one of them needs a row of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import text, update

from events.errors import LeaseLost
from events.ledger.records import Claim, Group
from events.store.tables import event_deliveries, event_leases
from support.messages_of_many import claim, sent, states, take
from support.store import HOUR, NOW, PAST, Store

pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)


@contextmanager
def locked(store: Store, group: Group, *places: int) -> Iterator[None]:
    """Another transaction, of a process that is stopped say, holds some deliveries of a group."""
    ids = [group[place].event_id for place in places]
    with psycopg.connect(store.url) as other:
        other.execute("SELECT 1 FROM event_deliveries WHERE event_id = ANY (%s) FOR UPDATE", [ids])
        yield


def leases(store: Store) -> int:
    return store.count_of("event_leases", "true")


def succeed(store: Store, claims: list[Claim]) -> None:
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, claims)


def test_a_group_is_claimed_without_a_write_to_its_deliveries(store: Store) -> None:
    # Given a message of three
    (group,) = sent(store, 3, 3)
    before = [store.row(one.event_id) for one in group]
    # When it is claimed, then there is a lease, and each delivery is as it was
    claims = claim(store, group)
    assert {one.lease for one in claims} == {before[0].message}
    assert [store.row(one.event_id) for one in group] == before
    assert leases(store) == 1
    # And with its success each has what a claim by itself would have written (the first start is the only one), and
    # the lease has ended
    succeed(store, claims)
    rows = [store.row(one.event_id) for one in group]
    assert [(row.state, row.attempts, row.worker, row.grouped) for row in rows] == [("succeeded", 1, "w1", True)] * 3
    assert {before[0].sent_at <= row.started_at <= row.finished_at for row in rows} == {True}
    assert {(row.first_started_at, row.message) for row in rows} == {(None, None)}
    assert leases(store) == 0


def test_a_second_message_of_what_runs_gets_nothing(store: Store) -> None:
    # Given a group that runs
    (group,) = sent(store, 3, 3)
    claims = claim(store, group)
    # When its message comes again, as a whole, in part, or one by one, then nobody else gets any of it
    for part in (group, group[:2], *((one,) for one in group)):
        assert claim(store, part, worker="w2") == []
    # Nor does a worker give it back that ends, or a relay that takes it for lost
    assert store.ledger.outbox.hand_back(list(group), NOW) == 0
    assert store.ledger.outbox.pass_on(list(group)) == 0
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).values(due_at=text("now() - interval '1 hour'")))
    assert store.ledger.recovery.resend("q", 1000) == 0
    succeed(store, claims)
    assert states(store, group) == ["succeeded"] * 3


def test_an_older_message_leases_no_more_than_it_names(store: Store) -> None:
    # Given a message of two that was taken for lost, and its deliveries in another message with one more
    (older,) = sent(store, 2, 2)
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).values(due_at=text("now() - interval '1 hour'")))
    assert store.ledger.recovery.resend("q", 1000) == 2
    store.publish()
    (newer,) = take(store, 3)
    assert {one.event_id for one in older} < {one.event_id for one in newer}
    # When the older comes after all, and then the newer
    first = claim(store, older)
    second = claim(store, newer, worker="w2")
    # Then each delivery runs once
    assert [len(first), len(second)] == [2, 1]
    assert second[0].lease is None
    succeed(store, second)
    succeed(store, first)
    assert states(store, newer) == ["succeeded"] * 3


def test_a_claim_that_older_code_took_over_has_lost_its_lease(store: Store) -> None:
    # Given a group that runs, and a worker whose code knows of no leases, which gets its message again
    (group,) = sent(store, 2, 2)
    claims = claim(store, group)
    with store.ledger.events.begin() as connection:
        taken = update(event_deliveries).where(event_deliveries.c.event_id == group[0].event_id)
        connection.execute(taken.values(state="running", attempts=event_deliveries.c.attempts + 1, worker="old"))
        connection.execute(taken.values(state="succeeded"))
    # When the first comes to its end, then its effects are refused
    with pytest.raises(LeaseLost):
        succeed(store, claims)
    # And what is left of it comes again
    assert store.ledger.inbox.hand_back(claims, NOW, alone=True) == 1
    assert sorted(states(store, group)) == ["pending", "succeeded"]


def test_locked_deliveries_of_a_group_hold_up_neither_heartbeat_nor_relay(store: Store) -> None:
    # Given two groups that run, of which others have locked deliveries
    first, second = sent(store, 6, 3)
    claims = claim(store, first)
    claim(store, second, lease=PAST)
    with locked(store, first, 0), locked(store, second, 0, 1):
        # When the heartbeat extends the one, and a relay looks for leases that ended, then both do what they can
        assert store.ledger.inbox.extend(claims, HOUR) == 2
        assert store.ledger.recovery.expire_leases(10) == 1
        assert store.ledger.recovery.missing().leases
    # And the rest when the locks are gone
    assert store.ledger.inbox.extend(claims, HOUR) == 3
    assert store.ledger.recovery.expire_leases(10) == 2
    assert not store.ledger.recovery.missing().leases
    assert states(store, second) == ["pending"] * 3
    assert {store.row(one.event_id).alone for one in second} == {True}
    succeed(store, claims)
    assert states(store, first) == ["succeeded"] * 3


def test_what_runs_by_a_lease_is_neither_paused_nor_retired(store: Store) -> None:
    # Given a group that runs, and one that was sent
    running, waiting = sent(store, 4, 2)
    claims = claim(store, running)
    switches = store.ledger.switches
    # When an operator pauses the handler, then what runs goes on, and is counted
    switches.pause("hear", "ann")
    while switches.hold("hear", 10):
        pass
    assert switches.running("hear") == 2
    assert states(store, waiting) == ["paused"] * 2
    # And so if the handler is retired
    switches.unsubscribe("hear", "ann")
    assert switches.waiting("hear") == 2
    while switches.drop("hear", "ann", 10):
        pass
    assert states(store, waiting) == ["discarded"] * 2
    succeed(store, claims)
    assert states(store, running) == ["succeeded"] * 2


def test_a_worker_that_ends_hands_back_its_leases_and_no_others(store: Store) -> None:
    ours, theirs = sent(store, 4, 2)
    claim(store, ours)
    claim(store, theirs, worker="w2")
    assert store.ledger.inbox.release("w1") == 2
    assert states(store, ours) == ["pending"] * 2
    assert [store.is_running(one) for one in theirs] == [True] * 2


def test_the_relay_wakes_for_the_end_of_a_lease(store: Store) -> None:
    (group,) = sent(store, 2, 2)
    claim(store, group)
    due_in = store.ledger.outbox.due_in(copies=False)
    assert due_in is not None
    assert due_in <= HOUR
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_leases).values(until=text("now()")))
    assert store.ledger.outbox.due_in(copies=False) == NOW
