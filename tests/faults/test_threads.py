"""The threads pool: many handlers in one process, with connections for all of them and for their leases."""

from datetime import timedelta
from pathlib import Path

import shop
from events import publish
from support.system import System
from support.waiting import eventually

THREADS = 30  # more than a process used to have connections
LEASE = timedelta(seconds=2)


def test_handlers_that_take_all_threads_keep_their_leases(tmp_path: Path) -> None:
    with System("postgres", tmp_path, lease="2s", stale_after="30s").in_use() as system:
        # Given as many handlers as there are threads, each with its transaction open
        arguments = ["celery", "-A", "events", "worker", "-P", "threads", "-c", str(THREADS), "-l", "INFO"]
        worker = system.start(arguments)
        worker.wait_for("ready.")
        events = [shop.Patient(release=str(tmp_path / "release")) for _ in range(THREADS)]
        publish(events)
        ids = [event.event_id for event in events]
        eventually(lambda: system.states(*ids) == {"running": THREADS}, "all run")

        # When they take several times their lease
        def extended() -> bool:
            return all(row.due_at - row.started_at > 3 * LEASE for row in system.deliveries(*ids))

        eventually(extended, "all leases were extended")
        (tmp_path / "release").touch()
        # Then all succeed, at their first attempt
        assert system.settled(THREADS, *ids) == {"succeeded": THREADS}
        assert {row.attempts for row in system.deliveries(*ids)} == {1}
