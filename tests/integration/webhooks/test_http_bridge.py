"""Webhooks: our events, posted to others over real connections."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import shop
from events import ConfigurationError, RetryAfter, publish
from events.bridges import open_bridge
from events.bridges.contract import Publisher
from events.bridges.http.bridge import signature
from events.errors import PartlySent, TransportError, Unsendable
from events.settings.settings import Settings
from support.bridged import placed, send
from support.system import System
from support.waiting import eventually

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = b"1\xf2\x90\xf6\xbf\x06)\x8a\xabO\x08\xd4<?\x08,\xf6H\xa3b\xda-\xa4\xb0"


class Endpoint:
    """A webhook of another service: keeps what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.connections: set[Any] = set()
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str]]] = lambda _: (204, {})
        endpoint = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                endpoint.connections.add(self.client_address)
                status, headers = endpoint.answer(json.loads(body))
                text = b"" if status == 204 else f"that is a {status}".encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(text))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Not in the tests' output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def orders(self) -> Counter[str]:
        return Counter(json.loads(body)["order"] for _, body in self.got)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    try:
        yield endpoint
    finally:
        endpoint.close()


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of https://www.standardwebhooks.com
    body = b'{"test": 2432232314}'
    signed = signature(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_event_is_a_signed_post(endpoint: Endpoint, opened: Callable[[str], Publisher]) -> None:
    # Given a webhook with a secret and a token, and a parameter of its own
    publisher = opened(f"{endpoint.url}?secret={SECRET}&token=t0ken&shop=7")
    # When events are sent
    events = placed(20)
    send(publisher, events)
    # Then each is a request, in order and over one connection, since they are of one aggregate
    assert [headers["ce-id"] for headers, _ in endpoint.got] == [str(event.event_id) for event in events]
    assert len(endpoint.connections) == 1
    headers, body = endpoint.got[0]
    assert headers["authorization"] == "Bearer t0ken"
    assert (headers["ce-type"], headers["ce-specversion"]) == ("OrderPlaced", "1.0")
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == str(events[0].event_id)
    assert headers["webhook-signature"] == signature(KEY, headers["webhook-id"], headers["webhook-timestamp"], body)


@pytest.mark.parametrize(("status", "error"), [(500, TransportError), (408, TransportError), (429, TransportError),
                                               (404, Unsendable), (302, Unsendable)])  # fmt: skip
def test_what_an_answer_means(
    endpoint: Endpoint, opened: Callable[[str], Publisher], status: int, error: type[Exception]
) -> None:
    endpoint.answer = lambda _: (status, {"Location": endpoint.url})
    with pytest.raises(PartlySent) as raised:
        send(opened(endpoint.url), placed(1))
    (why,) = raised.value.failed.values()
    assert type(why) is error
    assert f"/hook answered {status}: that is a {status}" in str(why)
    assert len(endpoint.got) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_may_say_when(endpoint: Endpoint, opened: Callable[[str], Publisher], form: str) -> None:
    # Given a server that asks for 90 seconds
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    endpoint.answer = lambda _: (429, {"Retry-After": "90" if form == "seconds" else later})
    # When a batch is sent, then none of it is tried earlier, and the rest not at all
    with pytest.raises(PartlySent) as raised:
        send(opened(f"{endpoint.url}?parallel=1"), placed(5))
    assert len(endpoint.got) == 1
    assert len(raised.value.failed) == 5
    for error in raised.value.failed.values():
        assert isinstance(error, RetryAfter)
        assert 80 < error.delay.total_seconds() <= 90


def test_each_event_of_a_batch_has_its_own_outcome(endpoint: Endpoint, tmp_path: Path) -> None:
    # Given a webhook that refuses one order for good, and another the first time
    def answer(data: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if data["order"] == "never":
            return 422, {}
        return (503 if data["order"] == "once" and endpoint.orders()["once"] == 1 else 200), {}

    endpoint.answer = answer
    url = f"{endpoint.url}?name=hook&secret={SECRET}"
    with System("sqlite", tmp_path, bridges=url, forward="OrderPlaced", poll_interval="200ms").in_use() as system:
        # When a worker forwards a batch with both of them
        events = [shop.OrderPlaced(order=order) for order in ("never", "once", *map(str, range(20)))]
        publish(events)
        system.start_worker(pool="threads")
        # Then all others are sent once
        eventually(lambda: endpoint.orders()["once"] == 2, "the second was tried again")
        expected = Counter({"never": 1, "once": 2} | {str(number): 1 for number in range(20)})
        assert endpoint.orders() == expected
        # And the first is a dead letter that says why, and not the secret
        hook = [one for one in system.deliveries() if one.handler == "bridge.hook"]
        eventually(lambda: system.states()["dead"] == 1, "one is dead")
        (dead,) = [one for one in system.deliveries() if one.state == "dead"]
        assert len(hook) == 22
        assert "answered 422: that is a 422" in dead.error
        assert SECRET not in dead.error + dead.traceback + system.processes[0].log.read_text()


def test_a_silent_server_is_left_in_time(opened: Callable[[str], Publisher]) -> None:
    # Given a server that accepts, and never answers
    with http.client.socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = opened(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        # When a batch is sent to it, it fails as a whole, by one time-out and not by ten
        with pytest.raises(TransportError, match="no whole answer within 1 s") as raised:
            send(publisher, placed(10))
        assert not isinstance(raised.value, PartlySent)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h/?secret=abc", "secret=***: use whsec_ and at least 16 bytes"),
        (f"https://h/?direction=in&secret={SECRET}", "we serve no TLS"),
        (f"http://h/?direction=both&token={SECRET}", "a URL is theirs or ours: use in or out"),
        ("http://h/?parallel=0", "use a whole number above zero"),
    ],
)
def test_a_wrong_url_says_no_secret(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        open_bridge(url, Settings(broker_url=""))
    assert said in str(wrong.value)
    assert "abc" not in str(wrong.value)
    assert SECRET not in str(wrong.value)
