"""Deliveries of other messages that a worker takes along: they share a process, and are blamed alone."""

from datetime import timedelta

from events.ledger.records import Claim, Wakeup
from support.store import HOUR, OOPS, Store


def sent(store: Store, count: int) -> list[Wakeup]:
    """So many deliveries, each in a message of its own."""
    store.subscribe()
    for _ in range(count):
        store.publish()
    return store.take()


def along(store: Store, claims: list[Claim], most: int = 10) -> list[Claim]:
    return store.ledger.inbox.take_along(claims, most, "w1", HOUR)


def test_what_was_sent_is_taken_along_up_to_a_number_and_once(store: Store) -> None:
    # Given a worker that has one of five deliveries
    wakeups = sent(store, 5)
    first = store.claim(wakeups[0])
    # When it takes others along, then it has as many as it wanted
    taken = along(store, [first], 3)
    mine = {claim.envelope.id for claim in (first, *taken)}
    assert len(mine) == 4
    assert [(claim.token, claim.attempt, claim.handler) for claim in taken] == [(1, 1, "hear")] * 3
    # And their own messages bring nothing any more, but that of the fifth does
    brought = {one.event_id: store.ledger.inbox.claim("hear", {one.event_id: one.token}, "w2", HOUR) for one in wakeups}
    assert {event_id for event_id, claims in brought.items() if not claims} == mine
    # And all four can be finished as any other
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [first, *taken])
    assert {store.row(event_id).state for event_id in mine} == {"succeeded"}
    assert along(store, [first]) == []


def test_nothing_of_another_handler_and_nothing_paused_is_taken_along(store: Store) -> None:
    wakeups = sent(store, 2)
    first = store.claim(wakeups[0])
    store.ledger.switches.pause("hear", "me")
    assert along(store, [first]) == []


def test_who_must_run_alone_takes_nothing_along_and_is_not_taken(store: Store) -> None:
    # Given three deliveries, of which one was handed back to run alone
    wakeups = sent(store, 3)
    claims = [store.claim(one) for one in wakeups[:2]]
    store.ledger.inbox.hand_back(claims[:1], timedelta(0), alone=True)
    (again,) = store.take()
    # Then another one takes the third along, and not that one
    assert [claim.envelope.id for claim in along(store, claims[1:])] == [wakeups[2].event_id]
    # And that one takes none
    store.publish()
    store.take()
    alone = store.claim(again)
    assert alone.attempt == 1
    assert along(store, [alone]) == []


def test_whose_process_dies_in_company_is_not_blamed_and_comes_again_alone(store: Store) -> None:
    # Given a delivery whose worker has taken another along
    wakeups = sent(store, 2)
    first = store.claim(wakeups[0])
    along(store, [first])
    # When its process dies
    inbox = store.ledger.inbox
    assert inbox.abandon("hear", {first.envelope.id: first.token}, OOPS, timedelta(0)) == 1
    # Then its attempt doesn't count, and it comes alone
    row = store.row(first.envelope.id)
    assert (row.state, row.alone, row.attempts - row.attempts_before) == ("pending", True, 0)
    # And by itself the attempt counts
    (again,) = store.take()
    claim = store.claim(again)
    inbox.abandon("hear", {claim.envelope.id: claim.token}, OOPS, timedelta(0))
    row = store.row(first.envelope.id)
    assert (row.state, row.attempts - row.attempts_before) == ("pending", 1)


def test_what_is_due_and_was_not_sent_is_taken_along_too(store: Store) -> None:
    # Given a worker that has a delivery, and three that are due, of which one must run alone, and one is due later
    first, alone, later = (store.claim(one) for one in sent(store, 3))
    store.publish()
    store.ledger.outbox.fan_out(10)
    inbox = store.ledger.inbox
    inbox.hand_back([alone], timedelta(0), alone=True)
    inbox.hand_back([later], HOUR)
    # When it takes others along, then it gets what is due, and may run in company
    (taken,) = along(store, [first])
    assert (taken.attempt, store.row(taken.envelope.id).state) == (1, "running")
    # And nobody sends that any more
    assert [wakeup.event_id for wakeup in store.take()] == [alone.envelope.id]
    with inbox.begin() as connection:
        inbox.succeed(connection, [first, taken])


def test_what_a_dead_process_had_taken_along_is_handed_back_with_its_message(store: Store) -> None:
    # Given a process that has taken others along, of which one is done, and another process
    wakeups = sent(store, 5)
    inbox = store.ledger.inbox
    first, theirs = store.claim(wakeups[0]), inbox.claim("hear", {wakeups[1].event_id: 1}, "w2", HOUR)
    done, *taken = along(store, [first])
    with inbox.begin() as connection:
        inbox.succeed(connection, [done])
    # When it dies
    lost = inbox.abandon("hear", {first.envelope.id: first.token}, OOPS, timedelta(0), worker="w1")
    # Then all that ran there comes again at once, alone, with no attempt counted
    mine = [first, *taken]
    assert lost == len(mine) == 3
    for claim in mine:
        row = store.row(claim.envelope.id)
        assert (row.state, row.alone, row.attempts - row.attempts_before) == ("pending", True, 0)
    # And nothing else is touched
    assert store.row(done.envelope.id).state == "succeeded"
    assert store.row(theirs[0].envelope.id).state == "running"
