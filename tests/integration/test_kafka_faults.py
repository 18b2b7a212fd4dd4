"""What can be wrong at Kafka, and what comes from there that is no event: nothing is passed over, the cause is said."""

import threading
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import KafkaError

import shop
from events import ConfigurationError
from events.bridges.contract import Subscriber
from events.bridges.kafka import bridge as kafka
from events.errors import PartlySent, TransportError
from support.bridged import Link, Service, insist, placed, received, send
from support.kafka_mock import Mock, MockProcess
from support.waiting import eventually


@pytest.fixture
def mock() -> Iterator[Mock]:
    with Mock() as mock:
        yield mock


@pytest.fixture
def link(mock: Mock) -> Link:
    link = Link("kafka", mock.url)
    mock.make(f"{link.prefix}.OrderPlaced", f"{link.prefix}.AlwaysFails")
    return link


def all_of(subscriber: Subscriber, count: int) -> list[bytes]:
    """So many messages, all acknowledged; errors in between are nothing that they may be lost by."""
    found: list[bytes] = []

    def done() -> bool:
        try:
            batch = subscriber.receive(0.1)
        except TransportError:
            return False
        if batch:
            subscriber.acknowledge(batch)
        found.extend(one.body for one in batch)
        return len(found) >= count

    eventually(done, f"{count} messages came", 20)
    return found


