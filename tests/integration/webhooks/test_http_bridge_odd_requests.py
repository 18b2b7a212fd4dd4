"""Requests that no client should send, and odd ones that it may: each has the right answer."""

import pytest

from events.bridges.http import reading as http_reading
from support.bridged import AtWork, Link, Service
from support.raw_http import BATCH, BODY, Client, attributes, batch, request


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"POST /events HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", "400 Bad Request"),
        (b"POST /events HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"),
        (b"POST /events HTTP/1.1\r\nContent-Length: 14\r\nContent-Length: 2\r\n\r\n" + BODY, "two of them"),
        (b"POST /events HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "413 Request Entity Too Large"),
        (b"POST /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411 Length Required"),
        (b"POST /events HTTP/1.1\r\n\r\n", "411 Length Required"),
        (request(more=b"no colon\r\n"), "its headers can't be read"),
        (request(more=b"a: b\r\n" * 200), "431 Too many headers"),
        (request(more=b"a: " + b"b" * 70_000 + b"\r\n"), "431 Line too long"),
        (request(more=b"ce-id: 1\r\nce-id: 2\r\n"), "the header ce-id is there twice"),
        (request(b""), "its body is no JSON"),
        (request(b"\0" * 100), "its body is no JSON"),
        (request(b'{"a":' * 50_000), "its body is no JSON"),
        (request(b"{}", BATCH), "the batch is no JSON array"),
        (request(batch(http_reading.MOST_EVENTS + 1), BATCH), "at most 1,000 events are taken in a batch"),
        (b"POST /events\r\n\r\n", "Error code: 400"),
    ],
)
def test_what_no_client_should_send_is_answered(
    service: Service, link: Link, at_work: None, sent: bytes, answer: str
) -> None:
    with Client(link) as client:
        assert answer in client.send(sent).said()
    assert service.stored() == []
    assert service.pipeline.parked.counts() == {}


@pytest.mark.parametrize("stamp", ["\xb2", "9" * 5000, ""])
@pytest.mark.parametrize("signed", ["v1,\xe9", "v1,=", ""])
def test_odd_signatures_are_refused(link: Link, service: Service, stamp: str, signed: str) -> None:
    receiver = service.receiver(link, "&secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    receiver.step(0.01)
    with AtWork(receiver), Client(link) as client:
        headers = f"webhook-id: 1\r\nwebhook-timestamp: {stamp}\r\nwebhook-signature: {signed}\r\n"
        assert "401 Unauthorized" in client.send(request(more=headers.encode("latin-1"))).said()


def test_requests_may_come_one_behind_the_other(service: Service, link: Link, at_work: None) -> None:
    # When three are sent in one piece, over one connection
    with Client(link) as client:
        said = client.send(request(last=False) * 2 + request()).said()
    # Then each has its answer
    assert said.count("202 Accepted") == len(service.stored()) == 3


def test_who_asks_before_it_sends_is_told_to_go_on(service: Service, link: Link, at_work: None) -> None:
    with Client(link) as client:
        head, _, body = request(more=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert "202 Accepted" in client.send(body).said()
    assert len(service.stored()) == 1


def test_a_batch_may_be_empty_or_large(service: Service, link: Link) -> None:
    link.timeout = "30s"  # on a machine that does other things, too
    receiver = service.receiver(link)
    receiver.step(0.01)
    with AtWork(receiver):
        # An empty batch is stored at once: there is nothing of it
        with Client(link) as client:
            assert "202 Accepted" in client.send(request(b"[]", BATCH)).said()
        for _ in range(2):
            large = batch(http_reading.MOST_EVENTS)
            with Client(link) as client:
                assert "202 Accepted" in client.send(request(large, BATCH)).said()
    assert len(service.stored()) == 2 * http_reading.MOST_EVENTS


@pytest.mark.parametrize("event_id", [b"%ff%fe", b"%ED%A0%80", b"caf\xe9", b"%", b"x" * 255])
def test_an_id_may_be_anything_and_stays_the_same(service: Service, link: Link, at_work: None, event_id: bytes) -> None:
    for _ in range(2):
        with Client(link) as client:
            assert "202 Accepted" in client.send(request(more=attributes(event_id))).said()
    assert len(service.stored()) == 1
