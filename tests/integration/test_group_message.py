"""Messages of many deliveries, and many messages at once, on real brokers."""

from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID, uuid4

import kombu
import pytest

from events.errors import TransportError
from events.ledger.records import Group, Wakeup
from events.settings.settings import Settings
from events.transport import open_transport
from events.transport.broker import BrokerTransport
from events.transport.message import group_of
from support.servers import server_url
from support.waiting import eventually

MANY = 2_000


@pytest.fixture(params=["REDIS", "AMQP"])
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    settings = Settings(broker_url=server_url(request.param), queue=f"test-{uuid4().hex[:12]}", broker_timeout="5s")
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


def group(settings: Settings, count: int) -> Group:
    return tuple(Wakeup(uuid4(), "some_handler", settings.queue, number + 1) for number in range(count))


def read_all(settings: Settings, count: int) -> list[kombu.Message]:
    """What stands in the queue, taken out as any consumer takes it."""
    read: list[kombu.Message] = []
    with kombu.Connection(settings.broker_url) as connection, connection.channel() as channel:
        queue = kombu.Queue(settings.queue).bind(channel)

        def all_read() -> bool:
            while message := queue.get(no_ack=True, accept=["json"]):
                read.append(message)
            return len(read) >= count

        eventually(all_read, f"{count} messages are in the queue")
    return read


@pytest.mark.parametrize("count", [2, 50, 1000])
def test_a_group_is_one_celery_task_named_after_its_handler(
    transport: BrokerTransport, settings: Settings, count: int
) -> None:
    # Given a message of several deliveries
    sent = group(settings, count)
    transport.send([sent])
    assert transport.waiting(settings.queue) == 1
    # When it is read as any consumer reads it
    (message,) = read_all(settings, 1)
    # Then it is a task of protocol 2, of its handler, with the deliveries as its arguments
    positional, keywords, embedded = message.decode()
    assert message.headers["task"] == "some_handler"
    assert (positional, set(embedded)) == ([], {"callbacks", "errbacks", "chain", "chord"})
    assert keywords == {"deliveries": [[str(one.event_id), one.token] for one in sent]}
    assert UUID(message.headers["id"])
    assert message.properties["correlation_id"] == message.headers["id"] == message.headers["root_id"]
    assert message.headers["retries"] == 0
    # And Flower shows how many there are instead of all of them
    assert message.headers["kwargsrepr"] == repr({"deliveries": count})
    # And who knows our header needs no more
    assert group_of(message.headers) == sent


def test_the_same_deliveries_in_other_company_are_another_task(transport: BrokerTransport, settings: Settings) -> None:
    # Given some deliveries that are sent together, in part, alone, and again with a later attempt
    sent = group(settings, 3)
    later = tuple(Wakeup(one.event_id, one.handler, one.queue, one.token + 1) for one in sent)
    groups = [sent, sent[:2], sent[:1], later]
    transport.send(groups)
    # Then each is a task of its own
    messages = read_all(settings, 4)
    assert len({message.headers["id"] for message in messages}) == 4
    assert [group_of(message.headers) for message in messages] == groups


def test_thousands_of_messages_in_one_call_all_arrive_in_order(transport: BrokerTransport, settings: Settings) -> None:
    # Given more messages than may be unconfirmed at a time, alone and in groups
    groups = [group(settings, 1 + number % 3) for number in range(MANY)]
    # When they are sent in one call
    transport.send(groups)
    # Then all stand in the queue when that returns, each once, in order
    assert transport.waiting(settings.queue) == MANY
    assert [group_of(message.headers) for message in read_all(settings, MANY)] == groups
    # And so do those of the next call
    transport.send(groups[:10])
    assert [group_of(message.headers) for message in read_all(settings, 10)] == groups[:10]


@pytest.mark.parametrize("settings", ["AMQP"], indirect=True)  # a Redis list comes into being by a push
@pytest.mark.parametrize("count", [1, MANY])
def test_rabbitmq_refuses_groups_for_a_queue_that_was_deleted(
    transport: BrokerTransport, settings: Settings, count: int
) -> None:
    # Given a queue that was deleted behind the sender's back
    transport.send([group(settings, 2)])
    with kombu.Connection(settings.broker_url) as connection, connection.channel() as channel:
        channel.queue_delete(settings.queue)
    # Then what is sent next is refused, not lost
    with pytest.raises(TransportError, match="NO_ROUTE"):
        transport.send([group(settings, 2) for _ in range(count)])
    # And what is sent after it arrives, and nothing else
    last = group(settings, 2)
    transport.send([last])
    assert [group_of(message.headers) for message in read_all(settings, 1)] == [last]


@pytest.mark.parametrize(
    "deliveries", [None, 7, [], [[1]], [["no id", 1]], [[str(uuid4()), "x"]], [[str(uuid4()), 1], None]]
)
def test_a_header_that_is_none_of_ours_holds_no_deliveries(deliveries: object) -> None:
    assert group_of({"events": {"handler": "h", "queue": "q", "deliveries": deliveries}}) == ()
