"""Events that no handler has subscribed to: however many, they slow nothing down, and an operator can drop them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from events.definition.ids import uuid7
from events.ledger.records import Express
from events.store import migrate
from support.store import HOUR, NOW, Store, together

MANY = 30_000  # of which to read all takes hundreds of pages
postgres_only = pytest.mark.parametrize("url", ["postgres"], indirect=True)  # plans are PostgreSQL's to make
FEW_PAGES = 120

_FILL = f"""
    INSERT INTO event_store (id, aggregate_id, event_type, event_data, processed, fanned_out)
    SELECT gen_random_uuid(), 'a', 'Said', '{{}}', true, 1 FROM generate_series(1, 2000);
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
    found: dict[str, int] = {}
    with store.statements() as seen:
        yield found
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
    outbox.settle_marked(100)
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
    kinds = ["Unheard", "Said", "Seen"] * 5
    published = [store.publish(uuid7(), event_type=kind) for kind in kinds]
    wanted = [event_id for event_id, kind in zip(published, kinds, strict=True) if kind != "Unheard"]
    # When they are fanned out three at a time
    seen: list[Any] = []
    while store.ledger.outbox.fan_out(3).events:
        taken = [one.event_id for one in store.take_due("q", 100)]
        seen += taken
    # Then in the order in which they were published
    assert seen == wanted


def test_an_operator_sees_what_waits_in_vain_and_drops_it(store: Store) -> None:
    # Given events that nobody wants, of two types, and one that somebody does
    store.subscribe()
    wanted = store.publish()
    for kind in ("Unheard", "Unheard", "Unseen"):
        store.publish(event_type=kind)
    unhandled = store.ledger.unhandled
    assert [(one.event_type, one.count) for one in unhandled.types()] == [("Unheard", 2), ("Unseen", 1)]
    assert all(one.oldest is not None for one in unhandled.types())
    # When those of one type are dropped, then the others stay; those of a wanted type are never dropped, nor young ones
    everything = ["Unheard", "Unseen", "Said"]
    assert list(unhandled.drop(everything, HOUR, 10)) == []
    assert (unhandled.count(["Unheard"], NOW), list(unhandled.drop(["Unheard"], NOW, 1))) == (2, [1, 1])
    assert list(unhandled.drop(everything, NOW, 10)) == [1]
    assert [one.event_id for one in store.take()] == [wanted]
    # And what was fanned out and finished is none of its business
    assert list(unhandled.drop(everything, NOW, 10)) == []


def test_who_subscribes_while_events_are_dropped_gets_what_is_left(store: Store) -> None:
    # Given many events that nobody wants
    ids = [uuid4() for _ in range(200)]
    store.publish(*ids)
    dropped: list[int] = []

    def drop() -> None:
        dropped.extend(store.ledger.unhandled.drop(["Said"], NOW, 5))

    def handle() -> list[Any]:
        store.subscribe()
        while store.ledger.outbox.fan_out(50).events:
            pass
        return store.take_due("q", 1000)

    # When they are dropped, and somebody subscribes and relays at that moment
    _, taken, _ = together(drop, handle, drop)
    # Then each is either dropped or handled, and whoever was subscribed to it has its event
    taken = [*taken, *store.take()]
    assert sum(dropped) + len(taken) == len(ids)
    kept = {one.event_id for one in taken}
    assert len(kept) == len(taken)
    assert kept == {one for one in ids if store.ledger.history.event(one) is not None}
