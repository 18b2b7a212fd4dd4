"""Claims, leases, fencing and outcomes: what workers do to the ledger."""

from uuid import uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from events.errors import LeaseLost
from events.ledger.dead_letters import DeadLetterFilter
from events.store.tables import event_store
from support.store import HOUR, NOW, OOPS, PAST, Store, envelope, make_due, together


def test_a_claim_needs_the_right_attempt_and_is_given_once(store: Store) -> None:
    # Given a sent delivery
    store.subscribe()
    event_id = store.publish()
    store.take()
    inbox = store.ledger.inbox
    # Then it can be claimed for its attempt, once
    assert inbox.claim("hear", {event_id: 2}, "w1", HOUR) == []
    assert inbox.claim("nobody", {event_id: 1}, "w1", HOUR) == []
    claims = together(*[lambda: inbox.claim("hear", {event_id: 1}, "w1", HOUR)] * 2)
    assert sorted(map(len, claims)) == [0, 1]
    assert (store.row(event_id).attempts, store.row(event_id).worker) == (1, "w1")


def test_success_commits_with_the_handlers_effects(store: Store) -> None:
    claim = store.running()
    with store.ledger.inbox.begin() as connection:
        store.ledger.events.append(connection, [envelope(uuid4(), "Effect")])
        store.ledger.inbox.succeed(connection, [claim])
    assert (store.row(claim.envelope.id).state, store.count()) == ("succeeded", 2)
    assert store.row(claim.envelope.id).finished_at is not None


def test_a_late_success_is_refused_and_its_effects_roll_back(store: Store) -> None:
    # Given a run whose lease ended, and another that took over
    late = store.running(lease=PAST)
    assert store.ledger.recovery.expire_leases(10) == 1
    second = store.claim(store.take()[0])
    # When the first one succeeds after all
    with pytest.raises(LeaseLost), store.ledger.inbox.begin() as connection:
        store.ledger.events.append(connection, [envelope(uuid4(), "Effect")])
        store.ledger.inbox.succeed(connection, [late])
    # Then nothing of it stays, nothing else it says counts, and the second one goes on
    assert store.count() == 1
    assert not store.ledger.inbox.extend([late], HOUR)
    assert not store.ledger.inbox.retry(late, OOPS, NOW)
    assert not store.ledger.inbox.bury(late, OOPS)
    store.ledger.inbox.abandon("hear", {late.envelope.id: late.token}, OOPS, NOW)
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [second])


def test_a_retry_is_due_after_its_delay_with_the_next_attempt(store: Store) -> None:
    claim = store.running()
    assert store.ledger.inbox.retry(claim, OOPS, HOUR)
    assert store.take() == []
    make_due(store)
    (wakeup,) = store.take()
    assert (wakeup.attempt, wakeup.token) == (2, 2)
    assert store.row(claim.envelope.id).error == "no"
    assert store.claim(wakeup).attempt == 2


def test_an_extended_lease_does_not_expire(store: Store) -> None:
    claim = store.running(lease=PAST)
    assert store.ledger.inbox.extend([claim], HOUR)
    assert store.ledger.recovery.expire_leases(10) == 0


def test_an_ended_lease_is_another_attempt_until_the_last(store: Store) -> None:
    # Given a handler with two attempts; When both end silently
    first = store.running(lease=PAST, max_attempts=2)
    assert store.ledger.recovery.expire_leases(10) == 1
    row = store.row(first.envelope.id)
    assert (row.state, row.error_type.rpartition(".")[2]) == ("pending", "WorkerLost")
    store.claim(store.take()[0], lease=PAST)
    assert store.ledger.recovery.expire_leases(10) == 1
    # Then it is a dead letter that names the worker and the attempt
    (letter,) = store.ledger.dead.find(DeadLetterFilter())
    assert (letter.attempts, letter.worker, letter.traceback) == (2, "w1", "")
    assert "w1" in letter.error
    assert "2" in letter.error


def test_two_relays_expire_a_lease_once(store: Store) -> None:
    store.running(lease=PAST)
    assert sum(together(*[lambda: store.ledger.recovery.expire_leases(10)] * 2)) == 1


