"""Ends of a worker that has both kinds of work: handlers keep their promise, and plain tasks what Celery says."""

import os
import signal
from pathlib import Path

import pytest

from events import publish
from shop import Held, OrderPlaced, Patient
from support.market import Market
from support.size import alike
from support.waiting import eventually


@pytest.mark.parametrize(
    ("mode", "pool"),
    [("redis", "prefork"), ("rabbitmq", "threads"), alike("rabbitmq", "prefork"), alike("redis", "threads")],
)
def test_a_kill_of_the_worker_does_no_effect_twice_and_loses_none(mode: str, pool: str, tmp_path: Path) -> None:
    with Market(mode, tmp_path).in_use() as market:
        # Given a worker in the midst of a handler and of a plain task, and more of both that wait
        worker = market.start_market(pool=pool, concurrency=2)
        release = tmp_path / "release"
        event = Held(release=str(release))
        publish(event)
        market.ask(f"slowly.delay({str(release)!r}).id")
        market.noted("slowly")
        eventually(lambda: market.starts(event.event_id), "the handler runs")
        publish([OrderPlaced(order=str(number)) for number in range(20)])
        # When it is killed, and another one starts
        worker.kill()
        release.touch()
        market.start_market(pool=pool)
        # Then each effect of a handler is there once
        assert market.settled(1 + 3 * 20) == {"succeeded": 1 + 3 * 20}
        assert len(market.effects()) == 1 + 2 * 20
        assert set(market.effects().values()) == {1}
        # And plain tasks go on
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_plain_task_has_the_time_that_celery_gives_it(pool: str, tmp_path: Path) -> None:
    with Market("redis", tmp_path, shutdown_timeout="1s").in_use() as market:
        # Given a worker in the midst of a handler and of a plain task
        worker = market.start_market(pool=pool)
        release, never = tmp_path / "release", tmp_path / "never"
        event = Patient(release=str(never))
        publish(event)
        market.ask(f"slowly.delay({str(release)!r}).id")
        market.noted("slowly")
        eventually(lambda: market.starts(event.event_id), "the handler runs")
        # When it is told to end
        worker.terminate()
        # Then the handler is handed back when its time is over, with no attempt counted, and the task runs on
        worker.wait_for("handed back 1 delivery that still ran 1 s after that")
        (row,) = market.deliveries()
        assert row.state == "pending"
        assert worker.alive()
        # And when the task ends, so does the worker
        release.touch()
        assert worker.exit_code() == 0
        if pool == "prefork":
            assert "market.tasks.slowly" in worker.log.read_text()
            assert "succeeded" in worker.log.read_text()
        # And another worker runs the handler, as the first attempt again
        never.touch()
        market.start_market(pool=pool)
        assert market.settled(1) == {"succeeded": 1}
        assert [line.split()[2] for line in market.starts(event.event_id)] == ["1", "1"]


def test_a_handler_that_ends_in_time_has_its_outcome(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        worker = market.start_market()
        release = tmp_path / "release"
        event = Patient(release=str(release))
        publish(event)
        eventually(lambda: market.starts(event.event_id), "the handler runs")
        worker.terminate()
        worker.wait_for("Warm shutdown")
        release.touch()
        assert worker.exit_code() == 0
        assert market.states() == {"succeeded": 1}
        assert list(market.effects().values()) == [1]


def test_a_cold_shutdown_hands_handlers_back(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a worker in the midst of a handler
        worker, release = market.start_market(), tmp_path / "release"
        event = Patient(release=str(release))
        publish(event)
        eventually(lambda: market.starts(event.event_id), "the handler runs")
        # When it is told to end at once
        os.kill(worker.pid, signal.SIGQUIT)
        worker.exit_code()
        # Then another worker runs it, as the first attempt again
        (row,) = market.deliveries()
        assert row.state == "pending"
        release.touch()
        market.start_market()
        assert market.settled(1) == {"succeeded": 1}
        assert [line.split()[2] for line in market.starts(event.event_id)] == ["1", "1"]


@pytest.mark.parametrize("mode", ["redis", alike("rabbitmq")])
def test_a_broker_that_is_away_for_a_while_costs_nothing(mode: str, tmp_path: Path) -> None:
    with Market(mode, tmp_path).in_use() as market:
        # Given a worker in the midst of a handler
        market.start_market()
        release = tmp_path / "release"
        event = Patient(release=str(release))
        publish(event)
        eventually(lambda: market.starts(event.event_id), "the handler runs")
        # When the broker is away, events are published, and it is there again
        market.take_broker_away()
        publish([OrderPlaced(order=str(number)) for number in range(10)])
        market.bring_broker_back()
        release.touch()
        # Then all is done once, and the handler that ran was not ended
        assert market.settled(1 + 3 * 10) == {"succeeded": 1 + 3 * 10}
        assert set(market.effects().values()) == {1}
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]


@pytest.mark.parametrize("mode", ["rabbitmq", alike("redis")])
def test_kills_under_load_do_no_effect_twice_and_lose_none(mode: str, tmp_path: Path) -> None:
    with Market(mode, tmp_path).in_use() as market:
        # Given two workers under load of both kinds
        workers = [market.start_market(), market.start_market()]
        count = 0
        for number in range(4):
            market.ask("for i in range(50): add.delay(i, i)")
            publish([OrderPlaced(order=f"{number}-{one}") for one in range(150)])
            count += 150
            eventually(lambda so_far=count: market.states()["succeeded"] > 3 * (so_far - 120), "some are done")
            # When one is killed in the midst of it, and replaced
            workers[number % 2].kill()
            workers[number % 2] = market.start_market()
        # Then all that was published is done once
        assert market.settled(3 * count) == {"succeeded": 3 * count}
        assert len(market.effects()) == 2 * count
        assert set(market.effects().values()) == {1}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_signal_to_the_whole_group_costs_a_handler_no_attempt(pool: str, tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a worker in the midst of a handler
        worker, release = market.start_market(pool=pool), tmp_path / "release"
        event = Patient(release=str(release))
        publish(event)
        eventually(lambda: market.starts(event.event_id), "the handler runs")
        # When all processes of the worker are told to end, and the handler ends in time
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait_for("Warm shutdown")
        release.touch()
        # Then it has its outcome
        assert worker.exit_code() == 0
        assert market.settled(1) == {"succeeded": 1}
        assert len(market.starts(event.event_id)) == 1


def test_a_hang_up_starts_the_worker_again(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a worker without a terminal
        worker = market.start_market()
        # When it gets SIGHUP, Then Celery starts it again, and both kinds run
        os.kill(worker.pid, signal.SIGHUP)
        eventually(lambda: worker.log.read_text().count("ready.") == 2, "it is ready again")
        publish(OrderPlaced(order="1"))
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]
        assert market.settled(3) == {"succeeded": 3}
