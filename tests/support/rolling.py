"""A rolling deployment: real workers with old and new code, and programs of both versions."""

import json
from uuid import UUID, uuid4

from sqlalchemy import insert

from events.store.tables import event_store
from support.system import TESTS, Process, System


def start_worker(system: System, version: str, pool: str = "prefork") -> Process:
    """A worker with the old or the new code."""
    versions = TESTS / "support" / "versions"
    before = system.environment["PYTHONPATH"]
    system.environment["PYTHONPATH"] = f"{versions}:{versions / version}:{TESTS / 'support' / 'application'}"
    try:
        return system.start_worker(pool)
    finally:
        system.environment["PYTHONPATH"] = before


def publish_as(system: System, event_type: str, version: int = 1, count: int = 4, **data: str) -> list[UUID]:
    """What a program with that version of the code publishes."""
    ids = [uuid4() for _ in range(count)]
    with system.pipeline.ledger.events.begin() as connection:
        rows = [
            {"id": one, "aggregate_id": "", "event_type": event_type, "event_data": json.dumps(data),
             "schema_version": version}
            for one in ids
        ]  # fmt: skip
        connection.execute(insert(event_store), rows)
    return ids
