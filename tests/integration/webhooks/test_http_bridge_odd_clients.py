"""Senders that misbehave, byte by byte: slow, too many, gone in the middle; and what they are told when we are away."""

import errno
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from events.bridges.http import listener as http_listener
from events.bridges.http import subscriber as http_server
from events.bridges.http.peers import peer_of
from events.errors import TransportError
from support.bridged import AtWork, Link, Service
from support.raw_http import BODY, Client, attributes, request
from support.waiting import eventually


def refused(link: Link) -> bool:
    """Whether nobody listens."""
    try:
        Client(link).socket.close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("beginning", "answer"),
    [
        (b"POST /ev", ""),
        (b"POST /events HTTP/1.1\r\nX-Slow: ", "408 Request Timeout"),
        (b"POST /events HTTP/1.1\r\nContent-Length: 10000\r\n\r\n", "408 Request Timeout"),
    ],
)
def test_who_sends_byte_by_byte_is_let_go(
    service: Service, link: Link, at_work: None, monkeypatch: pytest.MonkeyPatch, beginning: bytes, answer: str
) -> None:
    # Given a bridge with little patience
    monkeypatch.setattr(http_listener, "_SLOWEST", 0.5)
    # When a client sends its request byte by byte, then it is told so, as far as it has said what it wants
    with Client(link) as slow:
        assert answer in slow.send(beginning).drip()
    # And others are served
    with Client(link) as client:
        assert "202 Accepted" in client.send(request()).said()
    assert len(service.stored()) == 1


