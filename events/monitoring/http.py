"""A small HTTP server, in a thread of the process whose state it serves. Every client of the port may read."""

import errno
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, ClassVar

from events.errors import ConfigurationError

log = logging.getLogger("events.monitoring")

_SLOWEST = 10  # seconds that a client may take to send its request


class Page:
    """The answer to a request."""

    def __init__(self, body: bytes, content_type: str, status: int = 200) -> None:
        self.body, self.content_type, self.status = body, content_type, status


Pages = Mapping[str, Callable[[str], Page]]  # by path; a page is made from the request's header Accept


class Server(ThreadingHTTPServer):
    """Listens as soon as it is made, on IPv4 and IPv6 if the machine has both.

    Raises:
        ConfigurationError: another process has the port, or the system refuses it.
    """

    daemon_threads = True

    def __init__(self, port: int, pages: Pages) -> None:
        self.pages = pages
        try:
            self._listen(port)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is taken by another process" if taken else f"can't be opened: {error.strerror}"
            raise ConfigurationError(
                f"EVENTS_HTTP_PORT={port}: the port {why}; give each worker and relay of this machine a port of its "
                f"own, or 0 for none"
            ) from None

    def _listen(self, port: int) -> None:
        if socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
            try:
                super().__init__(("::", port), _Request)
                return
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # these say that IPv6 is switched off
                    raise
        self.address_family = socket.AF_INET
        super().__init__(("0.0.0.0", port), _Request)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)  # not that of HTTPServer, which asks DNS for the name of this machine

    def start(self) -> None:
        """Answer requests, in a thread."""
        threading.Thread(target=self.serve_forever, name="events-http", daemon=True).start()

    def leave_to_parent(self) -> None:
        """Close the socket in a forked child, or the port would be taken for as long as the child lives."""
        self.socket.close()

    def handle_error(self, *_: Any) -> None:
        log.debug("a client went away", exc_info=True)


class _Request(BaseHTTPRequestHandler):
    timeout: ClassVar[int] = _SLOWEST
    server_version, sys_version = "events", ""
    server: Server

    def do_GET(self) -> None:
        make = self.server.pages.get(self.path.partition("?")[0])
        page = Page(b"not found\n", "text/plain", 404) if make is None else self._made(make)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def _made(self, make: Callable[[str], Page]) -> Page:
        try:
            return make(self.headers.get("Accept", ""))
        except Exception:
            log.exception("can't answer %s", self.path)
            return Page(b"failed; the log says why\n", "text/plain", 500)

    def log_message(self, *_: Any) -> None:
        """Log no line for each request."""