def test_abandon_retries_or_buries_as_the_subscription_says(store: Store) -> None:
    # Given a handler with two attempts
    claim = store.running(max_attempts=2)
    event_id, inbox = claim.envelope.id, store.ledger.inbox
    # When only the message of each attempt is at hand
    inbox.abandon("hear", {event_id: 2}, OOPS, NOW)
    assert store.row(event_id).state == "running"
    inbox.abandon("hear", {event_id: 1}, OOPS, NOW)
    assert store.row(event_id).state == "pending"
    store.claim(store.take()[0])
    inbox.abandon("hear", {event_id: 2}, OOPS, NOW)
    # Then the first is a retry, the second a dead letter
    assert store.row(event_id).state == "dead"


def test_a_delivery_whose_event_was_deleted_is_a_dead_letter(store: Store) -> None:
    # Given a sent delivery; When somebody deletes its event
    store.subscribe()
    event_id = store.publish()
    (wakeup,) = store.take()
    store.foreign("DELETE FROM event_store")
    # Then there is nothing to run, and it can be seen
    assert store.ledger.inbox.claim("hear", {event_id: wakeup.token}, "w1", HOUR) == []
    (letter,) = store.ledger.dead.find(DeadLetterFilter())
    assert (letter.event_id, letter.event_type) == (event_id, "")
    assert (letter.error_type, letter.traceback) == ("events.errors.EventDataError", "")
    assert letter.error == f"event {event_id} is no longer in event_store"


def test_contention_is_told_from_other_errors(store: Store) -> None:
    # Given two transactions that read first, then write the same row (SQLite), or don't wait for it (PostgreSQL)
    store.publish()
    change = update(event_store).values(aggregate_id="b")
    with store.ledger.engine.connect() as one, store.ledger.engine.connect() as two:
        for connection in (one, two):
            connection.execute(select(event_store.c.event_type)).all()
        one.execute(change)
        if store.sqlite:
            one.commit()
            with pytest.raises(DBAPIError) as lost:
                two.execute(change)
        else:
            with pytest.raises(DBAPIError) as lost:
                two.execute(select(event_store.c.id).with_for_update(nowait=True))
        two.rollback()
        with pytest.raises(DBAPIError) as other:
            two.execute(text("SELECT nonsense"))
    # Then that is contention, and other errors are not
    assert store.ledger.inbox.is_contention(lost.value)
    assert not store.ledger.inbox.is_contention(other.value)
    assert not store.ledger.inbox.is_contention(ValueError("database is locked"))


def test_a_delivery_handed_back_has_not_used_its_attempt(store: Store) -> None:
    # Given a running delivery of a handler with two attempts
    claim = store.running(max_attempts=2)
    # When it is handed back, twice
    assert store.ledger.inbox.hand_back([claim], NOW)
    assert not store.ledger.inbox.hand_back([claim], NOW)
    # Then it is due, its next run is the first again, and its token has grown
    again = store.claim(store.take()[0])
    assert (again.attempt, again.token) == (1, 2)


def test_what_a_worker_runs_is_released_and_nothing_of_a_namesake(store: Store) -> None:
    # Given deliveries run by two workers, the name of one of which is a pattern that fits the other
    store.subscribe()
    claims = {}
    for worker in ("w_1/a.1", "w_1/a.2", "wx1/a.1"):
        store.publish()
        (wakeup,) = store.take()
        (claims[worker],) = store.ledger.inbox.claim(wakeup.handler, {wakeup.event_id: wakeup.token}, worker, HOUR)
    # When the first is ended
    assert store.ledger.inbox.release("w_1/a.") == 2
    # Then only what it ran is due again
    states = {worker: store.row(claim.envelope.id).state for worker, claim in claims.items()}
    assert states == {"w_1/a.1": "pending", "w_1/a.2": "pending", "wx1/a.1": "running"}


def test_a_success_that_was_committed_is_known_as_one(store: Store) -> None:
    # Given an attempt
    claim = store.running()
    assert not store.ledger.inbox.succeeded(claim)
    # When it commits
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [claim])
    # Then that can be read back
    assert store.ledger.inbox.succeeded(claim)


def test_a_lost_worker_is_named_with_the_attempt_and_no_traceback(store: Store) -> None:
    claim = store.running(lease=PAST)
    store.ledger.recovery.expire_leases(10)
    row = store.row(claim.envelope.id)
    assert (row.error_type, row.traceback, row.place) == ("events.errors.WorkerLost", "", "")
    assert row.error == "worker w1 died, or let its lease run out, during attempt 1"
