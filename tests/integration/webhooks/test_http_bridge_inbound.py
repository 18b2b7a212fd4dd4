"""What others post to us, over real connections."""

import http.client
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from events.bridges.http import subscriber as http_server
from events.bridges.http.bridge import signature
from events.errors import PartlySent
from support.bridged import AtWork, Link, Service, placed, send
from support.private_servers import free_port

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = b"1\xf2\x90\xf6\xbf\x06)\x8a\xabO\x08\xd4<?\x08,\xf6H\xa3b\xda-\xa4\xb0"


class Sender:
    """Another service."""

    def __init__(self, port: int) -> None:
        self._port = port

    def post(self, body: bytes, path: str = "/events", method: str = "POST", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode().strip()
        finally:
            connection.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def sender(port: int) -> Sender:
    return Sender(port)


@pytest.fixture
def at_work(service: Service, port: int) -> Iterator[None]:
    receiver = service.receiver(Link("http", f"http://127.0.0.1:{port}/events"), "&token=t0ken&limit=10000")
    receiver.step(0.01)
    with AtWork(receiver):
        yield


def test_all_modes_of_cloudevents_are_taken(service: Service, sender: Sender, at_work: None) -> None:
    # When events come in binary, structured and batch mode
    ids = [uuid4() for _ in range(4)]
    whole = [
        {"specversion": "1.0", "id": str(one), "type": "OrderPlaced", "source": "/t", "data": {"order": "o"}}
        for one in ids
    ]
    token = {"Authorization": "Bearer t0ken"}
    binary = {"ce_id": str(ids[0]), "ce_type": "OrderPlaced", "ce_source": "/t", "ce_specversion": "1.0"}
    assert sender.post(b'{"order": "o"}', **token, **binary, Content_Type="application/json") == (202, "")
    structured = json.dumps(whole[1]).encode()
    assert sender.post(structured, **token, Content_Type="application/cloudevents+json; charset=utf-8") == (202, "")
    batch = json.dumps(whole[2:]).encode()
    assert sender.post(batch, **token, Content_Type="application/cloudevents-batch+json") == (202, "")
    # Then they are stored when it is answered
    assert sorted(service.stored()) == sorted(ids)


def test_who_sends_what_is_wrong_is_told(service: Service, sender: Sender, at_work: None) -> None:
    token = {"Authorization": "Bearer t0ken"}
    kind = {"ce_type": "OrderPlaced", "ce_id": "7", "ce_source": "/t", "ce_specversion": "1.0"}
    assert sender.post(b"{", **token, **kind) == (
        400, "its body is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    )  # fmt: skip
    status, line = sender.post(b"{}", **token)
    assert (status, "nothing says which event it is" in line) == (400, True)
    for missing in kind:  # a part of a CloudEvent would be another event each time it comes
        status, line = sender.post(b'{"order": "o"}', **token, **{name: kind[name] for name in kind if name != missing})
        assert (status, "it is a CloudEvent" in line) == (400, True)
    batch = {"Content_Type": "application/cloudevents-batch+json"}
    good = {"id": "1", "type": "OrderPlaced", "source": "/t", "specversion": "1.0", "data": {"order": "o"}}
    status, line = sender.post(json.dumps([good, 7]).encode(), **token, **batch)
    assert (status, line.split(":")[0]) == (400, "event 2 of 2")
    assert sender.post(b'{"order": "o"}', Authorization="Bearer wrong", **kind)[0] == 401
    assert sender.post(b'{"order": "o"}', **kind)[0] == 401
    assert sender.post(b"{}", "/elsewhere", **token, **kind)[0] == 404
    assert sender.post(b" " * 10_001, **token, **kind) == (413, "at most 10,000 bytes are taken")
    assert sender.post(b"", method="GET")[0] == 501
    # And nothing of it is kept
    assert service.stored() == []
    assert service.pipeline.parked.counts() == {}


def test_what_is_unknown_here_is_parked_without_the_token(service: Service, sender: Sender, at_work: None) -> None:
    said = {"ce_type": "NobodyKnows", "ce_id": "7", "ce_source": "/t", "ce_specversion": "1.0"}
    assert sender.post(b'{"a": 1}', Authorization="Bearer t0ken", **said) == (202, "")
    (parked,) = service.pipeline.parked.find()
    assert (parked.reason, parked.body) == ("bridge: unknown event", b'{"a": 1}')
    assert "t0ken" not in json.dumps(parked.properties)


def test_only_what_is_signed_is_taken(service: Service, sender: Sender, port: int) -> None:
    # Given a receiver that knows a secret
    link = Link("http", f"http://127.0.0.1:{port}/events")
    receiver = service.receiver(link, f"&secret={SECRET}")
    receiver.step(0.01)
    with AtWork(receiver):
        # When a bridge with the same secret sends, it is taken
        publisher = link.opened(f"&secret={SECRET}")[1].publisher()
        send(publisher, placed(1))
        publisher.close()
        assert len(service.stored()) == 1
        # And nothing that is unsigned, changed or old
        body, now = b'{"eventType": "OrderPlaced", "order": "o"}', str(int(datetime.now(UTC).timestamp()))
        old = str(int(now) - 1000)

        def status(sent: bytes, stamp: str) -> int:
            signed = signature(KEY, "id", stamp, body)
            return sender.post(sent, ce_type="OrderPlaced", webhook_id="id", webhook_timestamp=stamp,
                               webhook_signature=f"v1a,xyz {signed}")[0]  # fmt: skip

        assert sender.post(body, ce_type="OrderPlaced")[0] == 401
        assert status(body + b" ", now) == 401
        assert status(body, old) == 401
        assert len(service.stored()) == 1
        assert status(body, now) == 202


def test_a_captured_request_is_one_event_whatever_is_put_beside_it(service: Service, sender: Sender, port: int) -> None:
    # Given a receiver that knows a secret, and a request of a partner's
    receiver = service.receiver(Link("http", f"http://127.0.0.1:{port}/events"), f"&secret={SECRET}")
    receiver.step(0.01)
    body = json.dumps({"type": "OrderPlaced", "timestamp": "2026-11-28T09:30:01Z", "data": {"order": "o"}}).encode()
    now = str(int(datetime.now(UTC).timestamp()))
    signed = {"webhook_id": "msg-1", "webhook_timestamp": now, "webhook_signature": signature(KEY, "msg-1", now, body)}
    with AtWork(receiver):
        # When it is sent again and again, with other attributes
        assert sender.post(body, **signed) == (202, "")
        others = [{"ce_type": "OrderConfirmed", "ce_source": "/x", "ce_specversion": "1.0"}, {"ce_subject": "o-2"},
                  {"ce_type": "AlwaysFails", "Content_Type": "application/cloudevents+json"}]  # fmt: skip
        assert [sender.post(body, **signed, **one)[0] for one in others[:2]] == [202, 202]
        assert sender.post(body, **signed, ce_id="msg-2") == (400, "ce-id is another than webhook-id, and not signed")
        sender.post(body, **signed, **others[2])
    # Then there is one event, of the type that was signed
    ((_, row),) = service.rows().items()
    assert (row.event_type, json.loads(row.metadata)["sender_event_id"]) == ("OrderPlaced", "msg-1")
    assert service.pipeline.parked.counts() == {}


def test_a_partner_s_token_runs_no_private_event(service: Service, sender: Sender, port: int) -> None:
    # Given a receiver that names no private event, and one that names one
    link = Link("http", f"http://127.0.0.1:{port}/events", accept="OrderConfirmed")
    receiver = service.receiver(link, "&token=t0ken")
    receiver.step(0.01)
    with AtWork(receiver):
        # When somebody who has the token sends private events of ours
        for kind in ("OrderPlaced", "OrderConfirmed"):
            body = json.dumps({"eventType": kind, "eventId": f"{kind}-1", "order": "o"}).encode()
            assert sender.post(body, Authorization="Bearer t0ken") == (202, "")
    # Then the one that is named is stored, and the other is parked, with the cure
    assert [row.event_type for row in service.rows().values()] == ["OrderConfirmed"]
    (parked,) = service.pipeline.parked.find()
    assert (parked.reason, "?accept=OrderPlaced" in parked.detail) == ("bridge: private event", True)


def test_while_nothing_can_be_stored_senders_are_told_to_come_again(service: Service, port: int) -> None:
    # Given a receiver whose ledger takes nothing: what it received is not acknowledged
    link = Link("http", f"http://127.0.0.1:{port}/events")
    _, bridge = link.opened("&direction=in")
    stuck = bridge.subscriber(list)
    stuck.receive(0.01)
    publisher = link.opened()[1].publisher()
    events = placed(1)
    raised: list[PartlySent] = []

    def try_it() -> None:
        try:
            send(publisher, events)
        except PartlySent as error:
            raised.append(error)

    sending = threading.Thread(target=try_it)
    sending.start()
    assert stuck.receive(5)
    # When it ends, then the sender is told, at once
    stuck.close()
    sending.join()
    assert "answered 503: it can't be stored now" in str(raised[0])
    # When it waits for longer than it has, then it is told, too
    receiver = service.receiver(link)
    receiver.step(0.01)
    sending = threading.Thread(target=try_it)
    sending.start()
    sending.join()
    assert "answered 503: it can't be stored now" in str(raised[1])
    # And what is sent again is stored, once
    with AtWork(receiver):
        send(publisher, events)
        send(publisher, events)
    assert service.stored() == [events[0].event_id]
    publisher.close()


def test_more_than_can_wait_are_refused() -> None:
    # Given a subscriber that nobody reads, with as many requests as may wait
    _, bridge = Link("http", f"http://127.0.0.1:{free_port()}/events").opened()
    subscriber = bridge.subscriber(list)
    for _ in range(http_server._MOST_WAITING):
        subscriber.waiting.put_nowait(http_server.Waiting([]))
    # When one more comes, it is told so at once, and everybody is when it ends
    subscriber._listen()
    sender = Sender(subscriber._server.server_address[1])
    assert sender.post(b'{"eventType": "OrderPlaced", "order": "o"}') == (503, "too many are waiting; send it again")
    subscriber.close()
    assert subscriber.waiting.empty()
