"""An id that is stored already: the same event again is a repeat, another one is an error, however it is written."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Text, cast, create_engine, event, func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from events.errors import EventIdTaken, PublishError
from events.ledger.envelope import Envelope
from events.store.tables import event_store
from support.store import Store, envelope, together

Write = Callable[[Sequence[Envelope]], None]

DRIVERS = {
    "sqlite": ["pysqlite", "aiosqlite"],
    "postgresql": ["psycopg", "psycopg2", "asyncpg", "psycopg_async"],
}


def contents(store: Store) -> dict[UUID, tuple[str, Any]]:
    query = select(event_store.c.id, event_store.c.event_type, cast(event_store.c.event_data, Text))
    with store.ledger.engine.connect() as connection:
        return {row[0]: (row[1], json.loads(row[2])) for row in connection.execute(query)}


def written(*events: Envelope) -> dict[UUID, tuple[str, Any]]:
    return {one.id: (one.event_type, json.loads(one.event_data)) for one in events}


def in_a_session(store: Store) -> Write:
    def write(events: Sequence[Envelope]) -> None:
        with Session(store.ledger.engine) as session, session.begin():
            store.ledger.events.append(session.connection(), events)

    return write


def in_a_savepoint(store: Store) -> Write:
    def write(events: Sequence[Envelope]) -> None:
        with store.ledger.events.begin() as connection, connection.begin_nested():
            store.ledger.events.append(connection, events)

    return write


def on_an_own_engine(driver: str) -> Callable[[Store], Write]:
    def of(store: Store) -> Write:
        name = store.ledger.engine.dialect.name
        url = store.ledger.engine.url.set(drivername=f"{name}+{driver}")

        def write(events: Sequence[Envelope]) -> None:
            if driver in ("aiosqlite", "asyncpg", "psycopg_async"):
                asyncio.run(write_async(events))
                return
            engine = create_engine(url)
            try:
                with engine.begin() as connection:
                    store.ledger.events.append(connection, events)
            finally:
                engine.dispose()

        async def write_async(events: Sequence[Envelope]) -> None:
            engine = create_async_engine(url)
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(lambda sync: store.ledger.events.append(sync, events))
            finally:
                await engine.dispose()

        return write

    return of


WAYS: dict[str, Callable[[Store], Write]] = {
    "alone": lambda store: store.ledger.events.append_alone,
    "in a session": in_a_session,
    "in a savepoint": in_a_savepoint,
    **{driver: on_an_own_engine(driver) for drivers in DRIVERS.values() for driver in drivers},
}


@pytest.fixture
def write(way: str, store: Store) -> Write:
    return WAYS[way](store)


each_way = pytest.mark.parametrize(
    ("url", "way"),
    [("postgres" if dialect == "postgresql" else dialect, way) for dialect, drivers in DRIVERS.items()
     for way in [*(way for way in WAYS if way.startswith(("alone", "in a "))), *drivers]],
    indirect=["url"],
)  # fmt: skip


@each_way
@pytest.mark.parametrize("others", [0, 3])
def test_a_repeat_is_silent_and_another_event_of_its_id_is_an_error(store: Store, write: Write, others: int) -> None:
    # Given a stored event
    first = envelope(uuid4())
    write([first])
    # When it is written again, among new ones, then they are stored, and it changes nothing
    new = [envelope(uuid4()) for _ in range(others)]
    write([*new, first])
    assert contents(store) == written(first, *new)
    # When it is written with other content, among new ones and repeats
    other = replace(first, event_type="Other", event_data='{"n": 2}')
    with pytest.raises(EventIdTaken) as refused:
        write([*(envelope(uuid4()) for _ in range(others)), *new, other])
    # Then both types, the id and what differs are named, and nothing of that call is stored
    for words in (f"Other {first.id}", "Said has this id", "event_type, event_data (n)", "model_copy", "uuid7()"):
        assert words in str(refused.value)
    assert contents(store) == written(first, *new)


@each_way
def test_two_contents_in_one_call_are_an_error_and_a_repeat_in_one_call_is_none(store: Store, write: Write) -> None:
    first = envelope(uuid4())
    with pytest.raises(EventIdTaken, match=r"event_data \(n\)"):
        write([envelope(uuid4()), first, replace(first, event_data='{"n": 2}')])
    assert contents(store) == {}
    write([first, replace(first, event_data='{ "n" : 1 }'), first])
    assert contents(store) == written(first)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"event_type": "Other"}, "event_type"),
        ({"aggregate_id": "a-2"}, "aggregate_id"),
        ({"schema_version": 2}, "schema_version"),
        ({"version": 2}, "version"),
        ({"timestamp": None}, "timestamp"),
        ({"event_data": '{"n": 1, "iban": "DE1"}'}, "event_data (iban)"),
        ({"event_data": '{"n": true}'}, "event_data (n)"),
        ({"event_data": '{"n": 1.0, "m": null}'}, "event_data (m)"),
        ({"event_data": '{ "n":1.0 }'}, ""),
        ({"event_data": '{"n": 10e-1}'}, ""),
        ({"metadata": '{"correlation_id": "x", "traceparent": "y"}'}, ""),
    ],
)
def test_what_is_content_and_what_is_not(store: Store, change: dict[str, Any], differs: str) -> None:
    first = envelope(uuid4())
    store.ledger.events.append_alone([first])
    again = replace(first, **change)
    if change.get("timestamp", first) is None:
        again = replace(first, timestamp=envelope(uuid4()).timestamp)
    if not differs:
        store.ledger.events.append_alone([again])
        return
    with pytest.raises(EventIdTaken) as refused:
        store.ledger.events.append_alone([again])
    assert f"another {differs}." in str(refused.value)
    assert "DE1" not in str(refused.value)


@pytest.mark.parametrize("numbers", ["1e23", "0.1", "-0.0", "12345678901234567890123", "1e-7", "123456.789e3", "1E+2"])
def test_numbers_and_keys_come_back_as_the_database_writes_them(store: Store, numbers: str) -> None:
    first = replace(envelope(uuid4()), event_data=f'{{"b": {numbers}, "a": ["\\u00e4", {{"z": 1, "y": [true]}}]}}')
    store.ledger.events.append_alone([first])
    store.ledger.events.append_alone([first, envelope(uuid4())])
    assert store.count() == 2


def test_an_error_that_is_swallowed_leaves_a_transaction_that_goes_on_without_that_call(store: Store) -> None:
    first, before, after = (envelope(uuid4()) for _ in range(3))
    store.ledger.events.append_alone([first])
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [before])
        with suppress(PublishError):
            store.ledger.events.append(connection, [envelope(uuid4()), before, replace(first, event_type="Other")])
        store.ledger.events.append(connection, [after])
    assert contents(store) == written(first, before, after)


def test_of_two_who_publish_one_id_at_once_one_hears_that_it_is_taken(store: Store) -> None:
    # Given as many ids as there are rounds, and two events of each
    for _ in range(5):
        first = envelope(uuid4())
        both = [first, replace(first, event_data='{"n": 2}')]

        def publish(one: Envelope) -> str:
            try:
                with store.ledger.events.begin() as connection:
                    store.ledger.events.append(connection, [one])
            except EventIdTaken:
                return "taken"
            return "stored"

        # When two threads publish them at once, then one is stored and the other told so
        said = together(*(lambda one=one: publish(one) for one in both))
        assert sorted(said) == ["stored", "taken"]
        assert contents(store)[first.id] == written(both[said.index("stored")])[first.id]
        # And when both publish the same, then it is stored once and that is all
        same = envelope(uuid4())
        assert together(*[lambda one=same: publish(one)] * 2) == ["stored", "stored"]


def test_what_was_in_the_way_and_is_gone_is_written_after_all(store: Store) -> None:
    # Given an id whose row is deleted between two statements
    first = envelope(uuid4())
    store.ledger.events.append_alone([first])
    other = replace(first, event_type="Other")

    pruned: list[bool] = []

    def prune(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if statement.startswith("SELECT") and not pruned:
            pruned.append(True)
            if store.sqlite:  # nobody else can while this transaction writes
                connection.exec_driver_sql("DELETE FROM event_store")
            else:
                store.foreign("DELETE FROM event_store")

    with store.ledger.events.begin() as connection:
        event.listen(connection, "before_cursor_execute", prune)
        store.ledger.events.append(connection, [other])
    assert pruned == [True]
    assert contents(store) == written(other)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
class TestOnPostgres:
    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_an_id_that_this_transaction_can_not_see_is_contention(self, store: Store, level: str) -> None:
        # Given a transaction that sees the ledger as it was, before somebody stored an event
        first = envelope(uuid4())
        with store.ledger.engine.connect().execution_options(isolation_level=level) as connection:
            connection.scalar(select(func.count()).select_from(event_store))
            store.ledger.events.append_alone([first])
            # When it publishes another of that id, then the database says that it is to be tried again
            with pytest.raises(OperationalError) as refused:
                store.ledger.events.append(connection, [replace(first, event_type="Other")])
            assert store.ledger.inbox.is_contention(refused.value)
            connection.rollback()
            # And the next transaction sees it
            with pytest.raises(EventIdTaken):
                store.ledger.events.append(connection, [replace(first, event_type="Other")])
        assert contents(store) == written(first)

    def test_what_the_database_leaves_out_for_reasons_of_its_own_is_an_error(self, store: Store) -> None:
        # Given somebody's trigger that drops events
        store.foreign("CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        store.foreign("CREATE TRIGGER no BEFORE INSERT ON event_store FOR EACH ROW EXECUTE FUNCTION drop_it()")
        with pytest.raises(PublishError, match="look for triggers"):
            store.ledger.events.append_alone([envelope(uuid4())])

    def test_one_that_is_stored_costs_no_statement_more(self, store: Store) -> None:
        seen: list[str] = []
        event.listen(store.ledger.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
        with store.ledger.engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            store.ledger.events.append(connection, [envelope(uuid4()) for _ in range(3)])
        assert [one for one in seen if one.startswith("SELECT") and "event_store" in one] == []
