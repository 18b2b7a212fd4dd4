"""Several deliveries in one message: what the ledger remembers of it, and how they are claimed and done."""

from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import ResourceClosedError

from events.errors import LeaseLost
from events.ledger.records import Claim, Group, State
from events.store.tables import event_deliveries
from support.messages_of_many import claim, sent, states, take
from support.store import HOUR, NOW, PAST, Store, envelope, make_due, together


def test_each_message_has_a_number_of_its_own(store: Store) -> None:
    # Given ten deliveries in messages of three
    groups = sent(store, 10, 3)
    # Then those of one message have one number, and no two messages have the same
    assert [len(group) for group in groups] == [3, 3, 3, 1]
    numbers = [{store.row(wakeup.event_id).message for wakeup in group} for group in groups]
    assert [len(of_one) for of_one in numbers] == [1] * 4
    assert len(set.union(*numbers)) == 4
    assert None not in set.union(*numbers)
    # When they are sent again
    before = set.union(*numbers)
    store.ledger.outbox.hand_back([wakeup for group in groups for wakeup in group], NOW)
    # Then that is another message
    again = take(store, 5)
    assert not before & {store.row(wakeup.event_id).message for group in again for wakeup in group}


def test_what_is_left_out_of_the_groups_stays_due(store: Store) -> None:
    # Given six due deliveries
    store.subscribe()
    store.publish(*(uuid4() for _ in range(6)))
    outbox = store.ledger.outbox
    outbox.fan_out(10)
    # When two of them are sent
    with outbox.due("q", 10) as due:
        group = (due.deliveries[1].wakeup, due.deliveries[3].wakeup)
        due.mark([group], HOUR)
    # Then the others wait as before
    rest = [one.wakeup for one in due.deliveries if one.wakeup not in group]
    assert states(store, group) == ["sent"] * 2
    assert states(store, rest) == ["pending"] * 4
    assert [store.row(wakeup.event_id).message for wakeup in rest] == [None] * 4
    assert outbox.waiting() == {"q": NOW}
    assert take(store, 1) == [(wakeup,) for wakeup in rest]


def test_when_none_is_to_be_sent_nothing_changes(store: Store) -> None:
    store.subscribe()
    store.publish()
    store.ledger.outbox.fan_out(10)
    with store.ledger.outbox.due("q", 10) as due:
        due.mark([], HOUR)
    assert len(take(store, 1)) == 1


def test_what_was_marked_by_a_block_that_failed_is_due_as_before(store: Store) -> None:
    # Given three due deliveries
    store.subscribe()
    store.publish(*(uuid4() for _ in range(3)))
    store.ledger.outbox.fan_out(10)
    # When they are marked, and then something goes wrong before the block ends
    with pytest.raises(ZeroDivisionError), store.ledger.outbox.due("q", 10) as due:
        due.mark([tuple(one.wakeup for one in due.deliveries)], HOUR)
        raise ZeroDivisionError
    # Then none of them is sent, and whoever asks next gets all of them
    wakeups = [one.wakeup for one in due.deliveries]
    assert states(store, wakeups) == ["pending"] * 3
    assert take(store, 1) == [(wakeup,) for wakeup in wakeups]


def test_when_the_block_has_ended_nothing_can_be_marked_any_more(store: Store) -> None:
    # Given a block that left a delivery as it was
    store.subscribe()
    store.publish()
    store.ledger.outbox.fan_out(10)
    with store.ledger.outbox.due("q", 10) as due:
        (only,) = due.deliveries
    # When it is marked all the same; Then that is refused: another relay may have it by now
    with pytest.raises(ResourceClosedError):
        due.mark([(only.wakeup,)], HOUR)
    assert states(store, [only.wakeup]) == ["pending"]


@pytest.mark.parametrize("url", ["postgres"], indirect=True)  # SQLite lets one write at a time
def test_what_is_found_by_one_relay_is_passed_over_by_another_while_the_block_runs(store: Store) -> None:
    # Given four due deliveries, two of which a relay has found
    store.subscribe()
    store.publish(*(uuid4() for _ in range(4)))
    outbox = store.ledger.outbox
    outbox.fan_out(10)
    with outbox.due("q", 2) as first:
        # When another looks; Then it finds the others at once
        with outbox.due("q", 10) as second:
            second.mark([tuple(one.wakeup for one in second.deliveries)], HOUR)
        assert len(first.deliveries) == len(second.deliveries) == 2
        assert not {one.wakeup for one in first.deliveries} & {one.wakeup for one in second.deliveries}
    # And what the first has left is due to whoever comes next
    assert [wakeup for (wakeup,) in take(store, 1)] == [one.wakeup for one in first.deliveries]


def test_the_grouping_is_told_how_long_each_is_due_and_whether_it_goes_alone(store: Store) -> None:
    # Given a delivery that was handed back to go alone, and one that is due for a while
    ((wakeup,),) = sent(store, 1, 1)
    store.ledger.inbox.hand_back([store.claim(wakeup)], NOW, alone=True)
    make_due(store)
    second = store.publish()
    store.ledger.outbox.fan_out(10)
    with store.ledger.outbox.due("q", 10) as due:
        found = due.deliveries
    # Then it is told so, of the one that is due first before the other
    assert [(one.wakeup.event_id, one.wakeup.token, one.alone) for one in found] == [
        (wakeup.event_id, 2, True), (second, 1, False),
    ]  # fmt: skip
    assert found[0].age > found[1].age >= 0


