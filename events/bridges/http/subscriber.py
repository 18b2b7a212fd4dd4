"""HTTP inbound: `events bridge 'http://0.0.0.0:8080/events?token=...'` takes CloudEvents by POST, in all their modes.

The answer is 202 when all events of a request are committed here, as events or as parked messages. 400: the request
can't be parsed; a line says why. 401: the token or the signature is wrong. 408: the request came too slowly. 413: it
has over `?limit=` bytes, 1 MiB by default. 503: it can't be taken now; send it again. TLS is for a proxy in front. Only
one process can have a port.
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
_LIMIT = 1024 * 1024  # bytes of a request's body
_PER_PEER = 128  # connections of one client, or of the proxy through which all clients come
_MOST_WAITING = 200  # requests; the senders of others are told to send again
_GOODBYE = 3.0  # seconds in which open requests get their answers when the bridge ends


def path_of(address: Address) -> str:
    """The path of requests, on our server or another, without parameters, which may be secrets."""
    return urlsplit(address.url).path or "/"


class Waiting:
    """A request whose events are not committed yet."""

    def __init__(self, received: Sequence[Received]) -> None:
        self.received: Sequence[Received] = received
        self.gone = False  # its sender was told to send again
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
    """Keeps the contract of events.bridges.Subscriber.

    Args:
        key: the key that must have signed all requests; empty for none.
    """

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
        self._end(accepted=False)  # the requests in hand were not written: their senders send again
        until = time.monotonic() + timeout
        count = 0
        while count < AT_ONCE:
            try:
                left = until - time.monotonic()
                request = self.waiting.get(timeout=left) if left > 0 and not count else self.waiting.get_nowait()
            except queue.Empty:
                break
            if not request.gone:
                self._held.append(request)
                count += len(request.received)
        return [received for request in self._held for received in request.received]

    def acknowledge(self, received: Sequence[Received]) -> None:  # noqa: ARG002 - these are always all that is held
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
        """Take a request, in its own thread. Returns when its events are committed. Raises Refused."""
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
        if not waiting.accepted(0.8 * self.address.timeout):  # before a sender with the same timeout gives up
            raise Refused(503, "it can't be stored now; send it again")

    def refuse_all(self) -> None:
        """Tell the senders of all waiting requests to send again."""
        with suppress(queue.Empty):
            while True:
                self.waiting.get_nowait().end(accepted=False)

    def _end(self, *, accepted: bool) -> None:
        held, self._held = self._held, []
        for request in held:
            request.end(accepted=accepted)

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
