"""What is Kafka's own in its bridge: keys and headers, brokers that are away, and offsets."""

from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest

import shop
from events import ConfigurationError
from events.bridges import open_bridge
from events.bridges.contract import Message
from events.errors import PartlySent, TransportError, Unsendable
from events.settings.settings import Settings
from support.bridged import Link, Service, insist, placed, received, send
from support.kafka_mock import Mock
from support.waiting import eventually


@pytest.fixture
def mock() -> Iterator[Mock]:
    with Mock() as mock:
        yield mock


@pytest.fixture
def link(mock: Mock) -> Link:
    link = Link("kafka", mock.url)
    mock.make(f"{link.prefix}.OrderPlaced")
    return link


def test_what_others_see(mock: Mock, link: Link) -> None:
    # When events of two aggregates are sent
    events = [*placed(10, "ö"), *placed(10, "b")]
    publisher = link.opened()[1].publisher()
    send(publisher, events)
    publisher.close()
    # Then another program finds each of the two in one partition, in order, with the attributes as headers
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": mock.url.partition("//")[2], "group.id": "g", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([f"{link.prefix}.OrderPlaced"])
    found: list[confluent_kafka.Message] = []
    eventually(lambda: found.extend(consumer.consume(100, 0.2)) or len(found) == 20, "all came")
    consumer.close()
    for key, sent in (("ö", events[:10]), ("b", events[10:])):
        of_key = [one for one in found if one.key() == key.encode()]
        assert len({one.partition() for one in of_key}) == 1
        headers = [dict(one.headers()) for one in of_key]
        assert [one["ce_id"].decode() for one in headers] == [str(event.event_id) for event in sent]
        assert headers[0]["content-type"] == b"application/json"


def test_an_event_that_kafka_has_no_name_for_is_not_looked_for(link: Link) -> None:
    _, bridge = link.opened()
    publisher, subscriber = bridge.publisher(), bridge.subscriber(lambda: ["OrderPlaced", "house/seat broken"])
    send(publisher, placed(1))
    assert eventually(lambda: subscriber.receive(0.2), "what has a name came")
    publisher.close()
    subscriber.close()


def test_brokers_that_are_away_are_waited_for(mock: Mock, link: Link, tmp_path: Path) -> None:
    # Given both sides, and brokers that go away
    service = Service(tmp_path, "ours")
    receiver = service.receiver(link)
    publisher = link.opened()[1].publisher()
    first, last = placed(2)
    send(publisher, [first])
    received(receiver, service, 1)
    mock.down()
    # When they send and receive, then both say so
    with pytest.raises(TransportError, match="can't send to kafka://"):
        send(publisher, [last])
    with pytest.raises(TransportError, match=r"can't receive from kafka://.*brokers"):
        eventually(lambda: receiver.step(0.1) and False, "it never comes", 20)
    # And when the brokers are back, both go on
    mock.up()
    insist(publisher, [last])

    def arrived() -> bool:
        try:
            receiver.step(0.05)
        except TransportError:
            return False
        return last.event_id in service.stored()

    eventually(arrived, "the last arrived")
    assert service.stored() == [first.event_id, last.event_id]
    publisher.close()
    receiver.stop()
    receiver.run()
    service.close()


def test_what_is_not_written_is_not_passed_over(link: Link) -> None:
    # Given a consumer that received events which it could not write
    publisher = link.opened()[1].publisher()
    subscriber = link.opened("&group=g")[1].subscriber(lambda: ["OrderPlaced"])
    send(publisher, placed(3))
    first = eventually(lambda: subscriber.receive(0.1), "the first came")
    # When more are sent, and it asks again, then it gets those before the new ones
    send(publisher, placed(3))
    assert list(subscriber.receive(0.1)) == list(first)
    subscriber.acknowledge(first)
    others = eventually(lambda: subscriber.receive(0.1), "the others came")
    assert {one.position for one in others}.isdisjoint({one.position for one in first})
    subscriber.close()
    publisher.close()


def test_what_can_never_be_sent_fails_alone(link: Link) -> None:
    # Given a batch with an event that is larger than a message may be
    publisher = link.opened("&message.max.bytes=20000")[1].publisher()
    events = [*placed(1), shop.OrderPlaced(order="x" * 30_000), *placed(1)]
    # When it is sent, then the others are
    with pytest.raises(PartlySent) as raised:
        send(publisher, events)
    ((event_id, error),) = raised.value.failed.items()
    assert (event_id, type(error)) == (str(events[1].event_id), Unsendable)
    # And neither is one for a topic that can't be
    with pytest.raises(Unsendable, match="no name for a topic"):
        publisher.send([Message("1", "Bestellung größer", "", b"{}")])
    publisher.close()


def test_a_parameter_that_librdkafka_doesnt_know_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"linger\.mz") as wrong:
        open_bridge("kafka://u:secret@h:9092?linger.mz=5", Settings(broker_url=""))
    assert "secret" not in str(wrong.value)