def test_two_relays_at_once_never_share(store: Store) -> None:
    # Given 200 due deliveries
    store.subscribe()
    store.publish(*(uuid4() for _ in range(200)))
    store.ledger.outbox.fan_out(1000)

    # When two relays take them at once, several to a message
    def all_of_it() -> list[Group]:
        return [group for batch in iter(lambda: take(store, 4, limit=10), []) for group in batch]

    first, second = together(all_of_it, all_of_it)
    # Then no delivery is in two messages, none was left, and the ledger knows which is in which
    ids = [wakeup.event_id for group in first + second for wakeup in group]
    assert len(ids) == len(set(ids)) == 200
    with store.ledger.engine.connect() as connection:
        rows = connection.execute(select(event_deliveries.c.event_id, event_deliveries.c.message)).all()
    number = {row.event_id: row.message for row in rows}
    assert {len({number[wakeup.event_id] for wakeup in group}) for group in first + second} == {1}
    assert len(set(number.values())) == len(first + second)


def test_a_claim_says_whether_it_is_of_a_group(store: Store) -> None:
    # Given a message of three, and one of one
    group, single = sent(store, 4, 3)
    # When they are claimed
    claims = claim(store, group)
    assert {one.envelope.id for one in claims} == {wakeup.event_id for wakeup in group}
    claim(store, single)
    assert {store.is_running(wakeup) for wakeup in [*group, *single]} == {True}
    # Then the ledger knows which run together, also when they run for long
    store.ledger.inbox.extend(claims, HOUR)
    assert {store.row(wakeup.event_id).state for wakeup in group} == {State.RUNNING}
    assert [store.row(wakeup.event_id).grouped for wakeup in [*group, *single]] == [True] * 3 + [False]
    # And one that comes again by itself is of no group any more
    store.ledger.inbox.hand_back([Claim(envelope(group[0].event_id), "hear", 1, 1, "w1")], NOW)
    ((again,),) = take(store, 1)
    assert store.claim(again).token == 2
    assert not store.row(again.event_id).grouped


def test_of_a_group_only_what_still_waits_for_this_attempt_is_claimed(store: Store) -> None:
    # Given a message of four, of which one runs, one has been handed back and one is for another attempt
    ((running, back, other, good),) = sent(store, 4, 4)
    store.claim(running)
    store.ledger.outbox.hand_back([back], NOW)
    tokens = {one.event_id: 1 for one in (running, back, good)} | {other.event_id: 2}
    # Then only the fourth is claimed
    claims = store.ledger.inbox.claim("hear", tokens, "w2", HOUR)
    assert [one.envelope.id for one in claims] == [good.event_id]
    assert store.row(running.event_id).worker == "w1"


def test_several_succeed_together_or_not_at_all(store: Store) -> None:
    # Given three claims, one of which was lost to another worker
    (group,) = sent(store, 3, 3)
    claims = claim(store, group)
    store.ledger.inbox.extend([claims[1]], PAST)
    store.ledger.recovery.expire_leases(10)
    ((again,),) = take(store, 1)
    second = store.claim(again)
    # When all three succeed; Then that is refused, with the effects
    with pytest.raises(LeaseLost, match="and those of 2 others of its group"), store.ledger.inbox.begin() as connection:
        store.ledger.events.append(connection, [envelope(uuid4(), "Effect")])
        store.ledger.inbox.succeed(connection, claims)
    assert {store.is_running(wakeup) for wakeup in group} == {True}
    assert (store.row(again.event_id).attempts, store.count()) == (2, 3)
    # And those who own them can
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [second, claims[0], claims[2]])
    assert {store.row(one.envelope.id).state for one in claims} == {State.SUCCEEDED}


def test_handing_back_a_group_takes_only_what_is_still_ours(store: Store) -> None:
    # Given three claims, of which one is done
    (group,) = sent(store, 3, 3)
    done, *others = claim(store, group)
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [done])
    # When all are handed back, twice
    assert store.ledger.inbox.hand_back([done, *others], NOW, alone=True) == 2
    assert store.ledger.inbox.hand_back([done, *others], NOW, alone=True) == 0
    # Then that counts once
    rows = [store.row(one.envelope.id) for one in others]
    assert [(row.state, row.attempts_before, row.alone) for row in rows] == [("pending", 1, True)] * 2
    assert (store.row(done.envelope.id).state, store.row(done.envelope.id).alone) == ("succeeded", False)


def test_extending_a_group_extends_each(store: Store) -> None:
    (group,) = sent(store, 3, 3)
    claims = claim(store, group, lease=PAST)
    assert store.ledger.inbox.extend(claims, HOUR) == 3
    assert store.ledger.recovery.expire_leases(10) == 0
