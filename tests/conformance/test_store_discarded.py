"""What was discarded: it is found as dead letters are, and becomes one again, once, whoever else is at it."""

from dataclasses import replace
from uuid import UUID, uuid4

from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.parked import Parked, ParkedFilter
from events.ledger.records import Failure
from events.operating.dead_letters import DeadLetters
from support.store import OOPS, Store, together

DISCARDED, ALL = DeadLetterFilter(discarded=True), DeadLetterFilter()
OTHER = Failure("KeyError", "other", "Traceback ...", "shop.sell")


def died(store: Store, why: Failure, count: int = 1) -> list[UUID]:
    ids = []
    for _ in range(count):
        store.subscribe()
        store.publish()
        claim = store.claim(store.take()[0])
        assert store.ledger.inbox.bury(claim, why)
        ids.append(claim.envelope.id)
    return ids


def letters(store: Store) -> DeadLetters:
    return DeadLetters(store.ledger.dead, dict)


def test_it_is_found_apart_from_dead_letters(store: Store) -> None:
    # Given two that were discarded, and one that was not
    (one, two), (dead,) = died(store, OOPS, 2), died(store, OTHER)
    letters(store).discard(DeadLetterFilter(event_ids=(one, two)), "ann")
    # Then each is where it belongs
    assert {found.event_id for found in letters(store).find(DISCARDED)} == {one, two}
    assert [found.event_id for found in letters(store).find()] == [dead]
    assert (letters(store).count(DISCARDED), letters(store).count()) == (2, 1)
    assert [(group.error_type, group.count) for group in letters(store).groups(DISCARDED)] == [("ValueError", 2)]
    assert letters(store).count(replace(DISCARDED, error="key")) == 0


def test_a_group_or_what_a_filter_says_is_restored(store: Store) -> None:
    # Given two groups that were discarded
    alike, (other,) = died(store, OOPS, 3), died(store, OTHER)
    letters(store).discard(ALL, "ann")
    key = next(group.key for group in letters(store).groups(DISCARDED) if group.error_type == "ValueError")
    # When one is restored
    done = []
    group = letters(store).of_group(key, DISCARDED)
    assert letters(store).restore(group, "bob", progress=lambda *so_far: done.append(so_far)) == 3
    # Then it is dead again, and the other is not; a second time there is none
    assert {store.row(event_id).state for event_id in alike} == {"dead"}
    assert store.row(other).state == "discarded"
    assert done[-1] == (3, 3)
    assert letters(store).restore(group, "bob") == 0
    assert letters(store).restore(DeadLetterFilter(handler="nobody"), "bob") == 0
    assert letters(store).restore(ALL, "bob") == 1


def test_two_operators_restore_each_once(store: Store) -> None:
    died(store, OOPS, 4)
    letters(store).discard(ALL, "ann")
    counts = together(*(lambda who=who: letters(store).restore(ALL, who) for who in ("ann", "bob")))  # type: ignore[misc]
    assert sum(counts) == 4
    assert store.count_of("event_actions", "action = 'restore'") == 4


def test_what_a_corrected_copy_replaced_stays_as_it_is(store: Store) -> None:
    # Given one that was discarded for the sake of a corrected copy, and one that was not
    replaced, other = died(store, OOPS, 2)
    assert store.ledger.dead.correct(replaced, "hear", '{"n": 2}', uuid4(), "ann")
    letters(store).discard(ALL, "ann")
    # Then it is not among what can be restored, and is not
    assert [found.event_id for found in letters(store).find(DISCARDED)] == [other]
    assert letters(store).restore(ALL, "ann") == 1
    assert store.row(replaced).state == "discarded"


def test_replaying_and_discarding_never_touch_it(store: Store) -> None:
    (event_id,) = died(store, OOPS)
    letters(store).discard(ALL, "ann")
    assert letters(store).replay(DISCARDED, "ann") == 0
    assert letters(store).discard(DISCARDED, "ann") == 0
    assert store.row(event_id).state == "discarded"


def test_ids_are_found_between_two(store: Store) -> None:
    # Given events whose ids begin alike, one of them discarded
    ids = [UUID(f"01a22222-0000-7000-8000-00000000000{last}") for last in "123"]
    store.subscribe()
    store.subscribe("see")
    store.publish(*ids, uuid4())
    for wakeup in store.take():
        store.ledger.inbox.bury(store.claim(wakeup), OOPS)
    letters(store).discard(DeadLetterFilter(event_ids=(ids[2],)), "ann")
    first, last = UUID("01a22222" + 24 * "0"), UUID("01a22222" + 24 * "f")
    # Then each is found once, in order, and no more than are asked for
    assert store.ledger.history.between(first, last, 10) == ids
    assert store.ledger.history.between(first, last, 2) == ids[:2]
    assert store.ledger.history.between(ids[1], ids[1], 10) == [ids[1]]
    assert store.ledger.dead.between(first, last, 10) == ids[:2]
    assert store.ledger.dead.between(first, last, 10, discarded=True) == ids[2:]


def test_parked_messages_that_were_discarded_are_parked_again(store: Store) -> None:
    # Given two that were discarded, one that was replayed and one that is parked
    lot = store.ledger.parked
    ids = [uuid4() for _ in range(4)]
    for event_id, reason in zip(ids, ("a", "b", "b", "a"), strict=True):
        lot.park(Parked(event_id, "q", reason, "?", b"x", {}))
    assert lot.discard(ParkedFilter(ids=ids[:2])) == 2
    assert lot.replay(ParkedFilter(ids=[ids[2]]), lambda *_: True) == 1
    gone = ParkedFilter(discarded=True)
    # Then they are told apart
    assert {one.id for one in lot.find(gone)} == set(ids[:2])
    assert (lot.counts(discarded=True), lot.counts()) == ({"a": 1, "b": 1}, {"a": 1})
    nil, most = UUID(int=0), UUID(int=2**128 - 1)
    assert lot.between(nil, most, 9, discarded=True) == sorted(ids[:2])
    assert lot.between(nil, most, 9) == ids[3:]
    # And only they are parked again, once, and can be replayed
    assert lot.discard(replace(gone, ids=ids[:2])) == 0
    assert lot.restore(ParkedFilter(reason="b")) == 1
    assert together(lambda: lot.restore(ParkedFilter()), lambda: lot.restore(ParkedFilter())) in ([1, 0], [0, 1])
    assert {one.id for one in lot.find(ParkedFilter())} == {*ids[:2], ids[3]}
    assert lot.replay(ParkedFilter(ids=ids[:1]), lambda *_: True) == 1
