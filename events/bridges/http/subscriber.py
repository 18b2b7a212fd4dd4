"""HTTP inbound: `events bridge 'http://0.0.0.0:8080/events?token=...'` takes CloudEvents by POST, in all their modes.

It answers when the events are committed here: 202; those that are parked, too. 400: it can't be parsed, in one line;
401: the token or the signature is wrong; 408: it came too slowly; 413: over `?limit=` bytes, 1 MiB by default;
503: not now, send it again. TLS is the business of a proxy in front. Only one process can have a port.
"""

import errno
import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from email.message import Message
from urllib.parse import urlsplit

from events.bridges.address import Address
from events.bridges.contract import AT_ONCE, Received
from events.bridges.http.listener import Listener
from events.bridges.http.reading import Refused, check, messages
from events.errors import TransportError

log = logging.getLogger("events.bridges")

HTTP_PORT = 80  # unless the URL says another
_LIMIT = 1024 * 1024  # bytes of a request
_PER_PEER = 128  # connections of one client, or of the proxy through which all come
_MOST_WAITING = 200  # requests; more are told to come again
_GOODBYE = 3.0  # seconds that requests have for their answers when we end


def path_of(address: Address) -> str:
    """What requests ask for on the server, ours or theirs, without parameters, which may be secrets."""
    return urlsplit(address.url).path or "/"


class Waiting:
    """A request whose events are not committed yet."""

    def __init__(self, received: Sequence[Received]) -> None:
        self.received: Sequence[Received] = received
        self.gone = False  # it was told to come again
        self._ended = threading.Event()
        self._accepted = False

    def end(self, *, accepted: bool) -> None:
        self._accepted = self._accepted or accepted
        self._ended.set()

    def accepted(self, within: float) -> bool:
        self._ended.wait(within)
        if not self._accepted:
            self.gone, self.received = True, ()
        return self._accepted


class Subscriber:
    """Keeps the contract of events.bridges.Subscriber. `key`: messages must be signed by it."""

    def __init__(self, address: Address, key: bytes) -> None:
        self.address = address
        self.key = key
        self.token = address.options.get("token", "")
        self.limit = address.number("limit", _LIMIT)
        self.per_peer = address.number("per_peer", _PER_PEER)
        self.path = path_of(address)
        self.waiting: queue.Queue[Waiting] = queue.Queue(_MOST_WAITING)
        self.closed = False
        self._held: list[Waiting] = []
        self._server: Listener | None = None

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
        self.closed = True
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._end(accepted=False)
        self.refuse_all()
        if server is not None:
            server.wait(_GOODBYE)

    def take(self, headers: Message, body: bytes) -> None:
        """A request, in its own thread; returns when its events are committed. Raises Refused."""
        check(headers, body, self.token, self.key)
        waiting = Waiting(messages(headers, body, self.path, self.limit, signed=bool(self.key)))
        if not waiting.received:  # an empty batch
            return
        try:
            self.waiting.put_nowait(waiting)
        except queue.Full:
            raise Refused(503, "too many are waiting; send it again") from None
        if self.closed:
            self.refuse_all()
        if not waiting.accepted(0.8 * self.address.timeout):  # before a sender with the same patience has lost its own
            raise Refused(503, "it can't be stored now; send it again")

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
        host, port = parts.hostname or "", parts.port or HTTP_PORT
        try:
            self._server = Listener(host, port, self.path, self.limit, self.take, self.per_peer)
        except OSError as error:
            cure = "; a port belongs to one process" if error.errno == errno.EADDRINUSE else ""
            raise TransportError(f"can't listen on {host}, port {port}: {error.strerror}{cure}") from error
        self._server.start()
        if not (self.token or self.key):
            log.warning("bridge %s: whoever reaches the port may publish; add ?token= or ?secret=", self.address.name)
