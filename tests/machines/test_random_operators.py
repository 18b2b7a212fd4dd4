"""Operators and upkeep beside each other: what two of them do at once is what one after the other would have done."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event

from events.definition.ids import uuid7
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.records import Subscription
from events.store import migrate
from support.exploring import explore, long_enough
from support.servers import PostgresDatabase
from support.store import NOW, OOPS, Store, together

FIRST = UUID(int=1)  # of the events
ALL, TWO = DeadLetterFilter(), DeadLetterFilter(limit=2)
TABLES = "event_store, event_deliveries, event_attempts, event_actions, event_subscriptions, event_handlers"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    database = PostgresDatabase()
    store = Store(database.url)
    migrate(store.ledger.engine)
    yield store
    store.ledger.close()
    database.drop()


def prune(store: Store) -> int:
    return sum(part.events for part in store.ledger.retention.prune(timedelta(0), 10))


def expire(store: Store) -> int:
    return store.ledger.recovery.expire_leases(10)


def mark_copied(store: Store) -> None:
    store.ledger.recovery.mark_copied(store.ledger.recovery.take_uncopied(10))


def edit(store: Store) -> bool:
    return store.ledger.dead.correct(FIRST, "hear", "{}", uuid7(), "ann")


def subscribe(store: Store) -> None:
    store.ledger.subscriptions.subscribe(
        [Subscription(event_type="Unheard", handler="hear too", queue="q", max_attempts=3)]
    )


def drop(store: Store) -> int:
    return sum(store.ledger.unhandled.drop(["Unheard"], NOW, 10))


def retire(store: Store) -> int:
    store.ledger.switches.unsubscribe("hear", "ann")
    return store.ledger.switches.drop("hear", "ann", 100)


def pause(store: Store) -> None:
    store.ledger.switches.pause("hear", "ann")
    store.ledger.switches.hold("hear", 100)


def fan_out(store: Store) -> int:
    return store.ledger.outbox.fan_out(100).events


ACTS: dict[str, Callable[[Store], Any]] = {
    "replay": lambda store: store.ledger.dead.replay(ALL, "ann"),
    "replay two": lambda store: store.ledger.dead.replay(TWO, "ann"),
    "discard": lambda store: store.ledger.dead.discard(ALL, "ann"),
    "discard two": lambda store: store.ledger.dead.discard(TWO, "ann"),
    "restore": lambda store: store.ledger.dead.restore(ALL, "ann"),
    "prune": prune,
    "edit": edit,
    "expire": expire,
    "mark copied": mark_copied,
    "subscribe": subscribe,
    "drop": drop,
    "retire": retire,
    "fan out": fan_out,
    "pause": pause,
    "unpause": lambda store: store.ledger.recovery.unpause(100),
}
# Each picks some letters, and acts on them
OF_LETTERS = {"replay", "replay two", "discard", "discard two", "restore", "edit"}


def neither_saw_the_other(before: Any, one: Any, other: Any) -> Any:
    """What is left if each acted on what was there before, on letters of its own; None if they want the same ones."""
    tables = []
    for rows in zip(before, one, other, strict=True):
        was, ours, theirs = ({row[0]: row for row in table} for table in rows)
        changed = [{name for name in was | now if was.get(name) != now.get(name)} for now in (ours, theirs)]
        if changed[0] & changed[1]:
            return None
        merged = {name: (ours if name in changed[0] else theirs).get(name) for name in was | ours | theirs}
        tables.append(sorted(row for row in merged.values() if row is not None))
    return tuple(tables)


class Scene:
    """The same ledger again and again: dead and discarded letters, some that run, wait and are done, new events."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.names: dict[UUID, str] = {}

    def set(self) -> None:
        store = self.store
        with store.ledger.engine.begin() as connection:
            connection.exec_driver_sql(f"TRUNCATE {TABLES}")
        store.subscribe(max_attempts=1)
        self.names = {FIRST: "event 0"} | {uuid7(): f"event {number}" for number in range(1, 12)}
        ids = list(self.names)
        store.publish(*ids[:10])
        claims = [store.claim(one, lease=timedelta(0)) for one in store.take()]
        by_id = {claim.envelope.id: claim for claim in claims}
        for number in range(6):
            store.ledger.inbox.bury(by_id[ids[number]], OOPS)
        store.ledger.dead.discard(DeadLetterFilter(event_ids=ids[3:6]), "ann")
        with store.ledger.inbox.begin() as connection:
            store.ledger.inbox.succeed(connection, [by_id[ids[6]]])
        store.ledger.inbox.hand_back([by_id[ids[7]]], NOW)
        store.publish(ids[10])
        store.publish(ids[11], event_type="Unheard")

    def state(self) -> Any:
        """What there is, whatever the ids and times are."""
        with self.store.ledger.engine.connect() as connection:
            deliveries = connection.exec_driver_sql(
                "SELECT event_id, handler, state, attempts, replays, copied FROM event_deliveries"
            ).all()
            events = connection.exec_driver_sql("SELECT id, processed FROM event_store").all()
            wanted = connection.exec_driver_sql("SELECT handler, event_type FROM event_subscriptions").all()
        named = self.names
        return (
            sorted((named.get(row[0], "copy"), *row[1:]) for row in deliveries),
            sorted((named.get(row[0], "copy"), row[1]) for row in events),
            sorted(tuple(row) for row in wanted),
        )


@long_enough
def test_two_at_once_do_what_one_after_the_other_would(store: Store) -> None:
    scene = Scene(store)

    def after(*names: str) -> tuple[Any, Any]:
        scene.set()
        results = {name: ACTS[name](store) for name in names}
        return scene.state(), results

    def at_once(one: str, other: str, rng: random.Random) -> tuple[Any, Any]:
        """Each goes on, statement by statement, after a moment of its own."""
        scene.set()

        def delay(*_: Any) -> None:
            threading.Event().wait(rng.random() * 0.004)

        event.listen(store.ledger.engine, "after_cursor_execute", delay)
        try:
            results = together(lambda: ACTS[one](store), lambda: ACTS[other](store))
        finally:
            event.remove(store.ledger.engine, "after_cursor_execute", delay)
        return scene.state(), dict(zip((one, other), results, strict=True))

    def round_of(seed: int) -> None:
        rng = random.Random(seed)
        pairs = list(itertools.combinations(ACTS, 2))
        for one, other in rng.sample(pairs, 25):
            # Given what each order of the two leads to; When they happen at once
            orders = [after(one, other), after(other, one)]
            if {one, other} <= OF_LETTERS:
                (left, said), (right, answered) = after(one), after(other)
                orders.append((neither_saw_the_other(after()[0], left, right), said | answered))
            found = at_once(one, other, rng)
            # Then it is one of these
            assert found in orders, "\n".join([f"{one} beside {other}: {found}\nis none of", *map(str, orders)])

    explore(round_of)
