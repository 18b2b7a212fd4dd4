"""A queue of which RabbitMQ kept only the name: made anew, and nothing is lost with it."""

import shutil
from pathlib import Path

import kombu
import pytest

import shop
from events import publish
from events.settings.settings import Settings
from events.transport.revival import revive
from events.transport.topology import dead_letter_queue, work_queue
from rigs.chaos.machines import Machine
from support.system import System

pytestmark = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)


def declare(connection: kombu.Connection, settings: Settings) -> None:
    for queue in (dead_letter_queue(settings), work_queue(settings.queue, settings)):
        queue.bind(connection.default_channel).declare()


def test_what_is_published_to_a_dead_queue_is_done(broker: Machine, tmp_path: Path) -> None:
    with System("rabbitmq", tmp_path, broker_url=broker.url).in_use() as system:
        # Given a queue of which only the name is left, as if RabbitMQ had been killed as soon as it had made it
        with kombu.Connection(broker.url) as connection:
            declare(connection, system.pipeline.settings)
        broker.end()
        (data,) = broker.folder.glob("*/quorum")
        shutil.rmtree(data)
        broker.start()
        # When an event is published, and a worker started, which at first can't consume
        event = shop.AsyncWork()
        publish(event)
        worker = system.start_worker()
        # Then the queue was made anew, and the event is handled once
        assert system.settled(1) == {"succeeded": 1}
        assert set(system.effects().values()) == {1}
        assert "makes it anew from the ledger" in worker.log.read_text()


def test_a_queue_that_answers_is_left_alone(broker: Machine) -> None:
    # Given a queue with a message in it, and another that isn't there
    settings = Settings(broker_url=broker.url, queue="answers")
    with kombu.Connection(broker.url) as connection:
        declare(connection, settings)
        channel = connection.default_channel
        kombu.Producer(channel).publish("x", routing_key=settings.queue)
        # When somebody looks into them, then neither is touched
        assert not revive(settings, settings.queue)
        assert not revive(settings, "nobody-has-made-it")
        assert channel.queue_declare(settings.queue, passive=True).message_count == 1
