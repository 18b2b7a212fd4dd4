"""Listens on a port. No client can hold a thread for long, and only some connections can hold a thread at a time."""

import io
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from events.bridges.http.peers import Slots, peer_of
from events.bridges.http.reading import Refused, length_of
from events.throttle import Throttle

log = logging.getLogger("events.bridges")

_MOST = 256  # connections, each with a thread; clients of others are told to send again
_SLOWEST = (
    10.0  # seconds in which a request must arrive, from first line to last byte; so long a connection may be idle
)
_PAUSE = 0.1  # seconds, when no connection can be accepted: trying again at once would take a whole CPU
_FULL = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    "Content-Length: {}\r\n\r\n{}"
)


class Listener(ThreadingHTTPServer):
    """Takes POST requests at one path.

    Args:
        take: called with headers and body, in the connection's thread. When it returns, the answer is 202. It may raise
            Refused.
        limit: the largest body, in bytes.
        per_peer: connections that one client may have open at a time.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_port = False  # two processes on one port would share the requests at random

    def __init__(
        self, host: str, port: int, path: str, limit: int, take: Callable[[Message, bytes], None], per_peer: int
    ) -> None:
        self.path, self.limit, self.take = path, limit, take
        self.closing = False
        self._slots = Slots(_MOST, per_peer)
        self._throttle = Throttle(log)
        self._in_hand, self._changed = 0, threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Request)

    def start(self) -> None:
        """Accept connections, in a thread."""
        threading.Thread(target=self.serve_forever, args=(0.1,), name="events-http-in", daemon=True).start()

    def close(self) -> None:
        """Accept no more connections. Kept connections end with their next answer."""
        self.closing = True
        self.shutdown()
        self.server_close()

    def wait(self, seconds: float) -> None:
        """Wait until every request has its answer, or these seconds are over."""
        with self._changed:
            self._changed.wait_for(lambda: self._in_hand == 0, seconds)

    def count(self, difference: int) -> None:
        """Count the requests that have no answer yet: +1 when a request begins, -1 when it has its answer."""
        with self._changed:
            self._in_hand += difference
            self._changed.notify_all()

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own method would ask DNS for our name

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            self._throttle.warn(f"can't accept a connection: {error.strerror or error}")
            time.sleep(_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        peer = peer_of(client_address[0])
        if why := self._slots.take(peer):
            self._throttle.warn(why)
            line = "too many connections; send it again\n"
            with suppress(OSError):
                request.sendall(_FULL.format(len(line), line).encode())
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._slots.give_back(peer)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.give_back(peer_of(client_address[0]))

    def handle_error(self, *_: Any) -> None:
        log.debug("a client went away", exc_info=True)


class _Clock(io.RawIOBase):
    """Reads from a socket until a time is over, however many bytes still come."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.restart()

    def restart(self) -> None:
        self._ends = time.monotonic() + _SLOWEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Request(BaseHTTPRequestHandler):
    """Handles the requests of a connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._clock = _Clock(self.connection)
        self.rfile = io.BufferedReader(self._clock)

    def handle_one_request(self) -> None:
        self._begun = False
        self._clock.restart()
        try:
            super().handle_one_request()
        finally:
            if self._begun:
                self.server.count(-1)

    def parse_request(self) -> bool:
        """Read the headers; the first line is read already."""
        self._begun = True
        self.server.count(+1)
        self._clock.restart()
        try:
            return super().parse_request()
        except TimeoutError:
            self._answer(408, f"its headers took over {_SLOWEST:g} s", close=True)
            return False

    def do_POST(self) -> None:
        try:
            path = self.path.partition("?")[0]
            if path != self.server.path:
                raise Refused(404, f"events are taken at {self.server.path}", close=True)
            self.server.take(self.headers, self._body())
        except Refused as refused:
            self._answer(refused.status, refused.line, close=refused.close)
        except OSError:  # the client went away
            raise
        except Exception:
            log.exception("a request to %s failed; its sender was told so", self.server.path)
            self._answer(500, "it failed here; send it again", close=True)
        else:
            self._answer(202)

    def version_string(self) -> str:
        return "events"

    def log_message(self, *_: Any) -> None:
        """Log nothing: a line for each request would be too many."""

    def _body(self) -> bytes:
        length = length_of(self.headers, self.server.limit)
        try:
            body = self.rfile.read(length)
        except TimeoutError:
            raise Refused(408, f"its body took over {_SLOWEST:g} s", close=True) from None
        if len(body) < length:
            raise Refused(400, f"its body ends after {len(body):,} of {length:,} bytes", close=True)
        return body

    def _answer(self, status: int, line: str = "", *, close: bool = False) -> None:
        self.connection.settimeout(_SLOWEST)
        self.close_connection = self.close_connection or close or self.server.closing
        body = f"{line}\n".encode() if line else b""
        self.send_response(status)
        if line:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