def test_a_silent_connection_ends_without_a_word(link: Link, at_work: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # An answer to nothing would be taken for that of the next request.
    monkeypatch.setattr(http_listener, "_SLOWEST", 0.2)
    with Client(link) as client:
        assert client.send(request(last=False)).said().count("HTTP/1.1 ") == 1


def test_more_connections_than_there_may_be_are_refused(
    service: Service, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bridge that takes ten connections, all in use by clients who say nothing
    monkeypatch.setattr(http_listener, "_MOST", 10)
    receiver = service.receiver(link)
    receiver.step(0.01)
    with AtWork(receiver):
        before = threading.active_count()
        held = [Client(link) for _ in range(10)]
        eventually(lambda: threading.active_count() == before + 10, "all ten are served")
        # When more come, they are told to come again, and take no thread
        for _ in range(20):
            with Client(link) as client:
                said = client.said()
                assert "503 Service Unavailable" in said
                assert said.endswith("\r\n\r\ntoo many connections; send it again\n")
        assert threading.active_count() == before + 10
        # And when the ten are gone, others are served
        for one in held:
            one.socket.close()
        eventually(lambda: threading.active_count() == before, "their threads have ended")
        for _ in range(20):
            with Client(link) as client:
                assert "202 Accepted" in client.send(request()).said()


def test_one_client_leaves_room_for_others(service: Service, link: Link) -> None:
    # Given a bridge that takes five connections of a client, and one that has them all open and says nothing
    receiver = service.receiver(link, "&per_peer=5")
    receiver.step(0.01)
    with AtWork(receiver):
        before = threading.active_count()
        held = [Client(link) for _ in range(5)]
        eventually(lambda: threading.active_count() == before + 5, "all five are served")
        # When it opens more, then it is told to come again
        for _ in range(3):
            with Client(link) as client:
                assert "503 Service Unavailable" in client.said()
        # And another client is served all the while
        with Client(link, "127.0.0.2") as other:
            assert "202 Accepted" in other.send(request()).said()
        # And so is the first, when it has ended one
        held.pop().socket.close()
        eventually(lambda: threading.active_count() == before + 4, "its thread has ended")
        with Client(link) as client:
            assert "202 Accepted" in client.send(request()).said()
        for one in held:
            one.socket.close()


def test_one_client_can_not_take_all_by_default(service: Service, link: Link) -> None:
    with_default = service.receiver(link)
    with_default.step(0.01)
    with AtWork(with_default):
        held = []
        while len(held) < http_listener._MOST:
            held.append(Client(link))
            held[-1].socket.settimeout(0.05)
            try:
                assert "503" in held[-1].said()
                break
            except TimeoutError:  # it is served
                pass
        assert len(held) - 1 == http_server._PER_PEER
        for one in held:
            one.socket.close()


@pytest.mark.parametrize(
    ("address", "peer"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::/64"),
     ("2001:db8::ffff:2", "2001:db8::/64"), ("2001:db8:0:1::2", "2001:db8:0:1::/64"), ("fe80::1%eth0", "fe80::/64"),
     ("", "")],
)  # fmt: skip
def test_a_client_of_ipv6_has_a_network(address: str, peer: str) -> None:
    assert peer_of(address) == peer


def test_a_body_that_ends_early_is_not_taken(service: Service, link: Link, at_work: None) -> None:
    # Given a client that ends in the middle of a body, which is an event as it stands
    with Client(link) as client:
        client.send(request().replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 100"))
        client.socket.shutdown(socket.SHUT_WR)
        # Then it is refused, and nothing is stored
        assert client.said().endswith(f"its body ends after {len(BODY)} of 100 bytes\n")
    assert service.stored() == []


def test_a_hundred_at_once_are_served(service: Service, link: Link) -> None:
    link.timeout = "30s"  # on a machine that does other things, too: else some are told to send it again
    receiver = service.receiver(link)
    receiver.step(0.01)

    def post(_: int) -> str:
        with Client(link) as client:
            return client.send(request()).said()

    with AtWork(receiver), ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(post, range(100)))
    assert [answer for answer in answers if "202 Accepted" not in answer] == []
    assert len(service.stored()) == 100


def test_one_port_takes_one_bridge(link: Link) -> None:
    first, second = (link.opened("&direction=in")[1].subscriber(list) for _ in range(2))
    first.receive(0)
    try:
        with pytest.raises(
            TransportError, match=r"can't listen on 127.0.0.1, port \d+: Address already in use; a port"
        ):
            second.receive(0)
    finally:
        first.close()
        second.close()


def test_it_can_listen_by_ipv6(service: Service) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
            port = free.getsockname()[1]
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
        pytest.skip("this machine has no IPv6")
    link = Link("http", f"http://[::1]:{port}/events")
    receiver = service.receiver(link)
    receiver.step(0.01)
    with AtWork(receiver), Client(link) as client:
        assert "202 Accepted" in client.send(request()).said()


def test_while_the_ledger_is_away_senders_are_told_and_nothing_is_doubled(
    service: Service, link: Link, at_work: None
) -> None:
    sent = request(more=attributes(str(uuid4()).encode()))
    # Given a ledger that nobody can write to
    lock = sqlite3.connect(service.folder / "ours.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    # When an event comes, and comes again, its sender is told to send it again
    for _ in range(2):
        with Client(link) as client:
            assert client.send(sent).said().endswith("it can't be stored now; send it again\n")
    # Then it is stored, once, when the ledger is back
    lock.execute("ROLLBACK")
    lock.close()
    with Client(link) as client:
        assert "202 Accepted" in client.send(sent).said()
    assert len(service.stored()) == 1


def test_at_the_end_each_request_has_its_answer(service: Service, link: Link) -> None:
    # Given a bridge that can't write, with requests that wait, and one of which only half is there
    process = service.start(link)
    eventually(lambda: not refused(link), "it listens")
    lock = sqlite3.connect(service.folder / "ours.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    clients = [Client(link).send(request()) for _ in range(20)]
    half = Client(link).send(request(more=b"Expect: 100-continue\r\n")[:-5])
    assert half.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    # When it shall end, and takes no connections any more
    process.terminate()
    lock.close()
    eventually(lambda: refused(link), "its port is closed")
    half.send(BODY[-5:])
    # Then it is told to come again, and the others to do so, or that they need not
    assert "503 Service Unavailable" in half.said()
    assert all(client.said().startswith(("HTTP/1.1 503", "HTTP/1.1 202")) for client in clients)
    for client in [*clients, half]:
        client.socket.close()
    assert process.exit_code() == 0


def test_a_failure_of_ours_is_said_and_logged(
    link: Link, at_work: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(http_server, "check", fail)
    with Client(link) as client:
        said = client.send(request()).said()
    assert "500 Internal Server Error" in said
    assert "a bug" not in said
    assert "RuntimeError: a bug" in caplog.text
