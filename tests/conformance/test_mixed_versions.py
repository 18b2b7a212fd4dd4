"""A rolling deployment: old and new code run side by side, and nothing is failed or skipped."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from events.store.tables import event_store
from support.system import MODES, TESTS, Process, System
from support.waiting import eventually


@pytest.fixture
def system(mode: str, tmp_path: Path) -> Iterator[System]:
    with System(mode, tmp_path, handlers="deployed").in_use() as system:
        yield system


def start_worker(system: System, version: str) -> Process:
    """A worker with the old or the new code."""
    versions = TESTS / "support" / "versions"
    before = system.environment["PYTHONPATH"]
    system.environment["PYTHONPATH"] = f"{versions}:{versions / version}:{TESTS / 'support' / 'application'}"
    try:
        return system.start_worker()
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


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_failed_or_skipped_while_old_and_new_code_run_side_by_side(system: System) -> None:
    # Given a worker of each
    old, _ = start_worker(system, "old"), start_worker(system, "new")
    # When programs of both versions publish
    grew = publish_as(system, "Grew", 1, name="a") + publish_as(system, "Grew", 2, name="a", colour="red")
    quietly = publish_as(system, "GrewQuietly", name="a") + publish_as(system, "GrewQuietly", name="a", colour="red")
    stayed, arrived = publish_as(system, "Stayed"), publish_as(system, "Arrived")
    # Then everything succeeds: each event is handled by a worker that understands it
    assert system.settled(28, timeout=120) == {"succeeded": 28}
    assert set(system.effects().values()) == {1}
    assert {handler for _, handler in system.effects(*stayed)} == {"added", "removed"}
    assert len(system.effects(*grew, *quietly)) == 16
    assert len(system.effects(*arrived)) == 4
    # And when the old code is gone, an event of the old form is a dead letter that names what is missing
    old.stop()
    (orphan,) = publish_as(system, "GrewQuietly", count=1, name="a")
    assert system.settled(1, orphan) == {"dead": 1}
    (letter,) = system.pipeline.dead_letters.show(orphan)
    assert "'colour'" in letter.error


@pytest.mark.parametrize("mode", ["postgres"])
def test_an_event_newer_than_all_workers_is_retried_until_one_is_deployed_that_knows_it(system: System) -> None:
    # Given only old code
    start_worker(system, "old")
    # When a program with new code publishes
    (event_id,) = publish_as(system, "Grew", 2, count=1, name="a", colour="red")
    eventually(lambda: [row for row in system.deliveries(event_id) if row.attempts and row.error], "an attempt failed")
    # And a worker with new code comes
    start_worker(system, "new")
    # Then it is handled
    assert system.settled(1, event_id) == {"succeeded": 1}
    assert system.effects(event_id) == {(str(event_id), "on_grew"): 1}
