"""HTTP inbound: `events bridge 'http://0.0.0.0:8080/events?token=...'` takes CloudEvents by POST, in all their modes.

It answers when the events are committed here: 202; those that are parked, too. 400: it can't be parsed, in one line;
401: the token or the signature is wrong; 413: over `?limit=` bytes, 1 MiB by default; 503: not now, send it again.
TLS is the business of a proxy in front. Only one process can have a port.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from events.bridge_url import Address
from events.bridging import AT_ONCE, Received, unquoted_value
from events.errors import TransportError
from events.wire import STRUCTURED, Unacceptable, incoming

log = logging.getLogger("events.bridges")

BATCH = "application/cloudevents-batch+json"
_LIMIT = 1024 * 1024  # bytes of a request
_MOST_WAITING = 200  # requests; more are told to come again
_SLOWEST = 10  # seconds that a client may take to say what it wants
_TOLERANCE = 300.0  # seconds that a signature may be old


class Refused(Exception):
    """An answer that is no 202. `close`: what the client still sends is not read."""

    def __init__(self, status: int, line: str, *, close: bool = False) -> None:
        self.status, self.line, self.close = status, line, close
        super().__init__(line)


class Waiting:
    """A request whose events are not committed yet."""

    def __init__(self, received: Sequence[Received]) -> None:
        self.received = received
        self.gone = False  # it was told to come again
        self._ended = threading.Event()
        self._accepted = False

    def end(self, *, accepted: bool) -> None:
        self._accepted = self._accepted or accepted
        self._ended.set()

    def accepted(self, within: float) -> bool:
        self._ended.wait(within)
        self.gone = not self._accepted
        return self._accepted


class Subscriber:
    """Keeps the contract of events.bridging.Subscriber. `key`: messages must be signed by it."""

    def __init__(self, address: Address, key: bytes) -> None:
        self.address = address
        self.key = key
        self.token = address.options.get("token", "")
        self.limit = address.number("limit", _LIMIT)
        self.path = urlsplit(address.url).path or "/"
        self.waiting: queue.Queue[Waiting] = queue.Queue(_MOST_WAITING)
        self.closed = False
        self._held: list[Waiting] = []
        self._server: _Server | None = None

    def receive(self, timeout: float) -> Sequence[Received]:
        self._listen()
        self._end(accepted=False)  # they were not written: who sent them does it again
        until = time.monotonic() + timeout
        count = 0
        while count < AT_ONCE:
            try:
                left = until - time.monotonic()
                one = self.waiting.get(timeout=left) if left > 0 and not count else self.waiting.get_nowait()
            except queue.Empty:
                break
            if not one.gone:
                self._held.append(one)
                count += len(one.received)
        return [received for one in self._held for received in one.received]

    def acknowledge(self, received: Sequence[Received]) -> None:  # noqa: ARG002 - always all that is held
        self._end(accepted=True)

    def close(self) -> None:
        self.closed = True  # connections that are kept outlive the server: they end with their next answer
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        self._end(accepted=False)
        self.refuse_all()

    def refuse_all(self) -> None:
        """Who is still waiting is told to come again."""
        with suppress(queue.Empty):
            while True:
                self.waiting.get_nowait().end(accepted=False)

    def _end(self, *, accepted: bool) -> None:
        held, self._held = self._held, []
        for one in held:
            one.end(accepted=accepted)

    def _listen(self) -> None:
        if self._server is not None:
            return
        parts = urlsplit(self.address.url)
        try:
            self._server = _Server(parts.hostname or "", parts.port or 80, self)
        except OSError as error:
            raise TransportError(f"can't listen on {parts.hostname}:{parts.port or 80}: {error.strerror}") from error
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="events-http-in", daemon=True).start()
        if not (self.token or self.key):
            log.warning("bridge %s: whoever reaches the port may publish; add ?token= or ?secret=", self.address.name)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # past HTTPServer's own, which asks DNS for our name

    def handle_error(self, *_: Any) -> None:
        log.debug("a client went away", exc_info=True)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout: ClassVar[int] = _SLOWEST
    server_version, sys_version = "events", ""
    server: _Server

    def do_POST(self) -> None:
        subscriber = self.server.subscriber
        try:
            if self.path.partition("?")[0] != subscriber.path:
                raise Refused(404, f"events are taken at {subscriber.path}", close=True)
            body = self._body(subscriber.limit)
            check(self.headers, body, subscriber.token, subscriber.key)
            waiting = Waiting(messages(self.headers, body, subscriber.path, subscriber.limit))
            try:
                subscriber.waiting.put_nowait(waiting)
            except queue.Full:
                raise Refused(503, "too many are waiting; send it again") from None
            if subscriber.closed:
                subscriber.refuse_all()
            # Before a sender with the same patience has lost its own.
            if not waiting.accepted(0.8 * subscriber.address.timeout):
                raise Refused(503, "it can't be stored now; send it again")
            self._answer(202, "")
        except Refused as refused:
            self.close_connection = self.close_connection or refused.close
            self._answer(refused.status, refused.line)

    def log_message(self, *_: Any) -> None:
        """Nobody wants a line for each."""

    def _body(self, limit: int) -> bytes:
        length = self.headers.get("content-length", "")
        if "transfer-encoding" in self.headers or not length.isdigit():
            raise Refused(411, "say its length by Content-Length", close=True)
        if int(length) > limit:
            raise Refused(413, f"at most {limit:,} bytes are taken", close=True)
        return self.rfile.read(int(length))

    def _answer(self, status: int, line: str) -> None:
        self.close_connection = self.close_connection or self.server.subscriber.closed
        body = f"{line}\n".encode() if line else b""
        self.send_response(status)
        if line:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def check(headers: Message, body: bytes, token: str, key: bytes) -> None:
    """Raises Refused unless the request has the token, and the signature, that are asked for."""
    if token and not hmac.compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode()):
        raise Refused(401, "the token is missing or wrong: Authorization: Bearer ...")
    if not key:
        return
    stamp, message_id = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp[:12])) > _TOLERANCE:
        raise Refused(401, f"webhook-timestamp is missing, or over {_TOLERANCE:g} s from our clock")
    right = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
    for one in headers.get("webhook-signature", "").split():
        version, _, value = one.partition(",")
        with suppress(binascii.Error):
            if version == "v1" and hmac.compare_digest(base64.b64decode(value), right):
                return
    raise Refused(401, "webhook-signature is missing or wrong")


def messages(headers: Message, body: bytes, path: str, limit: int) -> list[Received]:
    """Those of a request. Raises Refused: not all of them can be parsed."""
    kept = {
        name.lower(): unquoted_value(value)
        for name, value in headers.items()
        if name.lower().startswith("ce-") or name.lower() in ("content-type", "traceparent", "tracestate")
    }
    position = headers.get("webhook-id", "")
    if not kept.get("content-type", "").startswith(BATCH):
        found = [Received(body, kept, path, position)]
    else:
        try:
            several = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the batch is no JSON: {error}") from None
        if not isinstance(several, list):
            raise Refused(400, "the batch is no JSON array")
        kept = {"content-type": STRUCTURED}
        found = [
            Received(json.dumps(one).encode(), kept, path, f"{position} {number}" if position else "")
            for number, one in enumerate(several)
        ]
    for number, one in enumerate(found):
        try:
            incoming(one, "http", lambda _: True, limit)
        except Unacceptable as error:  # of what can be read, and not accepted, the ledger keeps a parked message
            if error.reason == "bridge: unreadable":
                which = f"event {number + 1} of {len(found)}: " if len(found) > 1 else ""
                raise Refused(400, which + str(error).split("\n")[0][:500]) from None
    return found
