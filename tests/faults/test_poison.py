"""Handlers that do the worst: every attempt counts, the last makes a dead letter, and the worker serves the others."""

import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import text

import shop
from events import publish
from support.size import sized
from support.system import BROKERS, MODES, System
from support.waiting import eventually

RAISED = ("MemoryError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "Reject", "Ignore", "Retry")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize("mode", sorted(BROKERS))
def test_what_celery_takes_for_an_order_is_an_ordinary_failure(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given handlers that raise what ends, blocks or loops a stock worker, and a handler that behaves
        worker = system.start_worker(pool=pool)
        events = [shop.Raises(what=what) for what in RAISED]
        publish(events)
        good = shop.OrderPlaced(order="good")
        publish(good)
        # Then each is a dead letter after its three attempts, without an effect
        ids = [event.event_id for event in events]
        assert system.settled(len(ids), *ids) == {"dead": len(ids)}
        assert {len(system.starts(event_id)) for event_id in ids} == {3}
        assert system.effects(*ids) == {}
        # And the worker lives, and has done the rest
        assert system.settled(2, good.event_id) == {"succeeded": 2}
        assert worker.alive()


@pytest.mark.parametrize(
    ("mode", "pool", "number"),
    [
        ("redis", "threads", signal.SIGKILL),
        ("redis", "solo", signal.SIGSEGV),
        ("rabbitmq", "threads", signal.SIGSEGV),
        ("rabbitmq", "solo", signal.SIGKILL),
    ],
)
def test_a_handler_that_kills_the_whole_worker_is_dead_after_its_attempts(
    mode: str, pool: str, number: signal.Signals, tmp_path: Path
) -> None:
    with System(mode, tmp_path, lease="1s").in_use() as system:
        # Given a handler that kills its process, which on these pools is the worker, and a supervisor
        event = shop.Doomed(signal=number)
        publish(event)
        worker = system.start_worker(pool=pool)

        def supervised() -> bool:
            nonlocal worker
            if not worker.alive():
                worker = system.start_worker(pool=pool)
            return system.states(event.event_id)["dead"] == 1

        # Then it is started three times, by as many workers, and is a dead letter
        eventually(supervised, "the delivery is a dead letter", 90)
        assert len(system.started_by(event.event_id)) == 3
        # And the last worker serves the others
        good = shop.OrderPlaced(order="good")
        publish(good)
        assert system.settled(2, good.event_id) == {"succeeded": 2}


def test_a_handler_that_ignores_its_time_limit_is_killed_and_counted(tmp_path: Path) -> None:
    with System("redis", tmp_path).in_use() as system:
        # Given a handler that swallows what the time limit raises
        system.start_worker()
        event = shop.Stubborn()
        publish(event)
        # Then its process is killed after the grace, and the attempt has failed
        assert system.settled(1, event.event_id) == {"dead": 1}
        (letter,) = system.pipeline.dead_letters.show(event.event_id)
        assert letter.error_type.endswith("TimeLimitExceeded")
        assert len(system.starts(event.event_id)) == 1


def test_a_statement_that_the_time_limit_cuts_short_is_cancelled_and_named_by_its_limit(tmp_path: Path) -> None:
    with System("postgres", tmp_path).in_use() as system:
        # Given a handler whose statement takes far longer than its limit
        worker = system.start_worker()
        event = shop.SlowStatement()
        publish(event)
        # Then it has failed for its time limit, without an effect
        assert system.settled(1, event.event_id) == {"dead": 1}
        (letter,) = system.pipeline.dead_letters.show(event.event_id)
        assert letter.error_type.endswith("SoftTimeLimitExceeded")
        assert system.effects(event.event_id) == {}
        # And the database doesn't work on it any more, and the worker works on
        running = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' "
                       "AND pid <> pg_backend_pid()")  # fmt: skip
        with system.pipeline.ledger.engine.connect() as connection:
            eventually(lambda: connection.scalar(running) == 0, "the statement was cancelled")
        good = shop.OrderPlaced(order="good")
        publish(good)
        assert system.settled(2, good.event_id) == {"succeeded": 2}
        assert worker.alive()


@pytest.mark.timeout(sized(300, 600))
@pytest.mark.parametrize("mode", sized(["redis"], MODES))
def test_handlers_that_kill_their_process_leave_the_others_their_speed(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path).in_use() as system:
        # Given a worker, and three loads of work, of which every second comes with handlers that kill their process
        system.start_worker()
        took: dict[bool, list[float]] = {True: [], False: []}
        for poisoned in (False, True) * 3:
            good = [shop.AsyncWork() for _ in range(sized(600, 10_000))]
            doomed = [shop.Doomed(signal=signal.SIGSEGV) for _ in range(2)] if poisoned else []
            begun = time.monotonic()
            publish([*good[:200], *doomed, *good[200:]])
            ids = [event.event_id for event in good]
            assert system.settled(len(ids), *ids) == {"succeeded": len(ids)}
            took[poisoned].append(time.monotonic() - begun)
            # Then every one of those is a dead letter after its three starts
            for event in doomed:
                assert system.settled(1, event.event_id) == {"dead": 1}
                assert len(system.starts(event.event_id)) == 3
        # And the others kept their speed
        share = min(took[False]) / min(took[True])
        assert share >= sized(0.5, 0.8), took
