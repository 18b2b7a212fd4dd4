"""Writing events: what publishers and foreign programs do to the ledger."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from events.errors import EventIdTaken, SchemaError
from events.store import migrate
from support.store import HOUR, Store, envelope


def test_an_event_comes_out_as_it_went_in(store: Store) -> None:
    # Given an event
    written = envelope(uuid4())
    store.subscribe()
    # When it is appended and claimed
    with store.ledger.events.begin() as connection:
        store.ledger.events.append(connection, [written])
    read = store.claim(store.take()[0]).envelope
    # Then it is the same, up to the white space of its JSON
    assert (read.id, read.aggregate_id, read.event_type, read.version) == (written.id, "a-1", "Said", 1)
    assert read.timestamp == written.timestamp
    assert (json.loads(read.event_data), json.loads(read.metadata)) == ({"n": 1}, {})


def test_appending_an_event_again_changes_nothing(store: Store) -> None:
    # Given a stored event
    written = envelope(uuid4())
    # When it is appended again, alone and twice in one batch
    for several in ([written], [written], [written, written]):
        with store.ledger.events.begin() as connection:
            store.ledger.events.append(connection, several)
    # Then it is there once
    assert store.count() == 1


def test_a_rollback_leaves_nothing(store: Store) -> None:
    # Given an append in a transaction; When it rolls back
    with store.ledger.engine.connect() as connection:
        store.ledger.events.append(connection, [envelope(uuid4())])
        connection.rollback()
    # Then there is no event
    assert store.count() == 0


def test_a_foreign_program_publishes_with_the_eight_documented_columns(store: Store) -> None:
    # Given a program that knows the eight columns
    store.subscribe()
    event_id = uuid4()
    # When it inserts them
    store.foreign(
        "INSERT INTO event_store (id, aggregate_id, event_type, event_data, version, timestamp, processed, created_at)"
        " VALUES (?, 'x', 'Said', ?, 1, ?, false, ?)",
        str(event_id), '{"n": 2}', "2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z",
    )  # fmt: skip
    # Then it is delivered
    read = store.claim(store.take()[0]).envelope
    assert (read.id, json.loads(read.event_data)) == (event_id, {"n": 2})
    assert read.timestamp == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert (read.schema_version, read.metadata) == (1, "{}")


def test_every_column_with_a_default_can_be_left_out(store: Store) -> None:
    # Given a program that writes as little as it can
    store.subscribe()
    store.foreign("INSERT INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}')", str(uuid4()))
    # Then the rest is filled in
    read = store.claim(store.take()[0]).envelope
    assert (read.aggregate_id, read.version, read.schema_version) == ("", 1, 1)
    assert read.timestamp is not None
    assert abs(datetime.now(UTC) - read.timestamp) < HOUR


@pytest.mark.parametrize("spelling", ["hex", "upper", "upper hex"])
def test_an_id_in_another_spelling_is_the_same_id(store: Store, spelling: str) -> None:
    # Given a program that writes UUIDs its own way
    store.subscribe()
    event_id = uuid4()
    written = event_id.hex if "hex" in spelling else str(event_id)
    written = written.upper() if "upper" in spelling else written
    store.foreign("INSERT INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}')", written)
    # Then the event is delivered under its id, once
    assert [wakeup.event_id for wakeup in store.take()] == [event_id]
    # And that is the id that no other event can have, however it is written
    with pytest.raises(EventIdTaken, match=rf"Said {event_id} can't be stored: Said has this id, and another "):
        store.publish(event_id)
    other = "INSERT INTO event_store (id, event_type, event_data) VALUES (?, 'Other', '{}')"
    for again in (written, event_id.hex.upper(), str(event_id)):
        with pytest.raises((sqlite3.IntegrityError, psycopg.errors.UniqueViolation)):
            store.foreign(other, again)
    assert (store.count(), store.take()) == (1, [])


def test_a_foreign_repeat_in_another_spelling_is_ignored_when_it_asks_for_that(store: Store) -> None:
    # Given a stored event, already fanned out
    store.subscribe()
    event_id = store.publish()
    assert len(store.take()) == 1
    # When a program writes it again, in another spelling, unless it exists
    store.foreign(
        "INSERT INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}') ON CONFLICT DO NOTHING"
        if not store.sqlite else
        "INSERT OR IGNORE INTO event_store (id, event_type, event_data) VALUES (?, 'Said', '{}')",
        event_id.hex.upper(),
    )  # fmt: skip
    # Then it is one event still, and not delivered again
    assert (store.count(), store.take()) == (1, [])


def test_an_id_that_is_no_uuid_is_refused_at_once(store: Store) -> None:
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        store.foreign("INSERT INTO event_store (id, event_type, event_data) VALUES ('7', 'Said', '{}')")
    assert store.count() == 0


def test_garbage_of_a_foreign_program_reaches_the_claim_and_stops_nobody_else(tmp_path: Path) -> None:
    # Given an SQLite row whose data is no JSON and whose time is no time, and a good one
    store = Store(f"sqlite:///{tmp_path / 'events.db'}")
    try:
        migrate(store.ledger.engine)
        store.subscribe()
        bad = uuid4()
        store.foreign(
            "INSERT INTO event_store (id, event_type, event_data, timestamp) VALUES (?, 'Said', 'not JSON', 'soon')",
            str(bad),
        )
        good = store.publish()
        # When both are claimed
        read = {wakeup.event_id: store.claim(wakeup).envelope for wakeup in store.take()}
        # Then the bad one is handed over as it is
        assert (read[bad].event_data, read[bad].timestamp) == ("not JSON", None)
        assert json.loads(read[good].event_data) == {"n": 1}
    finally:
        store.ledger.close()


def test_a_transaction_on_a_database_without_a_ledger_says_so(empty: Store) -> None:
    # Given no tables; Then append names the database and the cure
    with empty.ledger.engine.connect() as connection, pytest.raises(SchemaError, match="events migrate"):
        empty.ledger.events.append(connection, [envelope(uuid4())])
