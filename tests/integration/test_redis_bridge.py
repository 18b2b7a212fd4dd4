"""What is Redis' own in its bridges: keys of another type, groups, and entries that are gone."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import shop
from events.bridges.contract import AT_ONCE, Received, Subscriber
from events.bridges.redis import groups as redis_groups
from events.errors import PartlySent, TransportError
from support.bridged import BothEnds, Link, Service, placed, received, send
from support.servers import server_url
from support.waiting import eventually


@pytest.fixture
def administrator() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server_url("REDIS")) as connection:
        yield connection


@pytest.fixture
def streams(administrator: redis.Redis) -> Iterator[Link]:
    link = Link("redis+streams", server_url("REDIS"))
    yield link
    if keys := administrator.keys(f"{link.prefix}:*"):
        administrator.delete(*keys)


def bodies(found: list[Received]) -> list[bytes]:
    return [one.body for one in found]


def taken(subscriber: Subscriber, count: int) -> list[Received]:
    found: list[Received] = []

    def enough() -> bool:
        if got := subscriber.receive(0.2):
            found.extend(got)
            subscriber.acknowledge(got)
        return len(found) >= count

    eventually(enough, f"{count} messages came", 20)
    return found


@pytest.mark.parametrize("kind", ["redis+streams", "redis+pubsub"])
def test_an_error_shows_no_data(kind: str, administrator: redis.Redis, both_ends: BothEnds) -> None:
    # Given a user who may not send
    link = Link(kind, server_url("REDIS"))
    administrator.execute_command("ACL", "SETUSER", link.prefix, "on", ">pw", "~*", "&*", "+@all", "-xadd", "-publish")
    try:
        publisher, _ = both_ends(link.with_server(server_url("REDIS").replace("://", f"://{link.prefix}:pw@")))
        # When an event is sent, then the error says what isn't allowed, and nothing of what is in the event
        with pytest.raises(PartlySent) as raised:
            send(publisher, placed(1, "Mr. Smith"))
        (error,) = raised.value.failed.values()
        assert "can't send OrderPlaced to redis+" in str(error)
        assert "NoPermissionError: this user has no permissions to run the" in str(error)
        assert "Smith" not in str(error) + str(raised.value)
    finally:
        administrator.execute_command("ACL", "DELUSER", link.prefix)


def test_a_key_of_another_type_fails_alone_either_way(
    streams: Link,
    administrator: redis.Redis,
    both_ends: BothEnds,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a key that is no stream, where one of two streams should be
    administrator.set(f"{streams.prefix}:AlwaysFails", "text")
    publisher, subscriber = both_ends(streams)
    events = [*placed(1), shop.AlwaysFails(text=""), *placed(1)]
    # When events are sent to both, then the others are there
    with pytest.raises(PartlySent, match=r"can't send AlwaysFails to .*: WRONGTYPE") as raised:
        send(publisher, events)
    assert set(raised.value.failed) == {str(events[1].event_id)}
    # And they are received, and it is said which key can't be read
    with caplog.at_level(logging.WARNING, "events.bridges"):
        assert [one.event_type for one in taken(subscriber, 2)] == ["OrderPlaced", "OrderPlaced"]
    (line,) = caplog.messages
    assert line.startswith(f"bridge link can't read {streams.prefix}:AlwaysFails: ResponseError: WRONGTYPE")
    # When none can be read, then that is an error
    administrator.delete(f"{streams.prefix}:OrderPlaced")
    administrator.set(f"{streams.prefix}:OrderPlaced", "text")
    with pytest.raises(TransportError, match="WRONGTYPE"):
        eventually(lambda: subscriber.receive(0.1), "it notices", 10)


def test_what_was_not_written_comes_before_what_is_behind_it(streams: Link, both_ends: BothEnds) -> None:
    # Given a batch that could not be written, and so is not acknowledged
    publisher, subscriber = both_ends(streams)
    send(publisher, placed(2))
    first = list(subscriber.receive(1))
    # When another event is sent
    send(publisher, placed(1, "o-2"))
    # Then the batch comes again, before it
    assert bodies(list(subscriber.receive(1))) == bodies(first)
    subscriber.acknowledge(first)
    (last,) = subscriber.receive(1)
    assert b"o-2" in last.body


def test_entries_that_are_cut_off_while_somebody_has_them_are_no_trouble(
    streams: Link, administrator: redis.Redis, both_ends: BothEnds
) -> None:
    # Given a consumer that failed with more than one batch in hand, of which the beginning is cut off
    streams.url = streams.url.replace("redeliver=1s", "redeliver=60s")
    publisher, doomed = both_ends(streams)
    stream = f"{streams.prefix}:OrderPlaced"
    send(publisher, placed(3 * AT_ONCE))
    doomed.receive(0.1)
    administrator.xreadgroup("g", doomed._consumer, {stream: ">"}, count=2 * AT_ONCE)
    administrator.xtrim(stream, maxlen=5, approximate=False)
    # When it is back after a failure, and reads what it has
    doomed._held, doomed._own = False, True
    # Then the rest comes, and nothing is left in its hands
    assert len(taken(doomed, 5)) == 5
    assert administrator.xpending(stream, "g")["pending"] == 0


def test_it_says_how_many_entries_were_cut_off_before_they_were_read(
    streams: Link,
    administrator: redis.Redis,
    both_ends: BothEnds,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if int(administrator.info()["redis_version"].partition(".")[0]) < 7:
        pytest.skip("Redis 6 doesn't count what it cuts off")
    # Given a group that has read, and is away
    publisher, subscriber = both_ends(streams)
    send(publisher, placed(10))
    taken(subscriber, 10)
    subscriber.close()
    # When a stream is cut before it is back
    send(publisher, placed(30))
    administrator.xtrim(f"{streams.prefix}:OrderPlaced", maxlen=7, approximate=False)
    with caplog.at_level(logging.WARNING, "events.bridges"):
        _, back = both_ends(streams)
        assert len(taken(back, 7)) == 7
    # Then it says so, once
    assert caplog.messages == [
        f"bridge link: about 23 entries of {streams.prefix}:OrderPlaced were cut off before group g had read them: "
        "its senders need a larger ?maxlen="
    ]


def test_what_was_read_may_be_cut_off_without_a_word(
    streams: Link,
    administrator: redis.Redis,
    both_ends: BothEnds,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher, subscriber = both_ends(streams)
    send(publisher, placed(10))
    taken(subscriber, 10)
    send(publisher, placed(5))
    administrator.xtrim(f"{streams.prefix}:OrderPlaced", maxlen=5, approximate=False)
    subscriber.close()
    with caplog.at_level(logging.WARNING, "events.bridges"):
        assert len(taken(both_ends(streams)[1], 5)) == 5
    assert caplog.messages == []


def test_the_dead_are_forgotten_unless_they_have_something_in_hand(
    streams: Link,
    administrator: redis.Redis,
    both_ends: BothEnds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given two consumers that were killed, one with an entry in hand
    stream = f"{streams.prefix}:OrderPlaced"
    publisher, holding = both_ends(streams)
    send(publisher, placed(1))
    assert len(holding.receive(1)) == 1
    idle = both_ends(streams)[1]
    idle.receive(0.01)

    def consumers() -> set[str]:
        return {one["name"].decode() for one in administrator.xinfo_consumers(stream, "g")}

    def longest() -> int:
        idle_for = {one["name"].decode(): one["idle"] for one in administrator.xinfo_consumers(stream, "g")}
        return min(idle_for[idle._consumer], idle_for[holding._consumer])

    eventually(lambda: longest() > 200, "they were silent for a while")
    # When another one of the group starts
    monkeypatch.setattr(redis_groups, "_DEAD_AFTER", 0.15)
    new = both_ends(streams)[1]
    new.receive(0.01)
    # Then the one that had nothing is forgotten
    assert idle._consumer not in consumers()
    assert holding._consumer in consumers()
    # And what the other had is claimed
    eventually(lambda: new.receive(0.1), "its entry was claimed", 20)
    # And if the first was only asleep, it goes on
    send(publisher, placed(1))
    eventually(lambda: idle.receive(0.1), "it reads", 20)


def test_others_entries_of_any_shape_are_events_or_parked(
    streams: Link, administrator: redis.Redis, tmp_path: Path
) -> None:
    # Given entries without data, of binary names and values, and twice the same field, among an event
    stream = f"{streams.prefix}:OrderPlaced"
    administrator.xadd(stream, {"x": "1"})
    administrator.xadd(stream, {b"\xff\xfe": b"\x00\xff", "data": b"\xff"})
    administrator.xadd(stream, {b"": b"", "data": b""})
    administrator.xadd(stream, {"data": '{"order": "o-1"}'})
    administrator.execute_command("XADD", stream, "*", "data", "{}", "data", "2")
    # When a service receives them
    service = Service(tmp_path, "theirs")
    try:
        receiver = service.receiver(streams)
        received(receiver, service, 1)
        # Then the event is stored, the others are parked, and nothing comes again
        assert service.pipeline.parked.counts() == {"bridge: unreadable": 4}
        assert administrator.xpending(stream, "theirs")["pending"] == 0
        receiver.stop()
        receiver.run()
    finally:
        service.close()
