"""`control cancel_consumer` and `add_consumer` choose among the queues of handlers while a worker runs."""

import json
import time
from pathlib import Path

import pytest

from events import publish
from events.ledger import ALIVE
from events.transport.opening import open_transport
from shop import OrderPlaced
from support.market import Market
from support.size import alike
from support.system import System
from support.waiting import eventually

OF_AN_ORDER = 3  # deliveries


def told(market: Market, *command: str) -> str:
    """What a worker answers to remote control."""
    kind, *rest = command
    done = market.run(*market.celery(kind, "-d", market.worker_names[-1], *rest))
    return done.stdout + done.stderr


def queues(market: Market) -> set[str]:
    (found,) = json.loads(told(market, "inspect", "active_queues", "--json").splitlines()[0]).values()
    return {queue["name"] for queue in found}


@pytest.mark.parametrize(
    ("mode", "handlers"),
    [
        ("redis", "by the broker"),
        ("rabbitmq", "by the ledger"),
        alike("rabbitmq", "by the broker"),
        alike("redis", "by the ledger"),
    ],
)
def test_a_queue_of_handlers_can_be_left_and_taken_again(mode: str, handlers: str, tmp_path: Path) -> None:
    settings = {"broker_url": ""} if handlers == "by the ledger" else {}
    with Market(mode, tmp_path, **settings).in_use() as market:
        # Given a worker that runs both kinds
        worker = market.start_market()
        publish(OrderPlaced(order="1"))
        market.settled(OF_AN_ORDER)
        assert market.handlers_queue in queues(market)
        # When it is told to leave the queue of handlers
        assert "no longer consuming" in told(market, "control", "cancel_consumer", market.handlers_queue)
        worker.wait_for("are left to other workers from now on")
        assert market.handlers_queue not in queues(market)
        publish(OrderPlaced(order="2"))
        # Then its handlers wait, while plain tasks run
        if not settings:
            transport = open_transport(market.pipeline.settings)
            try:
                eventually(lambda: transport.waiting(market.handlers_queue), "their messages wait")
            finally:
                transport.close()
        assert market.ask("print([add.delay(i, i).get(timeout=60) for i in range(20)][-1])") == ["38"]
        assert market.states()["succeeded"] == OF_AN_ORDER
        # And `events status` knows
        alive = market.pipeline.ledger.workers.alive
        eventually(lambda: [one.queues for one in alive(ALIVE)] == [[]], "it is announced")
        # And when it is told to take that queue again, Then they run, once
        assert "add consumer" in told(market, "control", "add_consumer", market.handlers_queue)
        market.settled(2 * OF_AN_ORDER)
        assert set(market.effects().values()) == {1}
        assert market.handlers_queue in queues(market)
        assert worker.stop() == 0


def test_the_queues_of_plain_tasks_are_celerys(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.start_market()
        told(market, "control", "cancel_consumer", market.queue)
        eventually(lambda: market.queue not in queues(market), "it is left")
        publish(OrderPlaced(order="1"))
        market.settled(OF_AN_ORDER)
        told(market, "control", "add_consumer", market.queue)
        assert market.ask("print(add.delay(1, 2).get(timeout=60))") == ["3"]


def test_a_worker_that_began_without_handlers_takes_none(tmp_path: Path) -> None:
    with Market("redis", tmp_path).in_use() as market:
        market.start_market("-Q", market.queue)
        answer = told(market, "control", "add_consumer", market.handlers_queue)
        assert "no handler can run in this worker: " in answer
        assert f"start it with -Q and {market.handlers_queue} among its queues" in answer


def test_a_worker_of_handlers_alone_knows_their_queues(tmp_path: Path) -> None:
    with System("redis", tmp_path).in_use() as system:
        # Given a worker of `celery -A events` that reads no queue but another
        worker = system.start_worker()
        queue = system.environment["EVENTS_QUEUE"]

        def told(*command: str) -> str:
            log = system.start(["celery", "-A", "events", "control", "-d", system.worker_names[0], *command])
            log.exit_code()
            return log.log.read_text()

        # When it is told of a queue that no handler has, Then it refuses
        assert "no handler here has queue 'nowhere'; EVENTS_QUEUE and" in told("add_consumer", "nowhere")
        # And one of theirs can be left, and taken again
        told("cancel_consumer", queue)
        worker.wait_for("Canceling queue")
        told("add_consumer", queue)
        publish(OrderPlaced(order="1"))
        system.settled(OF_AN_ORDER)


@pytest.mark.parametrize("mode", ["rabbitmq", alike("redis")])
def test_a_worker_that_has_left_its_queue_is_not_taken_for_one_that_hangs(mode: str, tmp_path: Path) -> None:
    with System(mode, tmp_path, watchdog="5s").in_use() as system:
        # Given a worker of `celery -A events` that has left its queue, in which messages wait
        worker = system.start_worker()
        queue = system.environment["EVENTS_QUEUE"]
        command = ["celery", "-A", "events", "control", "-d", system.worker_names[0]]
        system.start([*command, "cancel_consumer", queue]).exit_code()
        worker.wait_for("Canceling queue")
        publish(OrderPlaced(order="1"))
        transport = open_transport(system.pipeline.settings)
        try:
            eventually(lambda: transport.waiting(queue), "they wait")
        finally:
            transport.close()
        # When the watchdog has looked for long enough
        since = time.monotonic()
        eventually(lambda: time.monotonic() > since + 12 or not worker.alive(), "twice its time has passed")
        # Then the worker lives, and runs them when it is told to
        assert worker.alive(), worker.log.read_text()[-2000:]
        system.start([*command, "add_consumer", queue]).exit_code()
        system.settled(OF_AN_ORDER)
