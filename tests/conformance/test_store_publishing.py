"""Events in somebody's transaction, which may end in any way: they are stored if, and only if, it commits."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from events.store.tables import event_store
from support.store import Store, envelope


def append(store: Store, connection: Connection, count: int = 1) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    for event_id in ids:
        store.ledger.events.append(connection, [envelope(event_id)])
    return ids


def stored(connection: Connection) -> int:
    return int(connection.scalar(select(func.count()).select_from(event_store)) or 0)


def count(store: Store) -> int:
    with store.ledger.engine.connect() as connection:
        return stored(connection)


def test_an_error_in_sql_quotes_no_values(store: Store) -> None:
    with pytest.raises(DBAPIError) as refused, store.ledger.events.begin() as connection:
        connection.execute(text("SELECT :iban FROM nowhere"), {"iban": "DE89370400440532013000"})
    assert "nowhere" in str(refused.value)
    assert "DE89370400440532013000" not in str(refused.value)


def test_several_events_are_stored_by_the_commit(store: Store) -> None:
    # Given a transaction in which several events are published, one by one
    with store.ledger.engine.begin() as connection:
        append(store, connection, 3)
        # Then nobody else sees them before the commit, and all after it
        assert store.sqlite or count(store) == 0
    assert count(store) == 3


def test_on_the_same_connection_transactions_that_commit_and_roll_back_take_turns(store: Store) -> None:
    with store.ledger.engine.connect() as connection:
        for number in range(6):
            # When every second transaction of a connection is rolled back
            with connection.begin() as transaction:
                append(store, connection)
                if number % 2:
                    transaction.rollback()
    # Then the events of the others are stored
    assert count(store) == 3


def test_a_transaction_sees_what_it_has_published(store: Store) -> None:
    with store.ledger.engine.begin() as connection:
        append(store, connection, 2)
        assert stored(connection) == 2
        append(store, connection)
        assert stored(connection) == 3
    assert count(store) == 3


@pytest.mark.parametrize("keep", [True, False])
def test_a_savepoint_takes_along_what_was_published_in_it(store: Store, keep: bool) -> None:
    with store.ledger.engine.begin() as connection:
        append(store, connection)
        savepoint = connection.begin_nested()
        append(store, connection)
        if keep:
            savepoint.commit()
        else:
            savepoint.rollback()
    assert count(store) == 1 + keep


def test_a_savepoint_in_plain_sql_takes_along_what_was_published_in_it(store: Store) -> None:
    with store.ledger.engine.begin() as connection:
        append(store, connection)
        connection.execute(text("SAVEPOINT here"))
        append(store, connection)
        connection.execute(text("ROLLBACK TO SAVEPOINT here"))
    assert count(store) == 1


def test_a_session_stores_its_objects_and_its_events_together(store: Store) -> None:
    with store.ledger.engine.begin() as connection:
        connection.execute(text("CREATE TABLE things (number INTEGER PRIMARY KEY)"))
    # Given a session whose transaction commits, and one whose transaction breaks a constraint
    with Session(store.ledger.engine) as session, session.begin():
        append(store, session.connection())
        session.execute(text("INSERT INTO things VALUES (1)"))
    with Session(store.ledger.engine) as session, pytest.raises(DBAPIError), session.begin():
        append(store, session.connection())
        session.execute(text("INSERT INTO things VALUES (1)"))
    assert count(store) == 1


def orders(connection: Connection, more: str = "") -> Table:
    """An application's own table."""
    connection.execute(text(f"CREATE TABLE orders (number integer, event_id uuid {more})"))
    return Table("orders", MetaData(), Column("number", Integer), Column("event_id", Uuid))


def test_an_error_at_the_commit_leaves_nothing_and_a_connection_that_works(store: Store) -> None:
    with store.ledger.engine.connect() as connection:
        # Given a transaction that has published, and breaks a constraint that is looked at only now
        with pytest.raises(DBAPIError), connection.begin():
            store.ledger.events.append(
                connection, [envelope(uuid4(), event_type="x" * 300 if not store.sqlite else "")]
            )
            if store.sqlite:
                connection.execute(text("INSERT INTO event_store (id) VALUES ('no uuid')"))
        # When the connection is used again, then all is well
        with connection.begin():
            append(store, connection)
    assert count(store) == 1


def test_many_at_once_come_out_as_they_went_in(store: Store) -> None:
    # Given events whose texts hold all that is special in arrays, JSON or SQL
    odd = ['"', "\\", '\\"', "{}", ",", "null", "NULL", "'", "%s", " ", "", "ü€😀", "\t\n", "\\u0041", "}{"]
    written = [
        replace(envelope(uuid4(), f"T{text}"), aggregate_id=text, event_data=json.dumps({"t": text})) for text in odd
    ]
    # When they are published in one call
    with store.ledger.engine.begin() as connection:
        store.ledger.events.append(connection, written)
    # Then each is stored as it is
    with store.ledger.engine.connect() as connection:
        data = cast(event_store.c.event_data, Text)
        rows = connection.execute(select(event_store.c.id, event_store.c.event_type, event_store.c.aggregate_id, data))
        found = {row[0]: (row[1], row[2], json.loads(row[3])) for row in rows}
    assert found == {one.id: (one.event_type, one.aggregate_id, json.loads(one.event_data)) for one in written}


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
class TestOnPostgres:
    def test_whatever_ends_the_transaction_ends_the_event_with_its_row(self, store: Store) -> None:
        # Given rows and events in turn, and the driver's own commit and rollback between them
        with store.ledger.engine.begin() as connection:
            table = orders(connection)
        with store.ledger.engine.begin() as connection:
            driver: Any = connection.connection.driver_connection
            for number, end in enumerate((driver.rollback, driver.commit, driver.rollback)):
                append(store, connection)
                connection.execute(table.insert(), {"number": number})
                end()
        # Then of each pair both are stored, or neither
        with store.ledger.engine.connect() as connection:
            assert connection.scalars(select(table.c.number)).all() == [1]
        assert count(store) == 1

    def test_a_row_may_refer_to_the_event_that_its_transaction_has_published(self, store: Store) -> None:
        # Given a table with a foreign key to the events, of which only the database knows
        with store.ledger.engine.begin() as connection:
            table = orders(connection, "REFERENCES event_store (id)")
        # When a transaction publishes an event and writes a row that refers to it, then both are stored
        with store.ledger.engine.begin() as connection:
            (event_id,) = append(store, connection)
            connection.execute(table.insert(), {"number": 1, "event_id": event_id})
        assert count(store) == 1

    def test_a_connection_that_is_cut_is_an_error_of_the_database(self, store: Store) -> None:
        # Given a transaction that has published, and whose connection is gone
        with pytest.raises(DBAPIError) as raised, store.ledger.engine.begin() as connection:
            backend = connection.scalar(text("SELECT pg_backend_pid()"))
            append(store, connection)
            with store.ledger.engine.begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})
        # Then its commit says so, and the next transaction has another connection
        assert raised.value.connection_invalidated
        assert isinstance(raised.value.orig, psycopg.OperationalError)
        with store.ledger.engine.begin() as connection:
            append(store, connection)
        assert count(store) == 1
