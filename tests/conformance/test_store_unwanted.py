"""Events that no handler has subscribed to: a million of them slow nothing down, and an operator can drop them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from events.event import uuid7
from events.records import Express
from events.store import migrate
from support.store import HOUR, Store

MANY = 30_000  # of which to read all takes hundreds of pages
postgres_only = pytest.mark.parametrize("url", ["postgres"], indirect=True)  # plans are PostgreSQL's to make
FEW_PAGES = 120

_FILL = f"""
    INSERT INTO event_store (id, aggregate_id, event_type, event_data, processed)
    SELECT gen_random_uuid(), 'a', 'Said', '{{}}', true FROM generate_series(1, 2000);
    INSERT INTO event_store (id, aggregate_id, event_type, event_data)
    SELECT gen_random_uuid(), 'a', 'Unheard', '{{}}' FROM generate_series(1, {MANY});
"""


@pytest.fixture(params=["knowing", "mistaken", "unknowing"])
def crowded(empty: Store, request: pytest.FixtureRequest) -> Store:
    """A ledger in front of which stand many events that nobody wants, whatever the planner believes of it."""
    migrate(empty.ledger.engine)
    empty.subscribe()
    with empty.ledger.events.begin() as connection:
        if request.param == "mistaken":  # most events, it believes, are of the wanted type, and few are new
            connection.execute(text(_FILL.split(";")[0]))
            connection.execute(text("ANALYZE event_store"))
            connection.execute(text(_FILL.split(";")[1]))
        else:
            connection.execute(text(_FILL))
            if request.param == "knowing":
                connection.execute(text("ANALYZE event_store"))
    return empty


@contextmanager
def pages_read(store: Store) -> Iterator[dict[str, int]]:
    """Pages of the ledger that each statement of the block looks at, if it is run once more."""
    seen: list[tuple[str, Any]] = []
    found: dict[str, int] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        seen.append((statement, parameters))

    event.listen(store.ledger.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(store.ledger.engine, "before_cursor_execute", note)
    with store.ledger.engine.connect() as connection:
        for statement, parameters in seen:
            if statement.lstrip().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
                explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
                (plan,) = connection.exec_driver_sql(explain, parameters).scalar_one()
                found[statement] = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        connection.rollback()


def looks(store: Store) -> None:
    outbox = store.ledger.outbox
    outbox.fan_out(100)
    outbox.fan_out(100, Express(8, 100, 64, HOUR))
    outbox.due_in(copies=True)


@postgres_only
@pytest.mark.parametrize("arrive", [0, 1, 20])
def test_looks_for_new_events_read_none_that_nobody_wants(crowded: Store, arrive: int) -> None:
    # Given a ledger full of events that nobody wants, and a few that somebody does
    with pages_read(crowded) as pages:
        crowded.publish(*(uuid4() for _ in range(arrive))) if arrive else None
        # When relays look for what is new
        looks(crowded)
    # Then they read a few pages, and not those
    assert len(pages) >= 3
    assert all(count < FEW_PAGES + 20 * arrive for count in pages.values()), json.dumps(pages, indent=1)
    assert crowded.ledger.outbox.fan_out(100).events == 0


def test_the_oldest_of_several_types_come_first(store: Store) -> None:
    # Given events of two wanted types in turn, and one that nobody wants before each
    store.subscribe("hear")
    store.subscribe("see", event_type="Seen")
    published = []
    for _ in range(5):
        for kind in ("Unheard", "Said", "Seen"):
            published.append((store.publish(uuid7(), event_type=kind), kind))
    wanted = [event_id for event_id, kind in published if kind != "Unheard"]
    # When they are fanned out three at a time
    seen: list[Any] = []
    while store.ledger.outbox.fan_out(3).events:
        taken = [one.event_id for one in store.take_due("q", 100)]
        seen += taken
    # Then in the order in which they were published
    assert seen == wanted

