"""What is NATS's own in its bridges: what it doesn't allow, odd messages, and subscribers that are too slow."""

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import shop
from events.bridges.contract import Message, Received, Subscriber
from events.errors import PartlySent, TransportError
from rigs.chaos.machines import Machine
from support import private_servers
from support.bridged import BothEnds, Link, insist, placed, send
from support.servers import server_url
from support.waiting import eventually

KINDS = ("nats", "nats+jetstream")
USERS = """
listen: 127.0.0.1:%d
jetstream { store_dir: data }
authorization { users = [
  { user: limited, password: secret, permissions: {
      publish: { deny: ["*.AlwaysFails", "$JS.API.CONSUMER.>"] }, subscribe: ["_INBOX.>"] } }
] }
"""


@pytest.fixture(params=KINDS)
def link(request: pytest.FixtureRequest) -> Link:
    return Link(request.param, server_url("NATS"))


@pytest.fixture
def core() -> Link:
    return Link("nats", server_url("NATS"))


@pytest.fixture
def guarded() -> Iterator[str]:
    """A server on which one may not do everything; its URL."""
    folder = Path(tempfile.mkdtemp(prefix="nats-"))
    folder.chmod(0o755)  # the server runs as another user
    port = private_servers.free_port()
    (folder / "users.conf").write_text(USERS % port)
    server = replace(private_servers.SERVERS["nats"], script='exec nats-server -c "../users.conf"')
    process = private_servers.start(server, folder / "nats", port)
    try:
        eventually(lambda: private_servers.answer(server, port).startswith(server.answer), "it answers")
        yield f"nats://limited:secret@127.0.0.1:{port}"
    finally:
        private_servers.stop(process, server.stop)
        shutil.rmtree(folder, ignore_errors=True)


class TimeLimit(Exception):
    pass


def interrupt(*_: object) -> None:
    raise TimeLimit


def raw(link: Link, headers: bytes, body: bytes) -> None:
    """Publish by hand what no client would."""
    host, _, port = server_url("NATS").rpartition("/")[2].partition(":")
    sizes = f"{len(headers)} {len(headers) + len(body)}"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b'CONNECT {"headers":true,"verbose":false}\r\n')
        connection.sendall(f"HPUB {link.prefix}.OrderPlaced {sizes}\r\n".encode() + headers + body + b"\r\nPING\r\n")
        answer = b""
        while b"PONG" not in answer:
            answer += connection.recv(65536)


def taken(subscriber: Subscriber, count: int) -> list[Received]:
    found: list[Received] = []
    eventually(lambda: found.extend(subscriber.receive(0.2)) or len(found) >= count, f"{count} messages came", 20)
    subscriber.acknowledge(found)
    return found


def test_headers_that_are_none_do_not_make_it_deaf(link: Link, both_ends: BothEnds) -> None:
    # Given a subscriber
    publisher, subscriber = both_ends(link)
    subscriber.receive(0.01)
    # When somebody sends headers that are none, and others send events
    for odd in (
        b"x",
        b"NATS/1.0 \xff\xff\xff \xff\r\n\r\n",
        b"NATS/1.0\r\n\xff: \xff\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
    ):
        raw(link, odd, b'{"order": "odd"}')
    (event,) = placed(1)
    send(publisher, [event])
    # Then all of it comes, on the same connection
    connection = subscriber._line._client
    bodies = [one.body for one in taken(subscriber, 5)]
    assert bodies[:4] == [b'{"order": "odd"}'] * 4
    assert str(event.event_id).encode() in bodies[4]
    assert subscriber._line._client is connection


def test_what_one_may_not_send_is_said_and_the_rest_arrives(guarded: str, both_ends: BothEnds) -> None:
    # Given a batch of which the server forbids the second
    for kind in KINDS:
        publisher, _ = both_ends(Link(kind, guarded))
        events = [*placed(1), shop.AlwaysFails(text=""), *placed(1)]
        # When it is sent
        with pytest.raises(PartlySent) as raised:
            send(publisher, events)
        # Then the second was not, and it is said why
        ((event_id, error),) = raised.value.failed.items()
        assert event_id == str(events[1].event_id)
        assert "permissions violation for publish to" in str(error)
        assert "secret" not in str(error)


