"""What is RabbitMQ's own in its bridge: events that no queue takes, and what others see of a message."""

import logging
from collections.abc import Callable, Iterator

import kombu
import pytest
from kombu.simple import SimpleQueue

import shop
from events.bridging import Publisher
from events.errors import PartlySent, TransportError
from support.bridged import Link, placed, send
from support.servers import server_url
from support.waiting import eventually


@pytest.fixture
def link() -> Link:
    return Link("rabbitmq+topic", server_url("AMQP"))


@pytest.fixture
def opened(link: Link) -> Iterator[Callable[[str], Publisher]]:
    publishers = []

    def open_it(more: str) -> Publisher:
        publishers.append(link.opened(more)[1].publisher())
        return publishers[-1]

    yield open_it
    for publisher in publishers:
        publisher.close()
    with kombu.Connection(server_url("AMQP")) as connection:
        connection.default_channel.exchange_delete(link.prefix)


@pytest.fixture
def queue(opened: Callable[[str], Publisher], link: Link) -> Iterator[SimpleQueue]:
    """Another service's, bound to orders that were placed."""
    with kombu.Connection(server_url("AMQP")) as connection:
        exchange = kombu.Exchange(link.prefix, "topic", durable=True)
        found = connection.SimpleQueue(
            kombu.Queue(f"{link.prefix}-q", exchange, "OrderPlaced", exclusive=True, durable=False)
        )
        try:
            yield found
        finally:
            found.close()


def test_what_no_queue_takes_fails_alone(opened: Callable[[str], Publisher], queue: SimpleQueue, link: Link) -> None:
    # Given a batch of which nobody wants the second
    events = [*placed(1), shop.AlwaysFails(text=""), *placed(1)]
    # When it is sent
    publisher = opened("")
    with pytest.raises(PartlySent) as raised:
        send(publisher, events)
    # Then the second was not, for a reason that may pass
    ((event_id, error),) = raised.value.failed.items()
    assert event_id == str(events[1].event_id)
    assert type(error) is TransportError
    assert f"no queue is bound to exchange '{link.prefix}'" in str(error)
    assert str(error).endswith("for AlwaysFails")
    # And the others were
    got = [queue.get(timeout=5).properties["message_id"] for _ in range(2)]
    assert got == [str(events[0].event_id), str(events[2].event_id)]
    # And the publisher goes on
    send(publisher, placed(1))


def test_it_can_be_nobodys_business(opened: Callable[[str], Publisher], caplog: pytest.LogCaptureFixture) -> None:
    # Given an exchange to which nobody need be listening
    publisher = opened("&mandatory=log")
    # When events are sent that no queue takes, then that is said, now and then
    with caplog.at_level(logging.WARNING, "events.bridges"):
        send(publisher, placed(3))
        send(publisher, placed(3))
    (line,) = caplog.messages
    assert line.endswith("for OrderPlaced: 3 events went to nobody")
    assert "guest:guest" not in line


def test_what_others_see(opened: Callable[[str], Publisher], queue: SimpleQueue) -> None:
    (event,) = placed(1, "ö")
    send(opened(""), [event])
    message = queue.get(timeout=5)
    assert message.delivery_info["routing_key"] == "OrderPlaced"
    assert message.properties["message_id"] == str(event.event_id)
    assert (message.content_type, message.properties["delivery_mode"]) == ("application/json", 2)
    assert message.headers["cloudEvents_type"] == "OrderPlaced"
    assert message.headers["cloudEvents_subject"] == "ö"
    assert message.payload["order"] == "ö"


def test_a_connection_that_ended_while_idle_is_no_failure(link: Link, opened: Callable[[str], Publisher]) -> None:
    # Given a publisher whose connection the server has ended
    publisher = opened("&mandatory=log")
    send(publisher, placed(1))
    publisher._connection.transport.sock.shutdown(2)
    # When it sends, then it does so by another
    send(publisher, placed(1))


def test_others_messages_without_our_headers_are_events(link: Link, opened: Callable[[str], Publisher]) -> None:
    # Given a subscriber, and a program that knows nothing but the routing key and AMQP's own properties
    opened("")
    subscriber = link.opened("&group=g")[1].subscriber(lambda: ["OrderPlaced"])
    subscriber.receive(0.01)
    try:
        with kombu.Connection(server_url("AMQP")) as connection:
            producer = connection.Producer()
            producer.publish({"order": "o"}, exchange=link.prefix, routing_key="OrderPlaced", message_id="17", type="T")
        (received,) = eventually(lambda: subscriber.receive(0.5), "it came")
        assert (received.event_type, received.body) == ("OrderPlaced", b'{"order": "o"}')
        assert (received.headers["cloudevents_id"], received.headers["cloudevents_type"]) == ("17", "T")
        # When it is not acknowledged, then it is what comes next, and not what is behind it
        assert list(subscriber.receive(0.01)) == [received]
        subscriber.acknowledge([received])
        assert subscriber.receive(0.01) == []
    finally:
        subscriber.close()
        with kombu.Connection(server_url("AMQP")) as connection:
            connection.default_channel.queue_delete(f"{link.prefix}.g")
