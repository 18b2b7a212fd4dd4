"""The transports against real brokers: what arrives, what is counted, what is refused."""

from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import kombu
import pytest

from events.errors import TransportError
from events.ledger.records import Wakeup
from events.settings.settings import Settings
from events.transport import open_transport
from events.transport.broker import BrokerTransport
from events.transport.message import group_of, task_id
from support.servers import server_url


@pytest.fixture(params=["REDIS", "AMQP"])
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    settings = Settings(broker_url=server_url(request.param), queue=f"test-{uuid4().hex[:12]}", broker_timeout="2s")
    yield settings
    with kombu.Connection(settings.broker_url) as connection, connection.channel() as channel, suppress(Exception):
        for queue in (settings.queue, f"{settings.queue}.dead"):
            channel.queue_purge(queue)  # on Redis this is what removes the list
            channel.queue_delete(queue)
        if request.param == "AMQP":
            channel.exchange_delete(f"{settings.queue}.dlx")


@pytest.fixture
def transport(settings: Settings) -> Iterator[BrokerTransport]:
    transport = open_transport(settings)
    assert isinstance(transport, BrokerTransport)
    yield transport
    transport.close()


def wakeups(settings: Settings, count: int) -> list[Wakeup]:
    return [Wakeup(uuid4(), "some_handler", settings.queue, 2) for _ in range(count)]


def test_what_is_sent_stands_in_the_queue_as_celery_tasks(transport: BrokerTransport, settings: Settings) -> None:
    # Given some wake-ups
    sent = wakeups(settings, 3)
    transport.send([(wakeup,) for wakeup in sent])
    assert transport.waiting(settings.queue) == 3
    # When they are read as any consumer reads them
    with kombu.Connection(settings.broker_url) as connection, connection.channel() as channel:
        queue = kombu.Queue(settings.queue).bind(channel)
        read = [queue.get(no_ack=True, accept=["json"]) for _ in sent]
    # Then each is a task of its handler, for its event and attempt, in order
    for wakeup, message in zip(sent, read, strict=True):
        arguments = {"event_id": str(wakeup.event_id), "attempt": 2}
        assert message.decode()[:2] == [[], arguments]
        assert message.headers["task"] == "some_handler"
        assert message.headers["id"] == task_id(wakeup.event_id, "some_handler")
        assert message.headers["root_id"] == str(wakeup.event_id)
        assert group_of(message.headers) == (wakeup,)
    assert transport.waiting(settings.queue) == 0


def test_a_deleted_queue_is_found_empty_and_made_again(transport: BrokerTransport, settings: Settings) -> None:
    transport.send([tuple(wakeups(settings, 1))])
    with kombu.Connection(settings.broker_url) as connection, connection.channel() as channel:
        channel.queue_purge(settings.queue)
        channel.queue_delete(settings.queue)
    assert transport.waiting(settings.queue) == 0
    transport.send([(wakeup,) for wakeup in wakeups(settings, 2)])
    assert transport.waiting(settings.queue) == 2


@pytest.mark.parametrize("settings", ["AMQP"], indirect=True)  # a Redis list comes into being by a push
def test_rabbitmq_refuses_what_no_queue_takes(transport: BrokerTransport, settings: Settings) -> None:
    # Given a queue that was deleted behind the sender's back
    transport.send([tuple(wakeups(settings, 1))])
    with kombu.Connection(settings.broker_url) as connection, connection.channel() as channel:
        channel.queue_delete(settings.queue)
    # Then the next message is refused, not lost, and the one after it arrives
    with pytest.raises(TransportError, match="NO_ROUTE"):
        transport.send([tuple(wakeups(settings, 1))])
    transport.send([tuple(wakeups(settings, 1))])
    assert transport.waiting(settings.queue) == 1


@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:1/0", "amqp://user:secret@127.0.0.1:1//"])
def test_a_broker_that_is_not_there_is_an_error_without_the_password(url: str) -> None:
    transport = open_transport(Settings(broker_url=url, broker_timeout="1s"))
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:1") as caught:
        transport.send([(Wakeup(uuid4(), "h", "q", 1),)])
    assert "secret" not in str(caught.value)


def test_without_a_broker_what_is_sent_is_held_in_this_process() -> None:
    transport = open_transport(Settings(broker_url=""))
    group = (Wakeup(uuid4(), "h", f"memory-{uuid4()}", 1),)
    transport.send([group])
    assert group in transport.held()
    assert transport.waiting(group[0].queue) == 1
    transport.close()


def test_to_acknowledge_on_a_connection_that_broke_is_a_connection_error() -> None:
    # Given a message of Redis in a worker's hand
    with kombu.Connection(server_url("REDIS"), transport="events.transport.redis:Transport") as connection:
        queue = kombu.Queue(f"broken-{uuid4()}").bind(connection.channel())
        queue.declare()
        kombu.Producer(queue.channel).publish("hello", routing_key=queue.name)
        message = queue.get()
        errors = connection.connection_errors
        # When its connection breaks before it is acknowledged, then that is what is said
        queue.channel._disconnect_pools()  # as kombu does it
        queue.channel.connection.client = None
        with pytest.raises(errors):
            message.ack()
