"""Docs/threats.md, held: what a role of the database can't that may publish, or read."""

import json
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

import shop
from events.ledger.records import Subscription
from events.pipeline import Pipeline
from events.settings.settings import Settings
from support.databases import migrated_postgres
from support.operator import Operator
from support.roles import Role, role_in
from support.servers import PostgresDatabase

INSERT = (
    "INSERT INTO event_store (id, aggregate_id, event_type, event_data, version, timestamp, processed, created_at) "
    "VALUES (%s, 'o-1', 'OrderPlaced', '{\"order\": \"o-1\"}', 1, now(), false, now())"
)
CHANGES = ("UPDATE event_store SET event_data = '{}'", "DELETE FROM event_store", "DELETE FROM event_deliveries",
           "UPDATE event_deliveries SET state = 'sent'", "DELETE FROM event_handlers",
           "INSERT INTO event_deliveries (event_id) VALUES (NULL)", "DROP TABLE event_store")  # fmt: skip
LOOKS = ("SELECT event_data FROM event_store", "SELECT * FROM event_deliveries", "SELECT * FROM event_parked")


@pytest.fixture
def role() -> Iterator[Role]:
    """In a database with a ledger."""
    yield from role_in(PostgresDatabase(migrated_postgres()))


def refuses(role: Role, *statements: str) -> None:
    with psycopg.connect(role.url, autocommit=True) as connection:
        for statement in statements:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement)


def test_who_may_only_insert_publishes_and_neither_reads_nor_changes_anything(role: Role) -> None:
    role.may("INSERT ON event_store")
    event_id = uuid4()
    with psycopg.connect(role.url, autocommit=True) as connection:
        connection.execute(INSERT, [event_id])
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(INSERT, [event_id])
    refuses(role, *LOOKS, *CHANGES)


def test_publish_needs_to_read_events_and_nothing_else(role: Role) -> None:
    # Given an application that may insert and read events
    role.may("INSERT, SELECT ON event_store")
    pipeline = Pipeline(Settings(database_url=role.url, broker_url=""))
    # When it publishes, alone, several, and again
    events = [shop.OrderPlaced(order=f"o-{number}") for number in range(3)]
    pipeline.publisher.publish(events[0])
    pipeline.publisher.publish(events)
    pipeline.close()
    # Then they are there, and it can do no more
    with psycopg.connect(role.url) as connection:
        (count,) = connection.execute("SELECT count(*) FROM event_store").fetchone() or (0,)
    assert count == 3
    refuses(role, *LOOKS[1:], *CHANGES)


def test_who_may_only_read_sees_true_values_and_changes_nothing(role: Role) -> None:
    # Given an event, a handler of others, and somebody who may only look
    role.may("SELECT ON ALL TABLES IN SCHEMA public")
    with psycopg.connect(role.owner, autocommit=True) as connection:
        connection.execute(INSERT, [event_id := uuid4()])
    theirs = Pipeline(Settings(database_url=role.owner, broker_url=""))
    theirs.ledger.subscriptions.subscribe(
        [Subscription(event_type="AsyncWork", handler="works_async", queue="q", max_attempts=3)]
    )
    theirs.close()
    refuses(role, INSERT % "gen_random_uuid()", *CHANGES)
    # When he uses our commands, then he sees it, and can't act
    operator = Operator(role.url, EVENTS_HANDLERS="colorsys")
    assert str(event_id) in json.dumps(operator.gets("find"))
    for act in (("handlers", "pause", "works_async"), ("unhandled", "drop", "OrderPlaced", "--yes")):
        assert "permission denied" in operator.is_refused(1, *act)
