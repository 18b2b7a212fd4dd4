"""TLS for real: who has the right certificate is spoken to, and nobody else."""

import http.server
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from events import ConfigurationError
from events.bridges import open_bridge
from events.bridges.contract import Publisher, Received
from events.errors import TransportError
from events.settings.settings import Settings
from support.bridged import Link, insist, placed, send
from support.certificates import Certificates, TLSServer, make
from support.raw_http import OK, Peer
from support.servers import server_url
from support.waiting import eventually

BROKERS = {
    "nats+tls": "nats",
    "nats+tls+jetstream": "nats",
    "rabbitmqs+topic": "rabbitmq",
    "rediss+pubsub": "redis",
    "rediss+streams": "redis",
}
USER = {"rabbitmq": "guest:guest@"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tls-"))
    folder.chmod(0o755)  # the servers run as another user
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def certificates(folder: Path) -> Certificates:
    return make(folder)


@pytest.fixture(scope="module")
def servers(folder: Path, certificates: Certificates) -> Iterator[dict[str, TLSServer]]:
    for name in sorted(set(BROKERS.values())):
        server_url({"rabbitmq": "AMQP"}.get(name, name.upper()))  # who has no plain one has none with TLS
    started = {name: TLSServer(name, folder, certificates) for name in sorted(set(BROKERS.values()))}
    try:
        for server in started.values():
            server.wait()
        yield started
    finally:
        for server in started.values():
            server.end()


@pytest.fixture
def webhook(certificates: Certificates) -> Iterator[int]:
    """The port of a server with TLS that answers 200, and then ends the connection without a word of that."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.key)

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.wfile.write(OK)

        def log_message(self, *_: object) -> None:
            """Not in the tests' output."""

    class Server(http.server.ThreadingHTTPServer):
        def get_request(self) -> tuple[socket.socket, object]:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True), address

        def handle_error(self, *_: object) -> None:
            """A client that doesn't like our certificate."""

    server = Server(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["https", *sorted(BROKERS)])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def port(request: pytest.FixtureRequest, scheme: str) -> int:
    if scheme == "https":
        return int(request.getfixturevalue("webhook"))
    return int(request.getfixturevalue("servers")[BROKERS[scheme]].port)


def link_to(scheme: str, host: str, port: int, user: str = "") -> Link:
    return Link(scheme, f"x://{user or USER.get(BROKERS.get(scheme, ''), '')}{host}:{port}")


@pytest.fixture
def opened() -> Iterator[list[Publisher]]:
    """What is closed in the end."""
    opened: list[Publisher] = []
    yield opened
    for one in opened:
        one.close()


def test_it_works_both_ways(scheme: str, port: int, certificates: Certificates, opened: list[Publisher]) -> None:
    # Given a bridge that is told whom to trust
    link = link_to(scheme, "localhost", port)
    trusting = f"&ca={certificates.authority}"
    publisher = link.opened(trusting)[1].publisher()
    opened.append(publisher)
    if scheme == "https":
        send(publisher, placed(3))
        return
    subscriber = link.opened(f"{trusting}&direction=in&group=us")[1].subscriber(lambda: ["OrderPlaced"])
    try:
        subscriber.receive(0.01)
        # When events are sent
        events = placed(3)
        insist(publisher, events)
        # Then they come
        got: list[Received] = []

        def all_there() -> bool:
            found = subscriber.receive(0.1)
            got.extend(found)
            subscriber.acknowledge(found)
            return len(got) >= 3

        eventually(all_there, "three have come")
        assert {str(event.event_id) in one.body.decode() for event, one in zip(events, got, strict=True)} == {True}
    finally:
        subscriber.close()


def refusals(link: Link, more: str) -> Sequence[str]:
    """What a publisher and a subscriber say, who are not to connect."""
    said = []
    publisher = link.opened(more)[1].publisher()
    try:
        with pytest.raises(TransportError) as sent:
            send(publisher, placed(1))
        said.append(str(sent.value))
    finally:
        publisher.close()
    if link.scheme != "https":
        subscriber = link.opened(f"{more}&direction=in")[1].subscriber(lambda: ["OrderPlaced"])
        try:
            with pytest.raises(TransportError) as received:
                subscriber.receive(0.01)
            said.append(str(received.value))
        finally:
            subscriber.close()
    return said


def test_whom_nobody_vouches_for_is_refused(scheme: str, port: int) -> None:
    for said in refusals(link_to(scheme, "localhost", port), ""):
        assert f"localhost:{port}" in said
        assert "certificate verify failed" in said
        assert "\n" not in said


def test_a_certificate_for_another_host_is_refused(scheme: str, port: int, certificates: Certificates) -> None:
    for said in refusals(link_to(scheme, "127.0.0.1", port), f"&ca={certificates.authority}"):
        assert f"127.0.0.1:{port}" in said
        assert "certificate verify failed" in said
        assert "IP address mismatch" in said


def test_a_trusted_file_may_be_named_by_the_environment(
    scheme: str, port: int, certificates: Certificates, opened: list[Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    publisher = link_to(scheme, "localhost", port).opened("&mandatory=log" if "rabbit" in scheme else "")[1].publisher()
    opened.append(publisher)
    send(publisher, placed(1))


def test_a_server_without_tls_is_told_no_password(scheme: str, certificates: Certificates) -> None:
    # Given a server that speaks no TLS, perhaps because somebody between makes it seem so
    heard: list[bytes] = []

    def listen(_: Peer, connection: socket.socket) -> None:
        connection.settimeout(10)
        if scheme.startswith("nats"):
            connection.sendall(b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576,"headers":true}\r\n')
        while more := connection.recv(65536):
            heard.append(more)
            connection.sendall(b"+OK\r\nPONG\r\n")

    with Peer(listen) as plain:
        port = int(plain.url.rpartition(":")[2].partition("/")[0])
        # When a bridge with TLS connects to it
        link = link_to(scheme, "localhost", port, "user:pa55word@")
        said = refusals(link, f"&ca={certificates.authority}")
    # Then it is told nothing but the beginning of TLS, and the log no password
    eventually(lambda: heard or scheme.startswith("nats"), "the server was spoken to")
    assert b"pa55word" not in b"".join(heard)
    assert b"user" not in b"".join(heard)
    assert not [line for line in said if "pa55word" in line]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "https://h/?ca=/no.pem",
            "ca=/no.pem: No such file or directory; name a file of certificates in PEM",
        ),
        ("rediss+streams://h/?ca=", "ca=: it is empty"),
        ("nats+tls://h/?ca={empty}", "name a file of certificates in PEM"),
        ("nats+jetstream://h/?ca={real}", "nats+jetstream:// has no TLS; use the scheme that has"),
        ("http://h/?ca={real}", "http:// has no TLS"),
    ],
)
def test_a_wrong_file_is_said_at_the_start(url: str, said: str, certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(ConfigurationError) as wrong:
        open_bridge(url.format(empty=tmp_path / "empty.pem", real=certificates.authority), Settings(broker_url=""))
    assert said in str(wrong.value)


def test_all_schemes_with_tls_take_a_file(certificates: Certificates) -> None:
    for scheme in (*BROKERS, "https", "kafka+tls"):
        assert open_bridge(f"{scheme}://h/?ca={certificates.authority}", Settings(broker_url=""))[0].ca
