"""Handlers that do the worst: every attempt counts, the last makes a dead letter, and the worker serves the others."""

from pathlib import Path

import pytest

import shop
from events import publish
from support.system import BROKERS, System
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


@pytest.mark.parametrize(("mode", "pool"), [("redis", "threads"), ("rabbitmq", "solo")])
def test_a_handler_that_kills_the_whole_worker_is_dead_after_its_attempts(mode: str, pool: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, lease="1s").in_use() as system:
        # Given a handler that kills its process, which on these pools is the worker, and a supervisor
        event = shop.Doomed()
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
