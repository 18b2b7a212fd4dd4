"""The newest events: bounded, and found by an index however many there are."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert

from events.ledger.history import EventFilter
from events.store.tables import event_store
from support.store import Store

MANY = 20_000


@pytest.fixture
def full(store: Store) -> Store:
    """Every tenth event is not fanned out."""
    now = datetime.now(UTC)
    rows = [
        {"id": uuid4(), "aggregate_id": "a", "event_type": "Said", "event_data": "{}", "processed": number % 10 > 0,
         "fanned_out": 1, "timestamp": now - timedelta(seconds=number), "created_at": now - timedelta(seconds=number)}
        for number in range(MANY)
    ]  # fmt: skip
    with store.ledger.events.begin() as connection:
        connection.execute(insert(event_store), rows)
        connection.exec_driver_sql("ANALYZE")
    return store


def test_the_newest_of_many_are_found_without_reading_the_others(full: Store) -> None:
    # Given many events; When the newest are looked at
    with full.statements() as statements:
        found = full.ledger.history.find(EventFilter(limit=20))
    # Then they are the newest, fanned out or not, in order
    times = [one.published_at for one in found if one.published_at is not None]
    assert len(times) == 20
    assert times == sorted(times, reverse=True)
    assert times[0] - times[-1] == timedelta(seconds=19)
    # And no table was read as a whole, nor sorted
    ((statement, parameters),) = [one for one in statements if one[0].startswith("SELECT")]
    explain = "EXPLAIN QUERY PLAN" if full.sqlite else "EXPLAIN"
    with full.ledger.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    plan = "\n".join(str(row[-1]) for row in rows)
    if full.sqlite:
        used = [line.split(" USING ")[1].split()[1] for line in plan.split("\n") if "event_store" in line]
        assert used == ["event_store_processed", "event_store_unprocessed"], plan
    else:
        assert "Seq Scan" not in plan, plan
        assert plan.count("Backward using event_store_") == 2, plan
