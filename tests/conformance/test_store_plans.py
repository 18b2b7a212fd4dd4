"""No hot statement reads a whole table: what is finished, however much of it, costs nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from events.ledger.history import EventFilter
from events.ledger.records import Express
from events.store import migrate
from support.store import HOUR, OOPS, Store

FINISHED, BACKLOG = 30_000, 3_000
pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)  # plans are PostgreSQL's to make


@pytest.fixture
def store(empty: Store) -> Store:
    """A ledger with a past, and with a backlog in a queue of its own."""
    migrate(empty.ledger.engine)
    empty.subscribe()
    empty.subscribe("slow", queue="elsewhere", event_type="Piled")
    fill = f"""
        INSERT INTO event_store (id, aggregate_id, event_type, event_data, processed, fanned_out, created_at)
        SELECT gen_random_uuid(), 'a', CASE WHEN n <= {FINISHED} THEN 'Said' ELSE 'Piled' END, '{{}}', true, 1,
               now() - interval '1 hour'
        FROM generate_series(1, {FINISHED} + {BACKLOG}) n;
        INSERT INTO event_deliveries (event_id, handler, queue, state, due_at, created_at, finished_at)
        SELECT id, CASE event_type WHEN 'Said' THEN 'hear' ELSE 'slow' END,
               CASE event_type WHEN 'Said' THEN 'q' ELSE 'elsewhere' END,
               CASE event_type WHEN 'Said' THEN 'succeeded' ELSE 'pending' END, now(), now(), now()
        FROM event_store;
    """
    with empty.ledger.events.begin() as connection:
        connection.execute(text(fill))
        connection.execute(text("ANALYZE"))
    return empty


def plans_of(store: Store, statements: list[tuple[str, Any]]) -> int:
    """How many different statements there are; none of them may read a whole table."""
    plans = {}
    with store.ledger.engine.connect() as connection:
        for statement, parameters in statements:
            if statement.lstrip().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
                lines = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
                plans[statement] = "\n".join(lines)
    guilty = {
        statement: plan
        for statement, plan in plans.items()
        if "Seq Scan on event_deliveries" in plan or "Seq Scan on event_store" in plan
    }
    assert not guilty, "\n\n".join(f"{statement}\n{plan}" for statement, plan in guilty.items())
    return len(plans)


def everything_hot(store: Store) -> None:
    """What relays and workers do all day."""
    ledger = store.ledger
    express = Express(8, 100, 64, HOUR)
    for allowed in (express, replace(express, handlers=[("hear", "Said")], queues=["q"])):
        store.publish()
        assert ledger.outbox.fan_out(100, allowed).events == 1
    store.publish(*(uuid4() for _ in range(20)))
    assert ledger.outbox.fan_out(100).events == 20
    assert set(ledger.outbox.waiting()) == {"q", "elsewhere"}
    ledger.outbox.due_in(copies=True)
    ledger.outbox.settle_marked(10)
    ledger.outbox.in_flight()
    first, second, third, *others = store.take_due("q", 20)
    assert len(others) == 17
    ledger.recovery.missing(HOUR)
    ledger.recovery.overdue()
    ledger.recovery.resend("q", 1)
    ledger.recovery.expire_leases(10)
    ledger.recovery.renew([first], HOUR, "w1")
    ledger.outbox.hand_back([others[0]], timedelta(0))
    ledger.outbox.pass_on([others[1]])
    store.take_passed("hear")
    claims = [store.claim(wakeup) for wakeup in (first, second, third)]
    ledger.inbox.extend(claims, HOUR)
    with ledger.inbox.begin() as connection:
        ledger.inbox.succeed(connection, claims[:1])
    ledger.inbox.succeeded(claims[0])
    assert len(ledger.inbox.take_along(claims[1:2], 2, "w1", HOUR)) == 2
    assert len(ledger.inbox.take_along(claims[1:2], 100, "w1", HOUR)) > 2  # with what is due and was not sent
    ledger.inbox.abandon("hear", {others[2].event_id: 1}, OOPS, HOUR, worker="nobody")
    ledger.inbox.retry(claims[1], OOPS, HOUR)
    ledger.inbox.bury(claims[2], OOPS)
    ledger.recovery.mark_copied(ledger.recovery.take_uncopied(10))
    ledger.inbox.known("hear", [first.event_id])


def test_no_hot_statement_reads_a_whole_table(store: Store) -> None:
    # Given a ledger with a past; When relays and workers do what they do
    with store.statements() as statements:
        everything_hot(store)
    # Then PostgreSQL finds what each of their statements needs by an index
    assert plans_of(store, statements) > 12


def test_to_count_what_stands_in_the_ledger_reads_no_whole_table(store: Store) -> None:
    # Given a ledger with a past, a backlog, and an event that nobody has subscribed to
    store.publish(event_type="Unheard")
    store.publish()
    # When what is unfinished is counted
    with store.statements() as statements:
        found = store.ledger.overviews.take(finished=False, newest=20)
    # Then all of it was found by an index
    assert [(one.handler, dict(one.deliveries)) for one in found.handlers] == [
        ("hear", {"pending": 1}),
        ("slow", {"pending": BACKLOG}),
    ]
    assert plans_of(store, statements) >= 5


def test_to_forget_what_is_old_reads_no_whole_table(store: Store) -> None:
    # Given a ledger with a past; When some of it is pruned
    with store.statements() as statements:
        (first, second) = islice(store.ledger.retention.prune(timedelta(milliseconds=1), 100), 2)
    assert first.events > 50 < second.events
    # Then what is to be deleted was found by an index, and so were its deliveries
    assert plans_of(store, statements) >= 4


def test_to_read_what_became_of_an_event_reads_no_whole_table(store: Store) -> None:
    # Given a ledger with a past; When an operator reads the history of an event, and looks for others
    event_id = store.publish()
    with store.statements() as statements:
        assert store.ledger.history.event(event_id) is not None
        store.ledger.history.find(EventFilter(aggregate_id="b"))
        store.ledger.lineage.caused(100)
    # Then the event, its deliveries and what it caused were found by an index
    assert plans_of(store, statements) >= 6


def test_to_search_for_events_reads_no_whole_table(store: Store) -> None:
    # Given a ledger with a past; When an operator looks for events, of a type that there is or of none, or of a time
    wanted = [EventFilter(), EventFilter(event_type="Said"), EventFilter(event_type="NeverSaid"),
              EventFilter(since=datetime.now(UTC) - HOUR), EventFilter(event_type="Piled", before=datetime.now(UTC)),
              EventFilter(sender_id="card-17"),
              ]  # fmt: skip
    with store.statements() as statements:
        for one in wanted:
            store.ledger.history.find(one)
    # Then they were found by an index
    assert plans_of(store, statements) >= 5


def test_to_receive_reads_no_whole_table(store: Store) -> None:
    with store.statements() as statements, store.ledger.events.begin() as connection:
        store.ledger.events.stored(connection, [uuid4(), uuid4()])
    assert plans_of(store, statements) >= 1