def test_a_subscriber_that_may_not_subscribe_says_so(guarded: str, both_ends: BothEnds) -> None:
    _, subscriber = both_ends(Link("nats", guarded))
    with pytest.raises(TransportError, match=r"permissions violation for subscription to \"test-.*\.>\""):
        subscriber.receive(0.01)
    _, subscriber = both_ends(Link("nats+jetstream", guarded))
    with pytest.raises(TransportError, match=r"permissions violation for publish to \"\$js\.api\.consumer"):
        subscriber.receive(0.01)


def test_a_slow_subscriber_keeps_so_many_bytes_and_says_what_it_loses(
    core: Link, both_ends: BothEnds, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a subscriber that is busy with something else
    publisher, subscriber = both_ends(core)
    subscriber.receive(0.01)
    # When more arrives than it may keep
    with caplog.at_level(logging.WARNING, "events.bridges"):
        for _ in range(8):
            publisher.send([Message("", "OrderPlaced", "", b"x" * 1_000_000)] * 10)
        eventually(lambda: caplog.messages, "it says that it is too slow")
    # Then it has kept 64 MiB of it, and tells
    assert caplog.messages == [
        f"subscriber of {core.prefix}.> is too slow: 67 messages with 67,000,000 bytes wait, others are lost"
    ]
    assert len(taken(subscriber, 67)) == 67
    # And it goes on
    send(publisher, placed(1))
    taken(subscriber, 1)


def test_a_time_limit_in_the_middle_of_it_leaves_no_deaf_connection(
    link: Link,
    both_ends: BothEnds,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a publisher that waits for a server that is stopped
    folder = Path(tempfile.mkdtemp(prefix="nats-"))
    folder.chmod(0o755)  # the server runs as another user
    machine = Machine("nats", folder)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        machine.start()
        publisher, subscriber = both_ends(link.with_server(machine.url))
        subscriber.receive(0.01)
        send(publisher, placed(1))
        machine.pause()
        # When a time limit interrupts it, and the server goes on
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(TimeLimit):
            send(publisher, placed(1))
        machine.resume()
        # Then what is sent next arrives, and the client has come to no harm
        last = placed(1, "last")
        insist(publisher, last)
        eventually(lambda: any(b"last" in one.body for one in subscriber.receive(0.2)), "the last arrived", 20)
        assert [record.message for record in caplog.records if record.name.startswith("nats")] == []
    finally:
        signal.signal(signal.SIGUSR1, before)
        machine.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("task", ["_reading_task", "_flusher_task"])
def test_what_a_connection_that_has_ended_was_given_is_not_sent(core: Link, both_ends: BothEnds, task: str) -> None:
    # Given a connection whose reader, or writer, has ended
    publisher, subscriber = both_ends(core)
    subscriber.receive(0.01)
    send(publisher, placed(1))
    client: Any = publisher._line._client  # type: ignore[attr-defined]
    ended = getattr(client, task)
    ended.get_loop().call_soon_threadsafe(ended.cancel)
    eventually(ended.done, "it has ended")
    # When an event is sent, then nobody takes it for sent
    with pytest.raises(TransportError, match="the connection has ended"):
        send(publisher, placed(1))
    # And sent again, by a new connection, it arrives
    last = placed(1, "last")
    insist(publisher, last)
    eventually(lambda: any(b"last" in one.body for one in subscriber.receive(0.2)), "the last arrived", 20)


def test_a_server_that_says_nothing_costs_no_connections(core: Link, both_ends: BothEnds) -> None:
    # Given a server that accepts, and is silent
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher, _ = both_ends(core.with_server(f"nats://127.0.0.1:{silent.getsockname()[1]}"))
        # When an event is sent to it
        with pytest.raises(TransportError, match="TimeoutError: no answer within 2 s"):
            send(publisher, placed(1))
        # Then the connection is not left open
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(100) == b""


def test_a_server_that_is_not_there_is_said_to_refuse(core: Link, both_ends: BothEnds) -> None:
    publisher, _ = both_ends(core.with_server(f"nats://127.0.0.1:{private_servers.free_port()}"))
    with pytest.raises(TransportError, match="ConnectionRefusedError"):
        send(publisher, placed(1))
    with pytest.raises(TransportError, match="NoServersError"):  # at once: it has not waited for the timeout
        send(publisher, placed(1))
