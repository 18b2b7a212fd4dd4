"""The fan-out of a backlog: the relay sees the deliveries before they are stored, and says what is sent of them."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, make_url, select, update

from events.ledger.records import FannedOut, Group
from events.store.tables import event_deliveries, event_store, event_subscriptions
from support.store import HOUR, Store, together


def published(store: Store, count: int, event_type: str = "Said") -> list[UUID]:
    return sorted(store.publish(uuid4(), event_type=event_type) for _ in range(count))


def arrive(store: Store, limit: int = 1000, **options: Any) -> FannedOut:
    """Fan out, and send all that may be sent, the deliveries of each handler in one message."""
    with store.ledger.outbox.arriving(limit, **options) as new:
        by_handler: dict[str, list[Any]] = {}
        for due in new.deliveries:
            by_handler.setdefault(due.wakeup.handler, []).append(due.wakeup)
        new.mark([tuple(wakeups) for wakeups in by_handler.values()], HOUR)
    return new.fanned_out


def state_of(store: Store, event_id: UUID, handler: str = "") -> str:
    return str(store.row(event_id, handler).state)


def ids_of(groups: Any) -> list[UUID]:
    return sorted(wakeup.event_id for group in groups for wakeup in group)


def test_what_is_marked_is_stored_as_sent_and_the_rest_waits(store: Store) -> None:
    # Given events with two handlers
    store.subscribe("hear")
    store.subscribe("note")
    ids = published(store, 6)
    # When a relay sends the deliveries of one handler in two messages
    with store.ledger.outbox.arriving(1000) as new:
        wakeups = [one.wakeup for one in new.deliveries if one.wakeup.handler == "hear"]
        assert len(new.deliveries) == 12
        groups: list[Group] = [tuple(wakeups[:4]), tuple(wakeups[4:])]
        new.mark(groups, HOUR)
    # Then these are sent, each with the number of its message, and the others wait
    assert (new.fanned_out.events, list(new.fanned_out.sent), new.fanned_out.waiting) == (6, groups, 6)
    assert new.fanned_out.made == {("Said", "hear"): 6, ("Said", "note"): 6}
    rows = {event_id: store.row(event_id, "hear") for event_id in ids}
    assert {row.state for row in rows.values()} == {"sent"}
    for group in groups:
        assert len({rows[one.event_id].message for one in group}) == 1
    assert len({row.message for row in rows.values()}) == 2
    assert {row.sent_at == row.created_at < row.due_at for row in rows.values()} == {True}
    assert {state_of(store, event_id, "note") for event_id in ids} == {"pending"}
    assert ids_of([store.take_due("q", 100)]) == ids
    # And the messages are claimed as any other
    assert len(store.ledger.inbox.claim("hear", {one.event_id: 1 for one in groups[0]}, "w1", HOUR)) == 4


def test_what_nobody_marks_waits(store: Store) -> None:
    store.subscribe()
    published(store, 3)
    with store.ledger.outbox.arriving(1000) as new:
        pass
    assert new.fanned_out == FannedOut(3, (), 3)
    assert len(store.take_due("q", 10)) == 3


def test_an_error_within_leaves_all_as_it_was(store: Store) -> None:
    store.subscribe()
    published(store, 3)
    with suppress(ZeroDivisionError), store.ledger.outbox.arriving(1000) as new:
        new.mark([tuple(one.wakeup for one in new.deliveries)], HOUR)
        raise ZeroDivisionError
    assert arrive(store).events == 3


def test_who_is_paused_or_away_gets_nothing_yet(store: Store) -> None:
    # Given a handler that an operator paused, one that no living worker has, and one that works
    for name in ("hear", "note", "see"):
        store.subscribe(name)
    store.ledger.switches.pause("hear", "ann")
    with store.ledger.events.begin() as connection:
        gone = update(event_subscriptions).where(event_subscriptions.c.handler == "note")
        connection.execute(gone.values(orphaned_at=event_subscriptions.c.updated_at))
    (event_id,) = published(store, 1)
    # When their event is fanned out, then only the last is sent to
    assert {group[0].handler for group in arrive(store).sent} == {"see"}
    assert [state_of(store, event_id, name) for name in ("hear", "note", "see")] == ["paused", "pending", "sent"]


def test_only_some_handlers_and_queues_are_sent_to(store: Store) -> None:
    # Given handlers in two queues
    store.subscribe("hear")
    store.subscribe("note")
    store.subscribe("see", queue="slow")
    published(store, 2)
    # When a worker that has two of them, and reads one queue, feeds itself
    new = arrive(store, handlers={("hear", "Said"), ("see", "Said")}, queues={"q"})
    # Then it gets what it can run, and the rest waits for others
    assert {group[0].handler for group in new.sent} == {"hear"}
    assert new.waiting == 4


def test_events_that_only_full_queues_want_are_left_alone(store: Store) -> None:
    # Given an event for one queue, one for another, and one for both
    store.subscribe("hear", event_type="Said")
    store.subscribe("see", event_type="Seen", queue="slow")
    for queue in ("q", "slow"):
        store.subscribe(f"both.{queue}", event_type="Both", queue=queue)
    said, seen, both = (store.publish(event_type=kind) for kind in ("Said", "Seen", "Both"))
    # When one of the queues is full
    assert ids_of(arrive(store, but=["slow"]).sent) == sorted([said, both, both])
    # Then what is for this queue alone waits as an event
    assert store.count_of("event_deliveries", f"event_id = '{seen}'") == 0
    assert ids_of(arrive(store).sent) == [seen]


def test_a_delivery_that_was_there_before_is_not_sent_again(store: Store) -> None:
    # Given an event that was handled, and that a foreign program marks as new again, beside one that is new
    store.subscribe()
    (old,) = published(store, 1)
    claim = store.claim(store.take()[0])
    with store.ledger.inbox.begin() as connection:
        store.ledger.inbox.succeed(connection, [claim])
    with store.ledger.events.begin() as connection:
        connection.execute(update(event_store).values(processed=False))
    (new,) = published(store, 1)
    # When both are fanned out
    found = arrive(store)
    # Then only the new one is sent
    assert (found.events, ids_of(found.sent), found.waiting) == (2, [new], 0)
    assert state_of(store, old) == "succeeded"


def test_no_more_events_are_taken_than_asked_for_the_oldest_first(store: Store) -> None:
    store.subscribe()
    ids = [store.publish(UUID(int=number)) for number in range(1, 8)]
    assert ids_of(arrive(store, 3).sent) == ids[:3]
    assert ids_of(arrive(store, 3).sent) == ids[3:6]


@pytest.mark.parametrize("at_once", [2, 4])
def test_relays_that_fan_out_at_once_take_each_event_once(store: Store, at_once: int) -> None:
    store.subscribe("hear")
    store.subscribe("note")
    ids = published(store, 40)
    # When several relays fan out at once, by either way
    ways: list[Any] = [lambda: arrive(store, 15), lambda: store.ledger.outbox.fan_out(15)]
    found = [one for _ in range(6) for one in together(*(ways[number % 2] for number in range(at_once)))]
    # Then each event was fanned out once, to each handler
    assert sum(one.events for one in found) == 40
    assert sum(one.made.total() for one in found) == store.count_of("event_deliveries", "true") == 80
    sent = [wakeup for one in found for group in one.sent for wakeup in group]
    assert len({(one.event_id, one.handler) for one in sent}) == len(sent)
    assert {one.event_id for one in sent} <= set(ids)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_row_level_security_is_no_obstacle(store: Store) -> None:
    # Given a role for which the table has row-level security, under which PostgreSQL refuses COPY
    store.subscribe()
    published(store, 3)
    role = f"tenant_{uuid4().hex[:12]}"
    store.foreign(f"CREATE ROLE {role} LOGIN")
    try:
        store.foreign(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        store.foreign("ALTER TABLE event_deliveries ENABLE ROW LEVEL SECURITY")
        store.foreign("CREATE POLICY theirs ON event_deliveries USING (true) WITH CHECK (true)")
        theirs = Store(make_url(store.url).set(username=role).render_as_string(hide_password=False))
        # When a relay of that role fans out a backlog, then it is made all the same
        try:
            assert ids_of(arrive(theirs).sent) == sorted(row.event_id for row in rows_of(theirs))
        finally:
            theirs.ledger.close()
    finally:
        store.foreign(f"DROP OWNED BY {role}")
        store.foreign(f"DROP ROLE {role}")


def rows_of(store: Store) -> Any:
    with store.ledger.engine.connect() as connection:
        return connection.execute(select(event_deliveries.c.event_id)).all()


def test_what_another_program_made_is_neither_made_again_nor_in_the_way(store: Store) -> None:
    # Given new events, of which another program has made a delivery by itself
    store.subscribe("hear")
    store.subscribe("note")
    ids = published(store, 4)
    now = datetime.now(UTC)
    with store.ledger.events.begin() as connection:
        alien = {"event_id": ids[1], "handler": "hear", "queue": "q", "event_type": "Said", "state": "succeeded"}
        connection.execute(insert(event_deliveries), alien | {"due_at": now, "created_at": now})
    # When a relay fans them out
    new = arrive(store)
    # Then that one stays as it is, and all others are sent
    assert sum(map(len, new.sent)) == 7
    assert new.made == {("Said", "hear"): 3, ("Said", "note"): 4}
    assert state_of(store, ids[1], "hear") == "succeeded"
    assert arrive(store).events == 0
