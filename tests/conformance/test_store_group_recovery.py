"""Several deliveries in one message, when the message or its worker is lost."""

from uuid import uuid4

import pytest
from sqlalchemy import update

from events.store.tables import event_deliveries
from support.messages_of_many import claim, sent, states, take
from support.store import HOUR, OOPS, PAST, Store, together


@pytest.mark.parametrize("max_attempts", [1, 2])
def test_a_group_whose_lease_ends_comes_again_one_by_one_and_uncounted(store: Store, max_attempts: int) -> None:
    # Given a group, and one that runs by itself, whose worker falls silent
    store.subscribe(max_attempts=max_attempts)
    store.publish(*(uuid4() for _ in range(4)))
    group, (single,) = take(store, 3)
    claim(store, group, lease=PAST)
    store.claim(single, lease=PAST)
    # When the leases end
    assert store.ledger.recovery.expire_leases(10) == 4
    # Then the attempt counts for that one only
    rows = [store.row(wakeup.event_id) for wakeup in group]
    assert [(row.state, row.alone, row.attempts - row.attempts_before) for row in rows] == [("pending", True, 0)] * 3
    assert [row.finished_at for row in rows] == [None] * 3
    row = store.row(single.event_id)
    assert (row.state, row.alone, row.attempts - row.attempts_before) == (
        "dead" if max_attempts == 1 else "pending", False, 1,
    )  # fmt: skip
    # And by itself each has all of its attempts, and dies by them
    for wakeup in [one for (one,) in take(store, 1) if one.event_id != single.event_id]:
        assert store.claim(wakeup, lease=PAST).attempt == 1
    store.ledger.recovery.expire_leases(10)
    assert states(store, group) == ["dead" if max_attempts == 1 else "pending"] * 3
    assert store.row(group[0].event_id).alone


def test_two_relays_expire_a_group_once(store: Store) -> None:
    (group,) = sent(store, 20, 20)
    claim(store, group, lease=PAST)
    assert sum(together(*[lambda: store.ledger.recovery.expire_leases(100)] * 2)) == 20
    assert {store.row(wakeup.event_id).attempts_before for wakeup in group} == {1}


def test_a_group_whose_process_died_comes_again_one_by_one_and_uncounted(store: Store) -> None:
    # Given a group of a handler with one attempt, of which one has succeeded already
    store.subscribe(max_attempts=1)
    store.publish(*(uuid4() for _ in range(3)))
    (group,) = take(store, 3)
    done, *_ = claim(store, group)
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [done])
    # When all that is at hand is its message
    store.ledger.inbox.abandon("hear", {one.event_id: one.token for one in group}, OOPS, HOUR)
    # Then the others are due at once, alone, with no attempt counted
    rows = [store.row(wakeup.event_id) for wakeup in group if wakeup.event_id != done.envelope.id]
    assert [(row.state, row.alone, row.attempts - row.attempts_before) for row in rows] == [("pending", True, 0)] * 2
    assert store.row(done.envelope.id).state == "succeeded"
    # And to say it again, or of another attempt, changes nothing
    again = [one for (one,) in take(store, 1)]
    claims = [store.claim(wakeup) for wakeup in again]
    store.ledger.inbox.abandon("hear", {one.event_id: one.token for one in group}, OOPS, HOUR)
    assert states(store, again) == ["running"] * 2
    assert [one.attempt for one in claims] == [1, 1]


def test_what_is_missing_is_counted_in_messages(store: Store) -> None:
    # Given three overdue messages of four, four and two deliveries, one after the other, and one that is not overdue
    first, second, third = (sent(store, count, 4, PAST)[0] for count in (4, 4, 2))
    (fresh,) = sent(store, 4, 4)
    recovery = store.ledger.recovery
    assert recovery.overdue() == {"q": 4}
    # When two messages are missing
    assert recovery.resend("q", 2) == 8
    # Then all deliveries of the two oldest are due, and the others are on their way still
    assert states(store, first + second) == ["pending"] * 8
    assert states(store, third + fresh) == ["sent"] * 6
    assert recovery.overdue() == {"q": 2}


def test_a_message_of_which_some_have_been_handed_back_is_still_one(store: Store) -> None:
    ((one, two, three),) = sent(store, 3, 3, PAST)
    store.ledger.outbox.hand_back([one], HOUR)
    assert store.ledger.recovery.overdue() == {"q": 1}
    assert store.ledger.recovery.resend("q", 1) == 2
    assert states(store, [two, three]) == ["pending"] * 2


def test_a_group_in_the_hand_of_a_living_worker_is_not_missing(store: Store) -> None:
    # Given two overdue messages, one of which a worker says it holds
    held, other = sent(store, 8, 4, PAST)
    store.ledger.recovery.renew(held, HOUR, "w1")
    # Then only the other is looked for
    assert store.ledger.recovery.overdue() == {"q": 1}
    assert store.ledger.recovery.resend("q", 1) == 4
    assert states(store, held) == ["sent"] * 4
    # When that worker falls silent; Then all of its message is sent again
    store.ledger.recovery.renew(held, PAST, "w1")
    assert store.ledger.recovery.resend("q", 0) == 4
    assert states(store, held + other) == ["pending"] * 8


def test_what_was_sent_before_messages_had_numbers_is_found_too(store: Store) -> None:
    # Given overdue deliveries that a relay of an older version has sent: each was a message, and none has a number
    groups = sent(store, 3, 1, PAST)
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_deliveries).values(message=None))
    # Then each counts, and is sent again when it is missing
    assert store.ledger.recovery.overdue() == {"q": 3}
    assert store.ledger.recovery.resend("q", 2) == 2
    assert sorted(states(store, [one for (one,) in groups])) == ["pending", "pending", "sent"]
