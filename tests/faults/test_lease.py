"""Leases: a worker that stands still loses its delivery, one that works keeps it, and names prove nothing."""

import os
import signal
from pathlib import Path

import pytest

import shop
from events import publish
from support.system import System
from support.waiting import eventually


@pytest.mark.parametrize("mode", ["postgres", "redis", "rabbitmq"])
def test_the_late_commit_of_a_worker_that_stood_still_is_refused(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, lease="2s").in_use() as system:
        # Given a handler in the middle of its transaction, and its worker stopped
        worker = system.start_worker()
        event = shop.Patient(release=str(tmp_path / "release"))
        publish(event)
        eventually(lambda: system.starts(event.event_id), "the handler runs")
        os.killpg(worker.pid, signal.SIGSTOP)
        # When the lease has ended, another worker runs the delivery, to the end
        try:
            system.start_worker()
            eventually(lambda: len(system.starts(event.event_id)) == 2, "another worker has started it")
            (tmp_path / "release").touch()
            assert system.settled(1, event.event_id) == {"succeeded": 1}
        finally:
            os.killpg(worker.pid, signal.SIGCONT)
        # Then the first, which goes on, can't commit
        worker.wait_for("longer than its lease")
        assert system.effects(event.event_id) == {(str(event.event_id), "waits_then_writes"): 1}
        (row,) = system.deliveries(event.event_id)
        assert (row.state, row.attempts) == ("succeeded", 2)


@pytest.mark.parametrize("mode", ["sqlite", "redis"])
def test_a_handler_of_ten_leases_runs_once(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, lease="1s", stale_after="1s").in_use() as system:
        # Given two workers, and a handler that takes far longer than its lease
        system.start_worker()
        system.start_worker()
        event = shop.Patient(release=str(tmp_path / "release"))
        publish(event)
        eventually(lambda: system.starts(event.event_id), "the handler runs")
        (started,) = system.deliveries(event.event_id)

        def ten_leases_later() -> bool:
            (row,) = system.deliveries(event.event_id)
            return (row.due_at - started.due_at).total_seconds() > 9

        eventually(ten_leases_later, "its lease was extended again and again")
        (tmp_path / "release").touch()
        # Then it has run once
        assert system.settled(1, event.event_id) == {"succeeded": 1}
        assert len(system.starts(event.event_id)) == 1


@pytest.mark.parametrize("mode", ["postgres", "redis", "rabbitmq"])
def test_two_workers_of_one_name_both_work(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given two workers that were given the same name
        name = f"namesake-{system.environment['EVENTS_QUEUE']}@test"
        workers = [system.start_worker(name=name), system.start_worker(name=name)]
        # When one of them ends while something runs
        events = [shop.Patient(release=str(tmp_path / "release")) for _ in range(4)]
        publish(events)
        ids = [event.event_id for event in events]
        eventually(lambda: sum(len(system.starts(event_id)) for event_id in ids) >= 2, "some run")
        workers[0].terminate()
        (tmp_path / "release").touch()
        # Then everything is done once, by both
        assert system.settled(4, *ids) == {"succeeded": 4}
        assert workers[0].exit_code() == 0
        assert {len(system.starts(event_id)) for event_id in ids} == {1}
        assert workers[1].alive()
