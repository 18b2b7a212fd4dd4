"""Signals in cases of which the random cells of tests/machines know nothing."""

import os
import signal
import time
from pathlib import Path

import pytest

import shop
from events import publish
from support.system import System
from support.waiting import eventually


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_handler_that_holds_the_ledgers_only_lock_is_handed_back_when_its_process_ends(
    pool: str, tmp_path: Path
) -> None:
    with System("sqlite", tmp_path, shutdown_timeout="1s", lease="60s").in_use() as system:
        # Given a handler that has written, and runs in the worker's own process
        worker = system.start_worker(pool=pool)
        event = shop.Held(release=str(tmp_path / "release"))
        publish(event)
        eventually(lambda: system.starts(event.event_id), "it has the lock")
        # When the worker is told to end
        assert worker.stop() == 0
        # Then the delivery waits as if it had never begun, and nothing of it is there
        (row,) = system.deliveries(event.event_id)
        assert (row.state, row.attempts - row.attempts_before) == ("pending", 0)
        assert not system.effects(event.event_id)


def test_a_handler_that_ends_its_process_is_counted(tmp_path: Path) -> None:
    with System("postgres", tmp_path).in_use() as system:
        worker = system.start_worker()
        event = shop.Doomed(signal=signal.SIGTERM)
        publish(event)
        assert system.settled(1, event.event_id) == {"dead": 1}
        assert len(system.starts(event.event_id)) == 3
        assert worker.alive()


def test_a_worker_whose_main_thread_hangs_ends_in_time(tmp_path: Path) -> None:
    with System("postgres", tmp_path, shutdown_timeout="1s", time_limit="600s", lease="60s").in_use() as system:
        # Given a handler in the main thread, in a library that knows no signals
        worker = system.start_worker(pool="solo")
        event = shop.Deaf()
        publish(event)
        eventually(lambda: system.starts(event.event_id), "it hangs")
        begun = time.monotonic()
        os.killpg(worker.pid, signal.SIGTERM)
        assert worker.exit_code() == 0
        assert time.monotonic() - begun < 20
        (row,) = system.deliveries(event.event_id)
        assert (row.state, row.attempts - row.attempts_before) == ("pending", 0)
