"""While a transaction stays open, dead rows stay; and yet what is new is found without a walk over all of them."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from events.ledger.records import Express, FannedOut
from support.relays import Recorded, relay_of
from support.store import HOUR, Store

pytestmark = pytest.mark.parametrize("url", ["postgres"], indirect=True)
DONE = 20_000
_HIT = re.compile(r"Buffers: shared hit=(\d+)")
LONG, SHORT = 10.0, 0.0  # seconds that a look from the beginning took


@pytest.fixture
def held(store: Store) -> Iterator[Store]:
    """A ledger whose events were all handled since somebody began to read, who still reads."""
    store.subscribe()
    reading = store.ledger.engine.connect().execution_options(isolation_level="REPEATABLE READ")
    with reading as report, report.begin():
        report.execute(text("SELECT 1 FROM event_subscriptions"))
        for statement in (
            "INSERT INTO event_store (id, aggregate_id, event_type, event_data, timestamp) "
            f"SELECT gen_random_uuid(), '', 'Said', '{{}}', now() - interval '1 hour' FROM generate_series(1, {DONE})",
            "INSERT INTO event_deliveries (event_id, handler, queue, state, due_at, created_at, sent_at) "
            "SELECT id, 'hear', 'q', 'sent', now() + interval '1 hour', now(), now() - interval '1 hour' "
            "FROM event_store",
            "UPDATE event_store SET processed = true, fanned_out = 1",
            "UPDATE event_deliveries SET state = 'succeeded', finished_at = now()",
        ):
            with store.ledger.events.begin() as connection:
                connection.execute(text(statement))
        yield store


def looked_for(store: Store, seconds: float) -> None:
    """Nothing was found in a look from the beginning, which took so long."""
    for water in store.ledger.outbox._new.values():
        water.looked(None, seconds, 0, None)


def read_by(store: Store, statements: list[tuple[str, Any]]) -> int:
    """The pages that these statements touch, if they are run once more."""
    pages = 0
    with store.ledger.engine.connect() as connection:
        for statement, values in statements:
            if statement.lstrip().startswith("WITH mine"):
                plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", values).scalars()
                pages += int(next(found[1] for line in plan if (found := _HIT.search(line))))
        connection.rollback()
    return pages


def test_a_look_begins_where_there_was_something_to_do(held: Store) -> None:
    # Given a relay that has found something, looking from the beginning, which took long
    transport = Recorded()
    relay = relay_of(held, transport)
    held.publish()
    with held.statements() as first:
        relay.step(look=False)
    looked_for(held, LONG)
    # When an event is new
    event_id = held.publish()
    with held.statements() as second:
        relay.step(look=False)
    # Then it is sent, by a look that reads a small part of what the first one read
    assert [group[0].event_id for group in transport.groups][1:] == [event_id]
    assert read_by(held, second) < read_by(held, first) / 3


@pytest.mark.parametrize("backlog", [1, 30])
def test_what_was_committed_late_is_found_by_the_next_look_from_the_beginning(held: Store, backlog: int) -> None:
    # Given a relay whose look from the beginning took long
    transport = Recorded()
    relay = relay_of(held, transport)
    relay.step()
    looked_for(held, LONG)
    # When events are new whose time is long ago, and as many others
    old = {held.publish() for _ in range(backlog)}
    held.foreign("UPDATE event_store SET timestamp = now() - interval '1 day' WHERE NOT processed")
    new = {held.publish() for _ in range(backlog)}
    while relay.step():
        pass
    # Then the others are sent first
    assert {one.event_id for group in transport.groups for one in group} == new
    # And the old ones as soon as the time allows
    looked_for(held, SHORT)
    while relay.step():
        pass
    assert {one.event_id for group in transport.groups for one in group} == new | old


def test_what_waits_for_a_full_queue_is_not_passed_by(held: Store) -> None:
    # Given an old event of a queue that is full, and looks for all others, which find nothing
    held.subscribe("see", event_type="Seen", queue="slow")
    seen = held.publish(event_type="Seen")
    held.foreign("UPDATE event_store SET timestamp = now() - interval '1 day' WHERE NOT processed")
    for _ in range(3):
        with held.ledger.outbox.arriving(100, but=["slow"]) as new:
            assert list(new.deliveries) == []
        looked_for(held, LONG)
    # When the queue has room, then it is found, though looks from the beginning take long
    with held.ledger.outbox.arriving(100) as new:
        pass
    assert new.fanned_out.made == {("Seen", "see"): 1}, seen


def test_what_a_relay_left_alone_is_found_again(held: Store) -> None:
    # Given new events that a relay has seen, and left
    left = {held.publish() for _ in range(3)}
    held.foreign("UPDATE event_store SET timestamp = now() - interval '1 day' WHERE NOT processed")
    outbox = held.ledger.outbox
    with outbox.arriving(100) as new:
        new.mark([], HOUR, left)
    assert new.fanned_out == FannedOut()
    # When it looks again, and a look from the beginning is not to be had
    outbox._new[()]._from_the_beginning.took(LONG)
    with outbox.arriving(100) as new:
        pass
    # Then they are there
    assert new.fanned_out.events == 3


def test_no_more_are_on_the_way_than_workers_keep_up_with(held: Store) -> None:
    # Given a worker that takes nothing, looks that take long, and a mark that is made anew each time
    express = Express(events=8, messages=100, in_flight=64, stale_after=HOUR)
    new = FannedOut(events=4)
    # When events go on coming
    while new.events:
        held.publish(*(uuid4() for _ in range(4)))
        new = held.ledger.outbox.fan_out(1000, express)
        looked_for(held, LONG)
        held.ledger.outbox._on_the_way._looked_at = 0.0
    # Then the express stops where it would stop without dead rows
    assert new.waits
    assert 60 <= held.count_of("event_deliveries", "state = 'sent'") <= 64
