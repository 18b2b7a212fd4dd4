"""The end of a worker: no new work, a deadline for what runs, and nothing lost, repeated or blamed."""

import time
from pathlib import Path

import pytest

import shop
from events import publish
from support.size import sized
from support.system import MODES, Process, System
from support.waiting import eventually

POOLS = [(mode, "prefork") for mode in MODES] + [(mode, pool) for mode in ("redis",) for pool in ("threads", "solo")]


def running(system: System, folder: Path) -> tuple[shop.Patient, Process]:
    """The newest worker, with a handler that ends only when the file `release` appears."""
    event = shop.Patient(release=str(folder / "release"))
    publish(event)
    eventually(lambda: system.starts(event.event_id), "the handler runs")
    return event, system.processes[-1]


@pytest.mark.parametrize(("mode", "pool"), POOLS)
def test_on_sigterm_running_handlers_finish_and_no_new_work_is_started(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given a worker with a handler that runs
        system.start_worker(pool=pool)
        event, worker = running(system, tmp_path)
        # When it gets SIGTERM, and then more is published
        worker.terminate()
        worker.wait_for("Warm shutdown")
        later = [shop.OrderPlaced(order=str(number)) for number in range(10)]
        publish(later)
        # Then a successor runs that, while the old one still waits for its handler
        system.start_worker(pool=pool)
        system.settled(20, *[one.event_id for one in later])
        assert worker.alive()
        (tmp_path / "release").touch()
        # And the handler ends as if nothing had happened: one attempt, one effect, exit code 0
        assert system.settled(1, event.event_id) == {"succeeded": 1}
        assert worker.exit_code() == 0
        assert len(system.starts(event.event_id)) == 1
        old = system.started_by(event.event_id)
        assert not any(system.started_by(one.event_id) & old for one in later)


@pytest.mark.parametrize(("mode", "pool"), POOLS)
def test_after_the_deadline_what_runs_is_handed_back_with_the_attempt_not_counted(
    mode: str, pool: str, tmp_path: Path
) -> None:
    with System(mode, tmp_path, shutdown_timeout="1s", lease="60s").in_use() as system:
        # Given a handler that takes longer than the deadline, and a successor that is there already
        system.start_worker(pool=pool)
        event, worker = running(system, tmp_path)
        system.start_worker(pool=pool)
        # When the worker gets SIGTERM
        assert worker.stop() == 0
        ended = time.monotonic()
        # Then the successor starts it soon, as the first attempt again, and it is done once
        eventually(lambda: len(system.starts(event.event_id)) == 2, "the successor has started it")
        assert time.monotonic() - ended < sized(6, 2), "2 s are promised; three times that is for a busy machine"
        (tmp_path / "release").touch()
        assert system.settled(1, event.event_id) == {"succeeded": 1}
        assert [line.split()[2] for line in system.starts(event.event_id)] == ["1", "1"]
        assert system.effects(event.event_id) == {(str(event.event_id), "waits_then_writes"): 1}


@pytest.mark.timeout(sized(300, 900))
@pytest.mark.parametrize("mode", sized(["redis"], MODES))
def test_rolling_restarts_under_load_lose_and_repeat_nothing(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given two workers under load
        workers = [system.start_worker(), system.start_worker()]
        events = []
        # When each is replaced, in turn
        for _ in range(sized(3, 15)):
            for index in (0, 1):
                batch = [shop.OrderPlaced(order=str(number)) for number in range(100)]
                publish(batch)
                events += batch
                assert workers[index].stop() == 0
                workers[index] = system.start_worker()
        # Then all is done once, and started once
        ids = [event.event_id for event in events]
        assert system.settled(2 * len(ids), *ids) == {"succeeded": 2 * len(ids)}
        assert set(system.effects(*ids).values()) == {1}
        assert {len(system.starts(event_id)) for event_id in ids} == {1}
