"""What became of an event: every attempt that failed, what operators did, what it caused; and what failed alike."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update

from events.definition.ids import uuid7
from events.errors import NoSuchEvent
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.history import EventFilter, timeline
from events.ledger.identity import SENT_AS, received_id
from events.ledger.records import Failure
from events.operating.inspection import Inspection
from events.store.tables import event_store
from support.messages_of_many import claim, sent
from support.store import HOUR, NOW, OOPS, PAST, Store, envelope


def test_every_attempt_is_remembered_with_its_worker_and_its_error(store: Store) -> None:
    # Given an event that failed, was lost with its worker, and died; and that an operator replayed
    store.subscribe(max_attempts=3)
    event_id = store.publish()
    store.ledger.inbox.retry(store.claim(store.take()[0]), OOPS, NOW)
    store.claim(store.take()[0], lease=PAST)
    store.ledger.recovery.expire_leases(10)
    store.ledger.inbox.bury(store.claim(store.take()[0]), Failure("KeyError", "k", "Traceback", "shop.sell"))
    assert store.ledger.dead.replay(DeadLetterFilter(), "ann@shop") == 1
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [store.claim(store.take()[0])])
    # When its history is read
    event = store.ledger.history.event(event_id)
    # Then it has all of it
    assert event is not None
    assert [(one.attempt, one.outcome, one.worker, one.error_type, one.place) for one in event.attempts] == [
        (1, "retry", "w1", "ValueError", ""),
        (2, "retry", "w1", "events.errors.WorkerLost", ""),
        (3, "dead", "w1", "KeyError", "shop.sell"),
    ]
    assert [(one.action, one.actor, one.handler) for one in event.actions] == [("replay", "ann@shop", "hear")]
    # And as one line of time
    assert [one.what for one in timeline(event)] == [
        "published", "fanned out", "started", "failed", "started", "failed", "started", "failed, dead", "replayed",
        "started", "succeeded",
    ]  # fmt: skip


def test_of_a_group_that_was_lost_each_has_its_attempt_which_does_not_count(store: Store) -> None:
    (group,) = sent(store, 2, 2)
    claim(store, group, lease=PAST)
    store.ledger.recovery.expire_leases(10)
    for wakeup in group:
        event = store.ledger.history.event(wakeup.event_id)
        assert event is not None
        assert [(one.attempt, one.outcome) for one in event.attempts] == [(1, "handed back")]


def test_an_attempt_that_is_no_longer_ours_leaves_no_trace(store: Store) -> None:
    # Given a claim that another attempt has taken over
    late = store.running(lease=PAST)
    store.ledger.recovery.expire_leases(10)
    # When it reports its failure after all
    assert not store.ledger.inbox.retry(late, OOPS, NOW)
    # Then only its lost lease is remembered
    event = store.ledger.history.event(late.envelope.id)
    assert event is not None
    assert [one.error_type for one in event.attempts] == ["events.errors.WorkerLost"]


def test_what_an_event_caused_is_found_with_it(store: Store) -> None:
    # Given an event, and two that its handlers published
    first = store.publish()
    with store.ledger.events.begin() as connection:
        caused = [replace(envelope(uuid4(), "Sung"), metadata=json.dumps({"causation_id": str(first)})) for _ in "ab"]
        store.ledger.events.append(connection, caused)
    event = store.ledger.history.event(first)
    assert event is not None
    assert {one.event_id for one in event.caused} == {one.id for one in caused}
    assert [one.what for one in timeline(event)] == ["published", "caused", "caused"]


def test_what_could_never_be_sent_says_so(store: Store) -> None:
    store.subscribe()
    event_id = store.publish()
    store.ledger.outbox.give_up(store.take()[0], Failure("events.errors.Unsendable", "too long", ""))
    event = store.ledger.history.event(event_id)
    assert event is not None
    assert timeline(event)[-1].detail == "never sent: too long"


def test_an_id_that_nobody_published_is_nothing(store: Store) -> None:
    assert store.ledger.history.event(uuid4()) is None


def test_events_are_found_by_each_field_newest_first(store: Store) -> None:
    # Given an event, and one of a minute before
    one, two = store.publish(), store.publish(event_type="Sung")
    history, hour, now = store.ledger.history, timedelta(hours=1), datetime.now(UTC)
    with store.ledger.events.begin() as connection:
        before = update(event_store).where(event_store.c.id == one)
        connection.execute(before.values(created_at=now - timedelta(minutes=1)))
    assert [found.event_id for found in history.find(EventFilter(aggregate_id="a-1", since=now - hour))] == [two, one]
    assert [found.event_id for found in history.find(EventFilter(limit=1))] == [two]
    assert [found.event_id for found in history.find(EventFilter(event_type="Said"))] == [one]
    # And so they are when one of them is fanned out, and the other is not yet
    store.foreign("UPDATE event_store SET processed = true WHERE event_type = 'Said'")
    assert [found.event_id for found in history.find(EventFilter())] == [two, one]
    assert [found.event_id for found in history.find(EventFilter(limit=1))] == [two]
    for nothing in (EventFilter(aggregate_id="b"), EventFilter(since=now + hour), EventFilter(before=now - hour)):
        assert history.find(nothing) == []


def test_what_failed_alike_is_a_group(store: Store) -> None:
    # Given three dead letters of one kind and one of another, of which one died again after a replay
    store.dead(3)
    store.ledger.dead.replay(DeadLetterFilter(limit=1), "ann")
    store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    store.publish()
    store.ledger.inbox.bury(store.claim(store.take()[0]), replace(OOPS, place="shop.sell"))
    # When they are grouped
    first, second = store.ledger.dead.groups(DeadLetterFilter())
    # Then handler, exception and place make the group, which has the same key at any time
    assert (first.count, first.replayed, first.error_type, first.place) == (3, 1, "ValueError", "")
    assert (second.count, second.replayed, second.place) == (1, 0, "shop.sell")
    assert first.key != second.key
    assert first.first_died_at is not None
    assert first.last_died_at is not None
    assert first.first_died_at < first.last_died_at
    assert [group.key for group in store.ledger.dead.groups(DeadLetterFilter(place="shop.sell"))] == [second.key]


def test_what_was_discarded_can_be_restored_once(store: Store) -> None:
    (event_id,) = store.dead()
    box = store.ledger.dead
    assert box.restore(DeadLetterFilter(event_ids=[event_id]), "ann") == 0
    assert box.discard(DeadLetterFilter(event_ids=[event_id]), "ann") == 1
    assert box.restore(DeadLetterFilter(event_ids=[event_id]), "bob") == 1
    assert box.restore(DeadLetterFilter(event_ids=[event_id]), "bob") == 0
    assert box.count(DeadLetterFilter()) == 1
    event = store.ledger.history.event(event_id)
    assert event is not None
    assert [(one.action, one.actor) for one in event.actions] == [("discard", "ann"), ("restore", "bob")]


def test_what_a_corrected_copy_replaced_is_not_restored_but_the_copy_is(store: Store) -> None:
    # Given a dead letter that was corrected, whose copy died, was corrected again, and whose second copy was discarded
    box, bodies, ids = store.ledger.dead, ('{"a": 1}', '{"a": 2}'), [*store.dead()]
    for body in bodies:
        ids.append(uuid7())
        assert box.correct(ids[-2], "hear", body, ids[-1], "ann")
        store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    assert box.discard(DeadLetterFilter(), "ann") == 1
    # When all of them are restored
    # Then only the last one is a dead letter again: what it replaced would run beside it
    assert box.restore(DeadLetterFilter(event_ids=ids), "bob") == 1
    assert [letter.event_id for letter in box.find(DeadLetterFilter())] == [ids[-1]]


def test_what_is_pruned_takes_its_history_along(store: Store) -> None:
    # Given an event that failed once, was replayed, and has succeeded an hour ago
    store.subscribe(max_attempts=1)
    event_id = store.publish()
    store.ledger.inbox.bury(store.claim(store.take()[0]), OOPS)
    store.ledger.dead.replay(DeadLetterFilter(), "ann")
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [store.claim(store.take()[0], HOUR)])
    # When everything finished is pruned
    assert [pruned.events for pruned in store.ledger.retention.prune(timedelta(0), 10)] == [1]
    # Then nothing is left of it
    assert store.ledger.history.event(event_id) is None
    for table in ("event_attempts", "event_actions"):
        with store.ledger.engine.connect() as connection:
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_an_event_from_elsewhere_is_found_by_the_id_that_it_has_there(store: Store) -> None:
    # Given events of two senders who use the same id, and one that has that id here
    own = uuid4()
    of = {source: received_id(source, str(own)) for source in ("/a", "/b")}
    told = {source: json.dumps({"bridge": "redis", "source": source, SENT_AS: str(own)}) for source in of}
    store.ledger.events.append_alone([replace(envelope(of[source]), metadata=told[source]) for source in of])
    called = Inspection(store.ledger.history, dict).called
    # When somebody asks for it, in whatever spelling, then both are found; the one that has it here goes first
    for spelling in (str(own), str(own).upper(), own.hex):
        assert {one.event_id for one in called(spelling)} == set(of.values())
        found = store.ledger.history.find(EventFilter(sender_id=spelling, event_type="Said"))
        assert {one.event_id for one in found} == set(of.values())
    store.publish(own)
    assert [one.event_id for one in called(str(own))] == [own]
    assert [one.event_id for one in called(str(of["/a"]))] == [of["/a"]]
    with pytest.raises(NoSuchEvent):
        called("17")
    # And what it caused where it came from belongs to it here
    caused = replace(envelope(uuid4()), metadata=json.dumps({"causation_id": str(own)}))
    store.ledger.events.append_alone([caused])
    event = store.ledger.history.event(of["/a"])
    assert event is not None
    assert [one.event_id for one in event.caused] == [caused.id]
