"""Streams and consumers of JetStream that are not as the bridge would make them, or that are gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, StreamConfig

import shop
from events.bridges.contract import AT_ONCE, Publisher, Received, Subscriber
from events.errors import ConfigurationError, PartlySent, TransportError, Unsendable
from support.bridged import Link, insist, placed, send
from support.forwarder import Forwarder
from support.servers import server_url
from support.waiting import eventually


@pytest.fixture
def link() -> Link:
    return Link("nats+jetstream", server_url("NATS"))


@pytest.fixture
def publisher(link: Link) -> Iterator[Publisher]:
    publisher = link.opened()[1].publisher()
    yield publisher
    publisher.close()


@pytest.fixture
def subscribers() -> Iterator[Callable[[Link], Subscriber]]:
    made: list[Subscriber] = []

    def make(link: Link) -> Subscriber:
        made.append(link.opened("&group=g")[1].subscriber(list))
        return made[-1]

    yield make
    for one in made:
        one.close()


def administer(work: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
    """As an administrator does, on a connection of his own."""

    async def connected() -> Any:
        client = await nats.connect(server_url("NATS"))
        try:
            return await work(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(connected())


def make_stream(link: Link, **how: Any) -> None:
    config = StreamConfig(**{"name": link.prefix, "subjects": [f"{link.prefix}.>"]} | how)
    administer(lambda context: context.add_stream(config))


def take(subscriber: Subscriber, count: int) -> list[Received]:
    """Receive until so many are there, as a receiver does."""
    found: list[Received] = []

    def enough() -> bool:
        try:
            found.extend(subscriber.receive(0.2))
        except TransportError:
            return False
        return len(found) >= count

    eventually(enough, f"{count} messages came", 30)
    return found


@pytest.mark.parametrize("what", ["consumer", "stream"])
def test_what_is_deleted_is_made_anew(
    link: Link, publisher: Publisher, subscribers: Callable[[Link], Subscriber], what: str
) -> None:
    # Given a subscriber that has read, and waits
    subscriber = subscribers(link)
    send(publisher, placed(1))
    subscriber.acknowledge(take(subscriber, 1))
    subscriber.receive(0.01)
    # When an administrator deletes what it reads from
    if what == "consumer":
        administer(lambda context: context.delete_consumer(link.prefix, "g"))
    else:
        administer(lambda context: context.delete_stream(link.prefix))
    # Then it says so, instead of hearing nothing for ever
    with pytest.raises(TransportError, match="consumer 'g': 409 Consumer Deleted"):
        eventually(lambda: subscriber.receive(0.2), "it notices", 10)
    # And goes on with another
    last = placed(1)
    insist(publisher, last)
    eventually(lambda: any(str(last[0].event_id).encode() in one.body for one in take(subscriber, 1)), "it came")


def test_it_notices_when_nobody_answers_its_request(
    link: Link, publisher: Publisher, subscribers: Callable[[Link], Subscriber]
) -> None:
    # Given a subscriber that got all that it asked for
    subscriber = subscribers(link)
    send(publisher, placed(AT_ONCE))
    subscriber.acknowledge(take(subscriber, AT_ONCE))
    # When the consumer is deleted just then, and it asks again: some servers answer that by silence
    administer(lambda context: context.delete_consumer(link.prefix, "g"))
    # Then it knows all the same
    with pytest.raises(TransportError, match=r"consumer 'g': (not a word|503)"):
        eventually(lambda: subscriber.receive(0.2), "it notices", 20)
    # And goes on with another
    take(subscriber, AT_ONCE)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"deliver_subject": "somewhere"}, "is a push consumer, from which nobody can pull"),
        ({"ack_policy": AckPolicy.NONE}, "has ack policy 'none', which may lose events"),
        ({"ack_policy": AckPolicy.ALL}, "has ack policy 'all', which may lose events"),
    ],
)
def test_a_consumer_that_would_lose_events_is_not_used(
    link: Link, publisher: Publisher, subscribers: Callable[[Link], Subscriber], how: dict[str, Any], why: str
) -> None:
    # Given a consumer of the group's name that somebody has made for something else
    make_stream(link)
    config = ConsumerConfig(**{"durable_name": "g", "ack_policy": AckPolicy.EXPLICIT} | how)
    administer(lambda context: context.add_consumer(link.prefix, config))
    send(publisher, placed(1))
    # When a subscriber wants to read from it, then it says what is wrong, and what to do
    with pytest.raises(TransportError) as raised:
        subscribers(link).receive(0.01)
    assert f"consumer 'g' of stream '{link.prefix}' {why}" in str(raised.value)
    assert str(raised.value).endswith("delete it, or use another ?group=")


def test_a_consumer_with_another_filter_or_limit_is_used_and_that_is_said(
    link: Link, publisher: Publisher, subscribers: Callable[[Link], Subscriber], caplog: pytest.LogCaptureFixture
) -> None:
    make_stream(link)
    config = ConsumerConfig(
        durable_name="g", ack_policy=AckPolicy.EXPLICIT, max_deliver=3, filter_subject=f"{link.prefix}.OrderPlaced"
    )
    administer(lambda context: context.add_consumer(link.prefix, config))
    send(publisher, [shop.AlwaysFails(text=""), *placed(1)])
    with caplog.at_level(logging.WARNING, "events.bridges"):
        assert [one.event_type for one in take(subscribers(link), 1)] == ["OrderPlaced"]
    assert [line.partition("' ")[2].partition("' ")[2] for line in caplog.messages] == [
        "loses what was not acknowledged 3 times: edit it (--max-deliver=-1)",
        f"brings {link.prefix}.OrderPlaced alone, not all of {link.prefix}.>",
        "redelivers after 30 s, whatever ?redeliver= says (1 s)",
    ]


def test_an_event_that_is_too_large_for_the_stream_fails_alone(
    link: Link, publisher: Publisher, subscribers: Callable[[Link], Subscriber]
) -> None:
    # Given a stream of small messages, and a batch with a large one
    make_stream(link, max_msg_size=2_000)
    events = [*placed(1), shop.AlwaysFails(text="x" * 5_000), *placed(1)]
    # When it is sent, then that one never can be
    with pytest.raises(PartlySent) as raised:
        send(publisher, events)
    ((event_id, error),) = raised.value.failed.items()
    assert event_id == str(events[1].event_id)
    assert isinstance(error, Unsendable)
    assert "message size exceeds maximum allowed" in str(error)
    # And the others are there
    assert len(take(subscribers(link), 2)) == 2


def test_a_full_stream_says_so_and_keeps_what_it_has_taken(link: Link, publisher: Publisher) -> None:
    make_stream(link, max_msgs=3, discard=DiscardPolicy.NEW)
    events = placed(5)
    with pytest.raises(PartlySent) as raised:
        send(publisher, events)
    assert set(raised.value.failed) == {str(event.event_id) for event in events[3:]}
    for error in raised.value.failed.values():
        assert not isinstance(error, Unsendable)
        assert "maximum messages exceeded" in str(error)
        assert "can't send OrderPlaced to nats+jetstream://127.0.0.1" in str(error)


def test_a_stream_without_our_subjects_is_named(
    link: Link, publisher: Publisher, subscribers: Callable[[Link], Subscriber]
) -> None:
    # Given a stream of our name for other subjects
    make_stream(link, subjects=[f"{link.prefix}-other.>"])
    # When it is used, either way, then it is said what it has, and what to do
    cure = f"has the subjects {link.prefix}-other.>: add {link.prefix}.> to it, or name another by .stream="
    with pytest.raises(TransportError, match=cure):
        send(publisher, placed(1))
    with pytest.raises(TransportError, match=cure):
        subscribers(link).receive(0.01)
    # When another stream has our subjects, then that is the one
    make_stream(link, name=f"{link.prefix}-another")
    send(publisher, placed(1))
    take(subscribers(link), 1)


def test_an_event_whose_subject_no_stream_has_fails_alone(link: Link, publisher: Publisher) -> None:
    make_stream(link, subjects=[f"{link.prefix}.OrderPlaced"])
    events = [*placed(1), shop.AlwaysFails(text="")]
    with pytest.raises(PartlySent, match="no stream has this subject") as raised:
        send(publisher, events)
    assert set(raised.value.failed) == {str(events[1].event_id)}


def test_a_stream_that_acknowledges_nothing_is_not_used(link: Link, publisher: Publisher) -> None:
    make_stream(link, no_ack=True)
    with pytest.raises(TransportError, match=f"stream '{link.prefix}' acknowledges nothing"):
        send(publisher, placed(1))


def test_a_name_that_no_stream_can_have_is_refused_at_the_start(link: Link) -> None:
    link.url = link.url.replace(f"stream={link.prefix}", "stream=a.b")
    with pytest.raises(ConfigurationError, match=r"stream=a\.b: use a name without"):
        link.opened()


def test_many_batches_need_no_more_subscriptions_than_one(publisher: Publisher) -> None:
    send(publisher, placed(1))
    client = publisher._line._client
    before = len(client._subs)
    for _ in range(20):
        send(publisher, placed(1))
    assert len(client._subs) == before


def test_an_old_acknowledgement_is_no_acknowledgement_of_a_new_message(
    link: Link, publisher: Publisher, subscribers: Callable[[Link], Subscriber]
) -> None:
    # Given a subscriber with messages in its hands, whose connection is cut
    line = Forwarder(server_url("NATS"))
    old = subscribers(link.with_server(line.url))
    old.receive(0.01)
    send(publisher, placed(3))
    held = take(old, 3)
    line.cut()
    # And a stream that was made anew, with messages of the same numbers in another's hands
    administer(lambda context: context.delete_stream(link.prefix))
    other = subscribers(link)
    other.receive(0.01)
    events = placed(3)
    insist(publisher, events)
    assert len(take(other, 3)) == 3
    # When the first acknowledges what it has
    line.heal()
    with pytest.raises(TransportError, match="of 3 messages is gone: they come again"):
        eventually(lambda: old.acknowledge(held), "it acknowledges", 5)
    line.cut()
    # Then the others' are not acknowledged: they come again
    other.close()
    again = take(subscribers(link), 3)
    assert {str(event.event_id) for event in events} == {one.headers["ce-id"] for one in again}
