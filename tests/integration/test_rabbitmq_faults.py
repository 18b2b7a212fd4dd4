"""What can be wrong at RabbitMQ, or be done to it behind the bridge's back, and what the bridge then says and does."""

import gc
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import amqp
import pytest

import shop
from events import ConfigurationError
from events.bridges.contract import Subscriber
from events.bridges.rabbitmq import bridge as rabbitmq
from events.bridges.rabbitmq import client as rabbitmq_client
from events.errors import PartlySent, TransportError, Unsendable
from rigs.chaos.machines import Machine
from support.bridged import Link, placed, send
from support.servers import server_url
from support.stalling import Stalling
from support.waiting import eventually

DURABLE = {"durable": True, "auto_delete": False}


@pytest.fixture
def link() -> Link:
    return Link("rabbitmq+topic", server_url("AMQP"))


@pytest.fixture
def operator(link: Link) -> Iterator[Any]:
    """Somebody with another client, who may do anything; a channel."""
    parts = urlsplit(link.url)
    with amqp.Connection(f"{parts.hostname}:{parts.port}") as connection:
        yield connection.channel()
        channel = connection.channel()
        channel.queue_delete(f"{link.prefix}.g")
        channel.exchange_delete(link.prefix)


@pytest.fixture
def subscriber(link: Link, operator: Any) -> Iterator[Subscriber]:
    """Of OrderPlaced; what it made is removed when it has ended."""
    subscriber = link.opened("&group=g")[1].subscriber(lambda: ["OrderPlaced"])
    yield subscriber
    subscriber.close()


def put(operator: Any, link: Link, body: bytes, key: Any = "OrderPlaced", **properties: Any) -> None:
    operator.basic_publish(amqp.Message(body, **properties), link.prefix, key)


def bodies(subscriber: Subscriber, count: int) -> list[bytes]:
    """Of so many messages, all of which are acknowledged."""
    found: list[bytes] = []

    def done() -> bool:
        batch = subscriber.receive(0.1)
        subscriber.acknowledge(batch)
        found.extend(one.body for one in batch)
        return len(found) >= count

    eventually(done, f"{count} messages came")
    return found


def sockets() -> int:
    count = 0
    for number in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            count += "socket" in str(number.readlink())
    return count


def test_an_exchange_of_another_type_is_no_fault_of_the_event(link: Link, operator: Any) -> None:
    # Given an exchange that somebody else made, and not for topics
    operator.exchange_declare(link.prefix, "fanout", **DURABLE)
    publisher = link.opened()[1].publisher()
    why = rf"exchange '{link.prefix}' .*name another by \?exchange="
    gc.disable()
    try:
        before = sockets()
        # When an event is sent, then it isn't buried: whoever reads the error can mend it
        for _ in range(5):
            with pytest.raises(TransportError, match=why) as raised:
                send(publisher, placed(1))
            assert not isinstance(raised.value, Unsendable)
        # And no connection is left over from it
        assert sockets() <= before
    finally:
        gc.enable()
    # And when it is mended, then events are sent
    operator.exchange_delete(link.prefix)
    with pytest.raises(PartlySent, match="no queue is bound"):
        publisher.send([])
        send(publisher, placed(2))
    publisher.close()


def test_a_queue_of_another_kind_is_named(link: Link, operator: Any, subscriber: Subscriber) -> None:
    # Given a queue that is none of the bridge's
    operator.queue_declare(f"{link.prefix}.g", **DURABLE)
    # When it would receive, then it says which, and what to do about it
    with pytest.raises(TransportError, match=rf"queue '{link.prefix}\.g' .*name another by \?queue="):
        subscriber.receive(0.1)


def test_a_queue_that_is_deleted_is_made_anew(link: Link, operator: Any, subscriber: Subscriber) -> None:
    # Given a subscriber
    subscriber.receive(0.01)
    # When its queue is deleted, then it says so
    operator.queue_delete(f"{link.prefix}.g")
    with pytest.raises(TransportError, match=f"queue '{link.prefix}.g' was deleted"):
        eventually(lambda: subscriber.receive(0.1), "it never comes")
    # And has another
    subscriber.receive(0.01)
    put(operator, link, b"1")
    assert bodies(subscriber, 1) == [b"1"]