def test_an_error_among_messages_loses_none_of_them(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a subscriber to which it is an error that there is no more, so that many come with messages
    monkeypatch.setattr(kafka, "_MISSING", ())
    more = "&group=g&enable.partition.eof=true&fetch.wait.max.ms=10"
    subscriber = link.opened(more)[1].subscriber(lambda: ["OrderPlaced"])
    publisher = link.opened()[1].publisher()
    # When messages come, a few at a time, then it gets all of them, and hears of the errors
    for _ in range(10):
        send(publisher, [event for number in range(8) for event in placed(1, f"o-{number}")])
        assert len(all_of(subscriber, 8)) == 8
    with pytest.raises(TransportError, match="_PARTITION_EOF"):
        eventually(lambda: subscriber.receive(0.1), "it never comes")
    subscriber.close()
    publisher.close()


def test_what_others_may_send_is_parked_and_hinders_nothing(mock: Mock, link: Link, tmp_path: Path) -> None:
    # Given a service, and messages without a body, of bytes, and with a header of which the name is no text
    service = Service(tmp_path, "ours")
    receiver = service.receiver(link)
    topic = f"{link.prefix}.OrderPlaced"
    producer = confluent_kafka.Producer({"bootstrap.servers": mock.url.partition("://")[2]})
    producer.produce(topic, None, b"\xff", headers=[("ce_id", b"\xff\xfe"), ("n", None)])
    producer.produce(topic, b"\xff\x00", None)
    producer.flush()
    for number in range(20):  # of which the first alone would not yet end the process
        mock.put(topic, b"{no %d" % number, b"\xff\xfe", b"\xff")
    # When an event comes after them, then it is stored
    publisher = link.opened()[1].publisher()
    events = placed(1)
    send(publisher, events)
    received(receiver, service, 1)
    # And they are parked
    eventually(lambda: receiver.step(0.05) or service.pipeline.parked.counts() == {"bridge: unreadable": 22}, "all are")
    assert service.stored() == [events[0].event_id]
    publisher.close()
    receiver.stop()
    receiver.run()
    service.close()


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_what_is_compressed_arrives(link: Link, codec: str) -> None:
    publisher = link.opened(f"&compression.type={codec}")[1].publisher()
    subscriber = link.opened("&group=g")[1].subscriber(lambda: ["OrderPlaced"])
    send(publisher, placed(50))
    assert len(all_of(subscriber, 50)) == 50
    subscriber.close()
    publisher.close()


def test_brokers_that_fall_silent_hold_up_nobody() -> None:
    # Given both sides, and brokers that answer nothing any more, and refuse nothing
    link = Link("kafka", "kafka://nowhere")
    with MockProcess(f"{link.prefix}.OrderPlaced") as silent:
        link = link.with_server(silent.url)
        publisher = link.opened()[1].publisher()
        subscriber = link.opened("&group=g")[1].subscriber(lambda: ["OrderPlaced"])
        send(publisher, placed(1))
        batch = eventually(lambda: subscriber.receive(0.1), "it came")
        silent.pause()
        # When they send, receive, acknowledge and end, then nothing waits without end
        with pytest.raises(TransportError, match="can't send"):
            send(publisher, placed(1))
        subscriber.acknowledge(batch)
        assert subscriber.receive(0.1) == []
        subscriber.close()
        publisher.close()
        # And what was left behind ends when they answer again
        silent.resume()
        eventually(lambda: "events-kafka-closing" not in {one.name for one in threading.enumerate()}, "it is closed")


def test_the_cause_is_said(mock: Mock, link: Link) -> None:
    # Given a password that these brokers don't ask for, and brokers that aren't there
    host = mock.url.partition("://")[2]
    for url, cause in (
        (f"kafka://u:secret@{host}", "SASL Handshake not supported by broker"),
        ("kafka://127.0.0.1:1", "Connection refused"),
    ):
        _, bridge = link.with_server(url).opened("&group=g")
        publisher, subscriber = bridge.publisher(), bridge.subscriber(lambda: ["OrderPlaced"])
        # When somebody sends or receives, then it is said what the matter is
        with pytest.raises(TransportError, match=cause) as raised:
            send(publisher, placed(1))
        assert "secret" not in str(raised.value)
        with pytest.raises(TransportError, match=cause):
            eventually(lambda subscriber=subscriber: subscriber.receive(0.1), "it never comes")
        subscriber.close()
        publisher.close()


@pytest.mark.parametrize("error", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_a_topic_that_takes_nothing_fails_alone(mock: Mock, link: Link, error: int) -> None:
    # Given events for a topic that isn't there, or isn't ours to write to, among others
    topic = f"{link.prefix}.AlwaysFails"
    mock.refuse(topic, error)
    publisher = link.opened()[1].publisher()
    events = [*placed(1), shop.AlwaysFails(text=""), *placed(1)]
    # When they are sent, then the others are, and the topic is named
    with pytest.raises(PartlySent) as raised:
        send(publisher, events)
    assert list(raised.value.failed) == [str(events[1].event_id)]
    (why,) = raised.value.failed.values()
    assert type(why) is TransportError
    assert f"topic '{topic}'" in str(why)
    # And the brokers are not taken for away because of it
    with pytest.raises(PartlySent):
        send(publisher, events[1:2])
    # And when it is there, then it takes them
    mock.refuse(topic, 0)
    insist(publisher, events[1:2])
    publisher.close()


def test_a_batch_that_is_larger_than_the_buffer_is_sent(link: Link) -> None:
    publisher = link.opened("&queue.buffering.max.messages=10")[1].publisher()
    send(publisher, placed(100))
    publisher.close()


def test_a_batch_that_outlasts_a_members_turn_is_lost_to_nobody(link: Link) -> None:
    # Given a member of a group that holds a batch, for its database is away
    publisher = link.opened()[1].publisher()
    send(publisher, [event for number in range(8) for event in placed(5, f"o-{number}")])
    turn = "&group=g&max.poll.interval.ms=3000"
    slow = link.opened(turn)[1].subscriber(lambda: ["OrderPlaced"])
    held = eventually(lambda: slow.receive(0.1), "a batch came", 20)
    # When its turn ends, then another one gets the same
    other = link.opened(turn)[1].subscriber(lambda: ["OrderPlaced"])
    bodies = all_of(other, 40)
    assert {one.body for one in held} <= set(bodies)
    # And when it has written it after all, then that does no harm, and both go on
    slow.acknowledge(held)
    send(publisher, placed(5, "last"))
    last: list[bytes] = []

    def done() -> bool:
        for member in (slow, other):
            try:
                batch = member.receive(0.1)
            except TransportError:
                continue
            if batch:
                member.acknowledge(batch)
            last.extend(one.body for one in batch if b"last" in one.body)
        return len(last) >= 5

    eventually(done, "the last came", 30)
    for member in (slow, other, publisher):
        member.close()


@pytest.mark.parametrize(
    "setting",
    [
        "acks=0", "enable.auto.commit=true", "enable.auto.offset.store=true", "delivery.report.only.error=true",
        "transactional.id=t", "group.id=g", "session.timeout.ms=90000",
    ],
)  # fmt: skip
def test_what_would_break_the_promise_is_refused_at_once(link: Link, setting: str) -> None:
    link.url = link.url.replace("&session.timeout.ms=2500", "")
    with pytest.raises(ConfigurationError, match=r"leave it out|max\.poll\.interval\.ms"):
        link.opened(f"&{setting}")
