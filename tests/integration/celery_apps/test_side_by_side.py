"""Workers of an application's own Celery app run its plain tasks and handlers, each as ever."""

from pathlib import Path

import pytest
import redis

from events import publish
from events.transport.message import task_id
from shop import Doomed, Flaky, OrderPlaced
from support.market import Market
from support.servers import server_url
from support.size import alike

OF_AN_ORDER = 2  # handlers that write
CANVAS = """
from celery import chain, chord, group
print(add.delay(1, 2).get(timeout=60))
print(chain(add.s(1, 1), add.s(3)).apply_async().get(timeout=60))
print(group(add.s(1, 1), add.s(2, 2)).apply_async().get(timeout=60))
print(chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async().get(timeout=60))
print(add.apply_async((5, 5), countdown=1).get(timeout=60))
print(at_last.delay(3).get(timeout=60))
print(type(fails.delay().get(timeout=60, propagate=False)).__name__)
"""
RESULTS = ["3", "5", "[2, 4]", "6", "10", "3", "ValueError"]


@pytest.mark.parametrize(
    ("mode", "pool"),
    [
        ("redis", "prefork"),
        ("rabbitmq", "threads"),
        ("redis", "solo"),
        alike("rabbitmq", "prefork"),
        alike("redis", "threads"),
        alike("rabbitmq", "solo"),
    ],
)
def test_plain_tasks_and_handlers_run_side_by_side(mode: str, pool: str, tmp_path: Path) -> None:
    with Market(mode, tmp_path).in_use() as market:
        # Given a worker of the application's app, whose settings would break the promise if they were the handlers'
        worker = market.start_market(pool=pool)
        # When events are published, and a web process sends plain tasks of every kind
        events = [OrderPlaced(order=str(number)) for number in range(5)]
        publish([*events, Flaky(works_on_attempt=2)])
        found = market.ask(CANVAS)
        # Then the plain tasks have their results, the retried ones as well
        assert found == RESULTS
        # And each effect of a handler is there once
        market.settled(3 * len(events) + 1)
        assert set(market.effects().values()) == {1}
        assert len(market.effects()) == OF_AN_ORDER * len(events) + 1
        # And none of them has a result in the application's backend
        with redis.Redis.from_url(server_url("REDIS")) as client:
            ids = [task_id(row.event_id, row.handler) for row in market.deliveries()]
            assert not client.exists(*(f"celery-task-meta-{one}" for one in ids))
        # And the application's task class was that of its own tasks alone
        assert all("tasks" not in line for line in market.notes())
        assert sum(line.startswith("add") for line in market.notes()) == 8
        # And nothing was parked, and the worker ends as it should
        assert not sum(market.pipeline.parked.counts().values())
        assert worker.stop() == 0


@pytest.mark.parametrize(
    "options",
    [("--autoscale", "3,1"), ("--max-tasks-per-child", "1"), ("-B",), ("--without-mingle", "--without-gossip", "-E")],
    ids=lambda options: options[0].strip("-"),
)
def test_options_of_the_worker_are_celerys(options: tuple[str, ...], tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a worker with an option
        worker = market.start_market(*options)
        # When both kinds of work come
        publish([OrderPlaced(order=str(number)) for number in range(6)])
        assert market.ask("print([add.delay(i, i).get(timeout=60) for i in range(6)])") == ["[0, 2, 4, 6, 8, 10]"]
        # Then both are done, and beat ticks if it should
        market.settled(3 * 6)
        assert set(market.effects().values()) == {1}
        if "-B" in options:
            market.noted("ticked", 2)
        assert worker.stop() == 0


@pytest.mark.parametrize("mode", ["rabbitmq", alike("redis")])
def test_minus_q_chooses_among_all_queues(mode: str, tmp_path: Path) -> None:
    with Market(mode, tmp_path).in_use() as market:
        # Given a worker that reads a queue of plain tasks alone
        plain = market.start_market("-Q", market.queue)
        publish(OrderPlaced(order="1"))
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]
        # Then it runs no handler, and says so
        plain.wait_for(f"no queue of handlers ({market.handlers_queue})")
        assert not market.states()
        # When another reads the queue of handlers alone
        market.start_market("-Q", market.handlers_queue)
        # Then handlers run, and plain tasks are left to the first
        market.settled(3)
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]
        assert "market.tasks.add" in plain.log.read_text()


def test_minus_x_leaves_the_queue_of_handlers_out(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        plain = market.start_market("-X", market.handlers_queue)
        plain.wait_for("no queue of handlers")
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]


@pytest.mark.parametrize("mode", ["redis", alike("rabbitmq")])
def test_handlers_need_no_broker_where_the_tasks_have_one(mode: str, tmp_path: Path) -> None:
    with Market(mode, tmp_path, broker_url="").in_use() as market:
        # Given EVENTS_BROKER_URL that says that handlers have none
        market.start_market()
        # When both kinds of work come, Then both are done
        publish(OrderPlaced(order="1"))
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]
        market.settled(3)
        assert set(market.effects().values()) == {1}


def test_a_handler_that_kills_its_process_costs_its_own_attempts_and_no_plain_task(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given a worker
        market.start_market()
        # When a handler kills its process each time, and plain tasks run beside it
        publish(Doomed())
        assert market.ask("print([add.delay(i, i).get(timeout=60) for i in range(20)][-1])") == ["38"]
        # Then it is a dead letter, and they have run
        assert market.settled(1) == {"dead": 1}


def test_the_worker_of_events_is_one_of_the_app_that_has_handlers(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        # Given handlers' modules that import the application's app, which has called install()
        market.environment["EVENTS_HANDLERS"] = "shop,market.tasks"
        # When a worker is started by our name
        worker = market.start(["celery", "-A", "events", "worker", "-c", "2", "-l", "INFO", "-n", "e@test"])
        # Then it is as one of theirs: handlers use the app's broker, and both kinds run
        worker.wait_for(f"handlers' deliveries come from {market.broker_url}")
        publish(OrderPlaced(order="1"))
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]
        market.settled(3)
        assert set(market.effects().values()) == {1}