def test_an_exchange_that_is_deleted_is_bound_again(
    link: Link, operator: Any, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a subscriber that looks for events it doesn't know often
    monkeypatch.setattr(rabbitmq, "_BIND_EVERY", 0.0)
    subscriber.receive(0.01)
    # When somebody deletes the exchange, and a publisher makes it anew
    operator.exchange_delete(link.prefix)
    publisher = link.opened()[1].publisher()

    # Then what is sent arrives after a while, though the subscriber's queue was not bound to that
    def sent() -> bool:
        try:
            subscriber.receive(0.01)
            send(publisher, placed(1))
        except TransportError:
            return False
        return True

    eventually(sent, "an event was taken", 20)
    assert len(bodies(subscriber, 1)) == 1
    publisher.close()


def test_a_full_queue_refuses_its_own_events_only(link: Link, operator: Any) -> None:
    # Given a queue that takes no more, and one that does
    publisher = link.opened("&mandatory=log")[1].publisher()
    send(publisher, placed(1))
    for name, key, arguments in (
        ("full", "OrderPlaced", {"x-max-length": 1, "x-overflow": "reject-publish"}),
        ("empty", "AlwaysFails", {}),
    ):
        operator.queue_declare(f"{link.prefix}-{name}", exclusive=True, arguments=arguments)
        operator.queue_bind(f"{link.prefix}-{name}", link.prefix, key)
    send(publisher, placed(1))
    # When events for both are sent
    events = [shop.AlwaysFails(text="1"), *placed(2), shop.AlwaysFails(text="2")]
    with pytest.raises(PartlySent) as raised:
        send(publisher, events)
    # Then those for the full one failed, and will be tried again, and the others have arrived
    assert list(raised.value.failed) == [str(event.event_id) for event in events[1:3]]
    for error in raised.value.failed.values():
        assert type(error) is TransportError
        assert "a queue that OrderPlaced is for refuses it" in str(error)
    assert operator.queue_declare(f"{link.prefix}-empty", passive=True).message_count == 2
    # And when it has room, then it takes them
    operator.queue_purge(f"{link.prefix}-full")
    send(publisher, events[1:2])
    publisher.close()


@pytest.mark.parametrize(
    ("key", "properties"),
    [
        ("OrderPlaced", {}),
        ("OrderPlaced", {"message_id": b"\xff\xfe"}),
        (b"Order.\xff", {}),
        ("OrderPlaced", {"application_headers": {"n": None, "b": b"\xff", "l": [1, {"x": 2.5}]}}),
        ("OrderPlaced", {"timestamp": 1_732_800_000_000_000}),
    ],
    ids=["no headers", "binary id", "binary key", "odd headers", "a time in microseconds"],
)
@pytest.mark.parametrize("body", [b"", b"\xff\x00"], ids=["empty", "binary"])
def test_what_anybody_may_send_hinders_nothing(
    link: Link, operator: Any, key: Any, properties: dict[str, Any], body: bytes
) -> None:
    # Given a subscriber of everything
    subscriber = link.opened("&group=g&bind=%23")[1].subscriber(list)
    subscriber.receive(0.01)
    # When a message comes that is no event of ours, then it is received at the first try, and so is the next
    put(operator, link, body, key, **properties)
    put(operator, link, b"next")
    assert bodies(subscriber, 2) == [body, b"next"]
    subscriber.close()


def test_a_body_in_an_encoding_that_makes_no_text_hinders_nothing(
    link: Link, operator: Any, subscriber: Subscriber
) -> None:
    subscriber.receive(0.01)
    put(operator, link, rb"\ud800", content_encoding="unicode_escape")
    put(operator, link, b"next")
    assert bodies(subscriber, 2)[1] == b"next"


def test_a_line_that_dies_in_the_middle_of_a_message_is_noticed(link: Link, operator: Any) -> None:
    # Given a subscriber behind a line that breaks in the second of two messages, and stays open
    line = Stalling(link.url)
    subscriber = link.with_server(line.url.partition("?")[0]).opened("&group=g")[1].subscriber(lambda: ["OrderPlaced"])
    subscriber.receive(0.01)
    line.after(20_000)
    put(operator, link, b"small")
    put(operator, link, b"x" * 100_000)
    # When it receives, then it has the first
    assert bodies(subscriber, 1) == [b"small"]
    line.stalled.wait()
    # And says that the server is away
    with pytest.raises(TransportError, match="heartbeats missed"):
        eventually(lambda: subscriber.receive(0.2), "it never comes", 20)
    line.close()
    subscriber.close()


def test_a_server_without_memory_is_waited_for_without_sending_more(link: Link) -> None:
    # Given a server that takes no messages, for it may use hardly any memory
    with tempfile.TemporaryDirectory(prefix="bridge-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as another user
        limit = folder / "rabbitmq" / "conf.d" / "limit.conf"
        limit.parent.mkdir(parents=True)
        limit.parent.chmod(0o777)
        limit.write_text("vm_memory_high_watermark.absolute = 1MB\n")
        machine = Machine("rabbitmq", folder)
        machine.start()
        try:
            publisher = link.with_server(machine.url).opened("&mandatory=log")[1].publisher()
            # When an event is sent again and again, then it says why it can't be
            for _ in range(5):
                with pytest.raises(TransportError, match="takes no messages: it is short of memory or disk"):
                    send(publisher, placed(1))
            # And it was given to the server once, on a connection that is still there
            assert publisher._confirms.published == 1
            publisher.close()
        finally:
            machine.end()


def test_a_queue_that_an_older_server_made_is_kept(
    link: Link, operator: Any, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a queue without a delivery limit, as before RabbitMQ 4
    operator.queue_declare(f"{link.prefix}.g", arguments={"x-queue-type": "quorum"}, **DURABLE)
    # When a subscriber finds a newer server, where its queue would have one
    monkeypatch.setattr(rabbitmq_client, "_major_version", lambda _: 4)
    subscriber.receive(0.01)
    # Then it takes the one that is there
    put(operator, link, b"1")
    assert bodies(subscriber, 1) == [b"1"]


def test_an_event_whose_name_is_no_routing_key_hinders_no_other(link: Link, operator: Any) -> None:
    # Given a service that knows an event with a name that is too long for RabbitMQ
    subscriber = link.opened("&group=g")[1].subscriber(lambda: ["ö" * 255, "OrderPlaced"])
    subscriber.receive(0.01)
    # When another one is sent, then it comes
    put(operator, link, b"1")
    assert bodies(subscriber, 1) == [b"1"]
    subscriber.close()


def test_names_that_are_too_long_are_refused_at_once(link: Link) -> None:
    for wrong in (f"&queue={'q' * 256}", f"&bind=a,{'b' * 256}", "&queue="):
        with pytest.raises(ConfigurationError, match="use a name of 1 to 255 bytes"):
            link.opened(wrong)
    link.url = link.url.replace(f"exchange={link.prefix}", f"exchange={'e' * 250}")
    with pytest.raises(ConfigurationError, match="use a name of 1 to 255 bytes"):
        link.opened("&group=orders")
