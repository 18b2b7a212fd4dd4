"""Webhooks of others that misbehave: slow, half dead, or with answers that no server should give."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from events.bridges import open_bridge
from events.bridges.contract import Publisher
from events.errors import PartlySent, TransportError, Unsendable
from events.settings.settings import Settings
from support.bridged import placed, send
from support.raw_http import OK, Peer, answers
from support.waiting import eventually

Opener = Callable[[str], Publisher]
NO = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


def webhook_threads() -> int:
    return sum(thread.name.startswith("events-webhook") for thread in threading.enumerate())


def test_a_server_that_answers_byte_by_byte_is_left_in_time(opened: Opener) -> None:
    # Given a server whose answer's head never ends, though something comes of it all the time
    def drip(peer: Peer, connection: socket.socket) -> None:
        peer.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        peer.drip(connection)

    with Peer(drip) as slow, Peer(answers(OK)) as good:
        publisher = opened(f"{slow.url}?parallel=2")
        # When batches are sent, each fails as a whole, and its requests have ended
        for _ in range(3):
            with pytest.raises(TransportError, match="no whole answer within 1 s") as raised:
                send(publisher, [*placed(5, "one"), *placed(5, "two")])
            assert not isinstance(raised.value, PartlySent)
        assert len(slow.requests) == 6
        # Then no threads have piled up, and another publisher isn't held up
        assert webhook_threads() == 2
        send(opened(good.url), placed(1))
        publisher.close()
        assert webhook_threads() == 1


def test_a_batch_that_is_interrupted_leaves_no_request_behind(opened: Opener) -> None:
    # Given requests that are under way
    def drip(peer: Peer, connection: socket.socket) -> None:
        peer.read(connection)
        try:
            peer.drip(connection)
        finally:
            left.set()

    left, begun = threading.Event(), threading.Event()

    class TimeLimit(BaseException):
        """As Celery raises it in the thread that waits."""

    with Peer(drip) as slow, pytest.MonkeyPatch.context() as patched:
        publisher = open_bridge(slow.url, Settings(broker_url="", broker_timeout="60s"))[1].publisher()

        def interrupted(*_: object) -> object:
            eventually(lambda: slow.requests, "a request has begun")
            begun.set()
            raise TimeLimit

        patched.setattr("events.bridges.http.bridge.wait", interrupted)
        # When the wait for them is interrupted
        with pytest.raises(TimeLimit):
            send(publisher, placed(5))
        # Then they end, and so does the publisher; nothing more of the batch was begun
        publisher.close()
        assert left.wait(10)
        assert len(slow.requests) == 1


def test_an_answer_before_the_answer_is_not_taken_for_it(opened: Opener) -> None:
    # Given a server that gives hints first, and refuses the second event
    def hint(peer: Peer, connection: socket.socket) -> None:
        while True:
            amount = json.loads(peer.read(connection))["amount"]
            for _ in range(3):
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
                peer.ended.wait(0.05)
            connection.sendall(NO if amount == 1 else OK)

    with Peer(hint) as peer:
        # When three events are sent over one connection
        events = placed(3)
        with pytest.raises(PartlySent) as raised:
            send(opened(peer.url), events)
        # Then each has its own answer, and not that of the one before
        assert list(raised.value.failed) == [str(events[1].event_id)]
        assert "answered 500: No" in str(raised.value)
        assert peer.connections == 1


def test_a_connection_that_ends_after_each_answer_fails_nothing(opened: Opener) -> None:
    # Given a server that ends connections without saying so
    with Peer(answers(OK, close=True)) as peer:
        # When many events of one aggregate are sent
        publisher = opened(peer.url)
        send(publisher, placed(30))
        # Then each has arrived
        assert len(peer.requests) == 30


def test_a_request_is_repeated_once_and_not_for_ever(opened: Opener) -> None:
    # Given a server that answers the first request, and no other
    def once(peer: Peer, connection: socket.socket) -> None:
        peer.read(connection)
        if len(peer.requests) == 1:
            connection.sendall(OK)
            peer.read(connection)

    with Peer(once) as peer:
        events = placed(3)
        with pytest.raises(PartlySent) as raised:
            send(opened(peer.url), events)
        assert list(raised.value.failed) == [str(event.event_id) for event in events[1:]]
        assert len(peer.requests) == 3


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\nshort",
        b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
        b"\r\nwithout a length",
    ],
)
def test_the_status_counts_whatever_is_wrong_with_the_body(opened: Opener, rest: bytes) -> None:
    with Peer(answers(b"HTTP/1.1 200 OK\r\n" + rest, close=True)) as peer:
        send(opened(peer.url), placed(2))
        assert len(peer.requests) == 2


def test_a_body_without_end_is_not_read(opened: Opener) -> None:
    # Given answers that never end: one that is fast, and one that is slow
    def fast(peer: Peer, connection: socket.socket) -> None:
        peer.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not peer.ended.is_set():
            connection.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")

    def slow(peer: Peer, connection: socket.socket) -> None:
        peer.read(connection)
        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 400\r\n\r\n")
        peer.drip(connection)

    # Then their status is taken, in time
    with Peer(fast) as peer:
        send(opened(peer.url), placed(2))
    with Peer(slow) as peer, pytest.raises(PartlySent, match=r"answered 500: (a+|No)$"):  # what came in time
        send(opened(peer.url), placed(1))


def test_an_answer_before_the_whole_request_counts(opened: Opener) -> None:
    # Given a server that refuses by the head alone, and reads no further
    def refuse(peer: Peer, connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while connection.recv(65536):
                pass

    with Peer(refuse) as peer, pytest.raises(PartlySent, match="answered 413: Too Large") as raised:
        send(opened(peer.url), placed(1, "o" * 500_000))
    (error,) = raised.value.failed.values()
    assert isinstance(error, Unsendable)


def test_a_server_that_stops_reading_is_left_in_time(opened: Opener) -> None:
    # Given a server that takes a first event, and reads nothing of the second, which fits into no buffer
    def stop(peer: Peer, connection: socket.socket) -> None:
        peer.read(connection)
        connection.sendall(OK)
        peer.ended.wait()

    with Peer(stop) as peer:
        publisher = opened(peer.url)
        send(publisher, placed(1))
        # Then it is left, and not asked again at once
        with pytest.raises(TransportError, match="no whole answer within 1 s"):
            send(publisher, placed(1, "o" * 20_000_000))
        assert peer.connections == 1
