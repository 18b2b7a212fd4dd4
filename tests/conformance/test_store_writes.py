"""What a delivery costs the database: rows that are written, and statements. PostgreSQL counts the rows itself."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from events.ledger.records import Group, Subscription
from support.relays import Recorded, relay_of
from support.store import HOUR, Store

pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)
HANDLERS, EVENTS, MOST = ("hear", "note", "see"), 300, 50


@pytest.fixture
def measured(store: Store) -> Store:
    """A ledger with handlers that workers have measured."""
    for name in HANDLERS:
        store.ledger.subscriptions.subscribe(
            [Subscription(event_type="Said", handler=name, queue="q", max_attempts=2, most=MOST)]
        )
        store.ledger.subscriptions.note_pace(name, 0.0005)
    return store


def handle(store: Store, group: Group) -> None:
    """As a worker does whose handlers succeed at once."""
    inbox = store.ledger.inbox
    claims = inbox.claim(group[0].handler, {one.event_id: one.token for one in group}, "w1", HOUR)
    with inbox.begin() as connection:
        inbox.succeed(connection, claims)


def written(store: Store) -> dict[str, int]:
    """The row versions of each table so far. Connections tell what they have counted when they are closed."""
    store.ledger.engine.dispose()
    store.ledger.background.dispose()
    counted = "SELECT relname, n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname LIKE 'event_%'"
    with store.ledger.engine.connect() as connection:
        rows: Sequence[Any] = connection.execute(text(counted)).all()
    store.ledger.engine.dispose()
    return {row[0]: row[1] for row in rows}


def test_a_delivery_of_a_backlog_is_written_twice_and_its_event_once_more(measured: Store) -> None:
    # Given a backlog
    measured.publish(*(_id(number) for number in range(EVENTS)))
    before = written(measured)
    # When a relay sends it, and a worker handles it in groups
    transport = Recorded()
    relay = relay_of(measured, transport, max_in_flight=10_000)
    while relay.step(look=False):
        pass
    for group in transport.groups:
        handle(measured, group)
    # Then each delivery was stored as sent, and written once more when it succeeded
    after, deliveries = written(measured), EVENTS * len(HANDLERS)
    assert sum(map(len, transport.groups)) == measured.count_of("event_deliveries", "state = 'succeeded'") == deliveries
    rows = {table: after[table] - before[table] for table in after}
    assert rows["event_deliveries"] <= 2.1 * deliveries
    assert rows["event_store"] == EVENTS
    # And beside it a group costs a row
    assert sum(rows.values()) - rows["event_store"] <= 2.5 * deliveries
    assert measured.count_of("event_leases", "true") == 0


def test_a_group_takes_two_statements_of_the_ledgers_own(measured: Store) -> None:
    # Given a message with fifty deliveries
    measured.publish(*(_id(number) for number in range(MOST)))
    measured.ledger.outbox.fan_out(1000)
    with measured.ledger.outbox.due("q", 1000) as due:
        group = tuple(one.wakeup for one in due.deliveries if one.wakeup.handler == "hear")
        due.mark([group], HOUR)
    handle(measured, group[:1])  # what is asked once in a process
    # When a worker handles it
    with measured.statements() as sent:
        handle(measured, group[1:])
    # Then it is claimed by one statement, and its outcome is another
    assert len(group) == MOST
    assert len(sent) == 2, [statement for statement, _ in sent]


def test_of_a_backlog_no_more_is_fanned_out_than_there_is_room_for(measured: Store) -> None:
    # Given room for sixty deliveries, and many more events
    measured.publish(*(_id(number) for number in range(EVENTS)))
    transport = Recorded()
    relay = relay_of(measured, transport, max_in_flight=60)
    # When the relay has sent what it can
    for _ in range(20):
        relay.step(look=False)
    # Then the rest waits as events, and as such is counted
    sent = sum(map(len, transport.groups))
    assert 45 <= sent <= 60
    made = measured.count_of("event_deliveries", "true")
    assert made <= 75
    overview = measured.ledger.overviews.take()
    waiting = {one.handler: one.deliveries["pending"] + one.deliveries["sent"] for one in overview.handlers}
    assert waiting == dict.fromkeys(HANDLERS, EVENTS)
    assert overview.oldest_due["q"] > 0
    assert overview.lag == 0  # it waits for workers, and for no relay
    # And all of it is handled in the end, as workers make room
    done = 0
    while done < len(transport.groups):
        for group in transport.groups[done:]:
            handle(measured, group)
            done += 1
        for _ in range(3):
            relay._dispatch._count_at = 0.0  # as time passes
            relay.step(look=False)
    assert measured.count_of("event_deliveries", "state = 'succeeded'") == EVENTS * len(HANDLERS)


def test_without_a_relay_what_waits_is_its_lag(measured: Store) -> None:
    measured.publish(_id(1))
    overview = measured.ledger.overviews.take()
    assert overview.lag > 0
    assert {one.waiting for one in overview.handlers} == {1}


def _id(number: int) -> UUID:
    return UUID(int=number + 1)
