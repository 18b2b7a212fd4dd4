"""Rows of foreign programs: whatever stands in a column, each event is handled or seen, and hinders no other."""

import json
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from events.errors import EventDataError, NewerEvent
from events.event import DomainEvent
from events.ledger.codec import decode
from events.ledger.dead_letters import DeadLetterFilter
from events.ledger.history import EventFilter, timeline
from events.store import migrate
from events.store.tables import event_actions, event_attempts, event_deliveries, event_store
from support.servers import PostgresDatabase
from support.store import HOUR, NOW, OOPS, Store


class OddlyWritten(DomainEvent):
    n: int = 0


NAME = "OddlyWritten"
# SQL of one value, for a column; the others are as they should be.
BOTH = [
    ("aggregate_id", "NULL"), ("aggregate_id", "''"), ("aggregate_id", "'\u202ea\n'"),
    ("event_data", "'null'"), ("event_data", "'[]'"), ("event_data", "'1'"), ("event_data", "'{\"n\": \"x\"}'"),
    ("version", "0"), ("version", "-2147483648"), ("schema_version", "0"), ("schema_version", "2147483647"),
    ("metadata", "'null'"), ("metadata", "'[1]'"), ("metadata", "'{\"correlation_id\": 5, \"causation_id\": {}}'"),
    ("timestamp", "'0001-01-01 00:00:00+00'"), ("timestamp", "'9999-12-31 23:59:59-12'"),
    ("created_at", "'0001-01-01 00:00:00+00'"), ("created_at", "'9999-12-31 23:59:59-12'"),
]  # fmt: skip
POSTGRES = [
    (column, value)
    for column in ("timestamp", "created_at")
    for value in ("'infinity'", "'-infinity'", "'12026-01-01 00:00:00+00'", "'0044-03-15 12:00:00+00 BC'")
]
SQLITE = [
    *((column, value) for column in ("timestamp", "created_at")
      for value in ("''", "'soon'", "1700000000", "1612101512345", "17.5", "x'ff00'", "CAST(x'ff' AS TEXT)",
                    "'12026-01-01 00:00:00'")),
    *(("processed", value) for value in ("''", "'false'", "'true'", "2", "0.5", "x'01'", "-1")),
    ("event_type", f"x'{NAME.encode().hex()}'"), ("aggregate_id", "x'6162'"), ("aggregate_id", "CAST(x'ff' AS TEXT)"),
    ("aggregate_id", "5"),
    *((column, value) for column in ("event_data", "metadata")
      for value in ("''", "'{'", "5", "x'7b7d'", "x'ff'", "CAST(x'7b22ff223a317d' AS TEXT)", "'{\"a\": \"\\u0000\"}'")),
    *((column, value) for column in ("version", "schema_version") for value in ("'x'", "''", "1.5", "x'01'")),
]  # fmt: skip
ODD = [
    *(pytest.param(kind, *case, id=f"{kind}-{case[0]}-{case[1]}".replace("\n", ""))
      for kind, cases in (("sqlite", BOTH + SQLITE), ("postgres", BOTH + POSTGRES)) for case in cases),
]  # fmt: skip


def write(store: Store, column: str = "n", value: str = "") -> UUID:
    event_id = uuid4()
    row = {"id": f"'{event_id}'", "aggregate_id": "'a'", "event_type": f"'{NAME}'", "event_data": "'{\"n\": 1}'"}
    if column != "n":
        row[column] = value
    statement = f"INSERT INTO event_store ({', '.join(row)}) VALUES ({', '.join(row.values())})"
    if store.sqlite:
        store.foreign(statement)
    else:
        with store.ledger.engine.begin() as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    return event_id


def look_everywhere(store: Store, odd: UUID) -> None:
    """All that commands and pages read."""
    ledger = store.ledger
    found = ledger.history.event(odd)
    assert found is not None
    json.dumps([found.version, found.aggregate_id, found.data, found.metadata], default=str)
    timeline(found)
    for wanted in (EventFilter(), EventFilter(event_type=NAME), EventFilter(correlation_id="5")):
        ledger.history.find(wanted)
    assert odd in {one.event_id for one in ledger.history.find(EventFilter())}
    ledger.lineage.caused(100)
    ledger.overviews.take()
    ledger.traces.of_events([odd])
    ledger.dead.find(DeadLetterFilter())
    ledger.dead.groups(DeadLetterFilter())
    list(ledger.retention.prune(HOUR, 1, dry_run=True))
    ledger.outbox.due_in(copies=True)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    """One of each kind for all rows: they are many, and each test leaves it empty."""
    database = PostgresDatabase()
    urls = {"sqlite": f"sqlite:///{tmp_path_factory.mktemp('odd') / 'events.db'}", "postgres": database.url}
    stores = {kind: Store(url) for kind, url in urls.items()}
    for store in stores.values():
        migrate(store.ledger.engine)
    yield stores
    for store in stores.values():
        store.ledger.close()
    database.drop()


@pytest.fixture
def store(stores: dict[str, Store], kind: str) -> Iterator[Store]:
    yield stores[kind]
    with stores[kind].ledger.events.begin() as connection:
        for table in (event_store, event_deliveries, event_attempts, event_actions):
            connection.execute(delete(table))


@pytest.mark.parametrize(("kind", "column", "value"), ODD)
def test_an_odd_row_is_handled_or_a_dead_letter_and_hinders_no_other(
    store: Store, kind: str, column: str, value: str
) -> None:
    # Given an odd row between two good ones
    store.subscribe("hear", event_type=NAME)
    first, odd, last = write(store), write(store, column, value), write(store)
    look_everywhere(store, odd)
    # When they are sent and claimed together
    wakeups = store.take()
    assert {one.event_id for one in wakeups} == {first, odd, last}
    claims = store.ledger.inbox.claim("hear", {one.event_id: one.token for one in wakeups}, "w", HOUR)
    assert [claim.envelope.id for claim in claims] == [one.event_id for one in wakeups]
    # Then each can be handled, or it is said what is wrong with it; never is it taken for something else
    for claim in claims:
        try:
            decode(claim.envelope)
        except (EventDataError, NewerEvent):
            assert claim.envelope.id == odd
        assert store.ledger.inbox.bury(claim, OOPS)
    # And everybody can look at all of them, and run them again
    look_everywhere(store, odd)
    assert {one.event_id for one in store.ledger.dead.find(DeadLetterFilter())} == {first, odd, last}
    assert store.ledger.dead.replay(DeadLetterFilter(), "ann") == 3
    assert len(store.take()) == 3
    assert store.ledger.dead.discard(DeadLetterFilter(), "ann") == 0
    list(store.ledger.retention.prune(NOW, 1))
