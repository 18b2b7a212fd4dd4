"""A rolling deployment: old and new code run side by side, and nothing is failed or skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.ledger.records import HELD
from support.rolling import publish_as, start_worker
from support.system import MODES, System
from support.waiting import eventually


@pytest.fixture
def system(mode: str, tmp_path: Path) -> Iterator[System]:
    with System(mode, tmp_path, handlers="deployed").in_use() as system:
        yield system


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


@pytest.mark.parametrize("mode", ["sqlite", "redis"])
def test_old_code_that_starts_late_and_leaves_harms_nothing_and_what_it_alone_had_waits(
    mode: str, tmp_path: Path
) -> None:
    with System(mode, tmp_path, handlers="wider", watchdog="40s" if mode == "sqlite" else "4s").in_use() as system:
        # Given a worker with new code, and one with old code that starts after it, and leaves
        new = start_worker(system, "new")
        start_worker(system, "old").stop()
        # When programs publish
        stayed, arrived = publish_as(system, "Stayed", count=400), publish_as(system, "Arrived")
        # Then the new code gets all that it wants
        assert system.settled(404, timeout=120) == {"succeeded": 404, "pending": 400}
        assert {handler for _, handler in system.effects(*arrived)} == {"widens"}
        # And what only old code wanted waits in nobody's way, and the worker lives
        orphans = [row for row in system.deliveries(*stayed) if row.handler == "goes"]
        eventually(lambda: all(row.due_at == HELD for row in system.deliveries(*stayed) if row.handler == "goes"),
                   "nobody looks at it any more")  # fmt: skip
        assert len(orphans) == 400
        assert new.alive()
        # And it is named, until it is retired
        (goes,) = [one for one in system.pipeline.upkeep.handlers() if one.handler == "goes"]
        assert [(orphan.event_type, orphan.waiting) for orphan in goes.orphans] == [("Stayed", 400)]
        assert system.pipeline.upkeep.retire("goes", "ann") == 400
