"""Dead letters: what operators do to the ledger."""

import json
from datetime import UTC, datetime, timedelta

from events.ledger.dead_letters import DeadLetterFilter
from support.store import OOPS, PAST, Store


def test_replaying_twice_acts_once_and_gives_all_attempts_back(store: Store) -> None:
    # Given a dead letter
    (event_id,) = store.dead()
    # When it is replayed by two clicks
    assert store.ledger.dead.replay(DeadLetterFilter(event_ids=[event_id]), "ann") == 1
    assert store.ledger.dead.replay(DeadLetterFilter(event_ids=[event_id]), "ann") == 0
    # Then tokens go on counting, but attempts begin anew; the old error stays until there is another outcome
    assert store.row(event_id).error == "no"
    claim = store.claim(store.take()[0], lease=PAST)
    assert (claim.token, claim.attempt) == (2, 1)
    store.ledger.recovery.expire_leases(10)
    assert store.row(event_id).state == "pending"
    store.claim(store.take()[0], lease=PAST)
    store.ledger.recovery.expire_leases(10)
    assert (store.row(event_id).state, store.row(event_id).replays) == ("dead", 1)


def test_discarding_is_for_good_and_once(store: Store) -> None:
    (event_id,) = store.dead()
    assert store.ledger.dead.discard(DeadLetterFilter(), "ann") == 1
    assert store.ledger.dead.discard(DeadLetterFilter(), "ann") == 0
    assert store.ledger.dead.replay(DeadLetterFilter(), "ann") == 0
    assert store.row(event_id).state == "discarded"


def test_dead_letters_are_found_newest_first_by_any_filter(store: Store) -> None:
    # Given three dead letters
    one, two, three = store.dead(3)
    box = store.ledger.dead
    # Then each field of the filter counts
    assert [letter.event_id for letter in box.find(DeadLetterFilter())] == [three, two, one]
    assert [letter.event_id for letter in box.find(DeadLetterFilter(limit=2))] == [three, two]
    assert [letter.event_id for letter in box.find(DeadLetterFilter(event_ids=(one,)))] == [one]
    assert box.count(DeadLetterFilter(handler="hear", event_type="Said")) == 3
    store.foreign("UPDATE event_deliveries SET event_type = NULL")  # as code did that knew no such column
    assert box.count(DeadLetterFilter(handler="hear", event_type="Said")) == 3
    assert box.count(DeadLetterFilter(handler="nobody")) == box.count(DeadLetterFilter(event_type="Sung")) == 0
    now, hour = datetime.now(UTC), timedelta(hours=1)
    for all_three in ({"aggregate_id": "a-1"}, {"error": "valueERR"}, {"error": "no"}, {"since": now - hour}):
        assert len(box.find(DeadLetterFilter(**all_three))) == 3  # type: ignore[arg-type]
    for nothing in ({"aggregate_id": "b"}, {"error": "%"}, {"before": now - hour}, {"place": "shop.sell"}):
        assert box.find(DeadLetterFilter(**nothing)) == []  # type: ignore[arg-type]
    (letter, *_) = box.find(DeadLetterFilter(limit=1))
    assert (letter.error_type, letter.error, letter.traceback) == ("ValueError", "no", "Traceback ...")
    assert (json.loads(letter.event_data), letter.queue, letter.attempts) == ({"n": 1}, "q", 1)
    assert letter.published_at is not None
    assert letter.published_at <= (letter.died_at or letter.published_at)


def test_a_limit_counts_and_replays_the_oldest(store: Store) -> None:
    one, two, three = store.dead(3)
    box = store.ledger.dead
    assert box.count(DeadLetterFilter(limit=2)) == 2
    assert box.replay(DeadLetterFilter(limit=2), "ann") == 2
    assert [store.row(event_id).state for event_id in (one, two, three)] == ["pending", "pending", "dead"]


def test_a_dead_letter_is_copied_once_for_every_death(store: Store) -> None:
    # Given a dead letter
    (event_id,) = store.dead()
    recovery = store.ledger.recovery
    letters = recovery.take_uncopied(10)
    assert [letter.event_id for letter in letters] == [event_id]
    # When it is marked; Then it is not copied again, until it was replayed and died again
    recovery.mark_copied(letters)
    assert recovery.take_uncopied(10) == []
    store.ledger.dead.replay(DeadLetterFilter(), "ann")
    store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    assert len(recovery.take_uncopied(10)) == 1
    # A copy of the death before does not count for this one
    recovery.mark_copied(letters)
    assert len(recovery.take_uncopied(10)) == 1


def test_what_waits_for_a_handler_moves_along_when_it_is_given_another_queue(store: Store) -> None:
    # Given a delivery that is sent to one queue and one that waits for it
    store.subscribe(queue="q")
    sent = store.publish()
    assert len(store.take()) == 1
    waiting = store.publish()
    store.ledger.outbox.fan_out(10)
    # When its handler subscribes with another queue
    store.subscribe(queue="elsewhere")
    # Then both are due there
    moved = store.take_due("elsewhere", 10)
    assert {wakeup.event_id for wakeup in moved} == {sent, waiting}
    assert store.take_due("q", 10) == []
