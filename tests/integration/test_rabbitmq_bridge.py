"""What is RabbitMQ's own in its bridge: events that no queue takes, and what others see of a message."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import kombu
import pytest
from kombu.simple import SimpleQueue

import shop
from events import DomainEvent
from events.bridges.contract import Publisher
from events.errors import PartlySent, TransportError
from support.bridged import Link, placed, send
from support.servers import server_url
from support.waiting import eventually


class ParcelLostEvent(DomainEvent):
    number: int = 0


class OtherEventLost(DomainEvent):
    pass


class DottedEvent(DomainEvent, name="shop.DottedEvent"):
    pass


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


@contextmanager
def bound(link: Link, *patterns: str) -> Iterator[SimpleQueue]:
    """Another service's queue."""
    with kombu.Connection(server_url("AMQP")) as connection:
        exchange = kombu.Exchange(link.prefix, "topic", durable=True)
        bindings = [kombu.binding(exchange, pattern) for pattern in patterns]
        name = f"{link.prefix}-{'-'.join(patterns)}"
        found = connection.SimpleQueue(kombu.Queue(name, bindings=bindings, exclusive=True, durable=False))
        try:
            yield found
        finally:
            found.close()


@pytest.fixture
def queue(opened: Callable[[str], Publisher], link: Link) -> Iterator[SimpleQueue]:
    """One that is bound to orders that were placed."""
    with bound(link, "OrderPlaced") as found:
        yield found


def names(queue: SimpleQueue, last: str) -> list[str]:
    """The events that came, up to the first of this name."""
    found = [queue.get(timeout=5).properties["type"]]
    while found[-1] != last:
        found.append(queue.get(timeout=5).properties["type"])
    return found


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


def test_a_consumer_that_takes_a_word_for_a_pattern_gets_its_events(
    link: Link, opened: Callable[[str], Publisher]
) -> None:
    # Given a queue that is bound by `*Event`, one by that and a name, one that wants all, and one all of one word
    publisher = opened("")
    with bound(link, "*Event") as literal, bound(link, "*Event", "ParcelLostEvent") as both, \
            bound(link, "#") as everything, bound(link, "*") as one_word:  # fmt: skip
        # When events are sent whose names end like that, and others
        events = [ParcelLostEvent(number=1), OtherEventLost(), DottedEvent(), *placed(1), ParcelLostEvent(number=2)]
        send(publisher, events)
        send(publisher, [shop.AlwaysFails(text="")])
        # Then it gets those, and each once; who wanted others gets what he got before, and sees no trace of it
        for queue in (literal, both):
            got = [queue.get(timeout=5) for _ in range(2)]
            assert [one.payload["number"] for one in got] == [1, 2]
            assert all("BCC" not in one.headers for one in got)
            assert queue.qsize() == 0
        sent = [event.event_name for event in events]
        assert names(everything, "AlwaysFails") == [*sent, "AlwaysFails"]
        assert names(one_word, "AlwaysFails") == [*(name for name in sent if "." not in name), "AlwaysFails"]


def test_such_words_are_a_setting(link: Link, opened: Callable[[str], Publisher]) -> None:
    # Given queues that are bound by other words
    with bound(link, "Parcel*", "*LostEvent") as parcels, bound(link, "*Event") as unserved:
        # When a bridge serves one of them, and another bridge none
        send(opened("&bcc=Parcel*,Order*"), [ParcelLostEvent(number=1)])
        with pytest.raises(PartlySent):
            send(opened("&bcc="), [ParcelLostEvent(number=2)])
        # Then that is what they get
        assert parcels.get(timeout=5).payload["number"] == 1
        assert (parcels.qsize(), unserved.qsize()) == (0, 0)


@pytest.mark.parametrize("form", ["flat", "structured", "webhook"])
def test_amqps_own_timestamp_is_when_it_happened(
    opened: Callable[[str], Publisher], queue: SimpleQueue, link: Link, form: str
) -> None:
    # Given an event of a certain second, and one from before AMQP's time
    when, before = datetime(2026, 11, 28, 9, 30, 1, 250_000, tzinfo=UTC), datetime(1959, 1, 1, tzinfo=UTC)
    (event,) = placed(1)
    events = [event.model_copy(update={"occurred_at": moment}) for moment in (when, before)]
    # When they are sent, then the one has its second, and the other has none
    send(opened(""), events, form=form)
    assert queue.get(timeout=5).properties["timestamp"] == int(when.timestamp())
    assert "timestamp" not in queue.get(timeout=5).properties


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
