"""The other side of an HTTP connection, byte by byte: for what no server or client of good manners would send."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from support.bridged import Link

BODY = b'{"eventType": "OrderPlaced", "order": "o"}'
BATCH = b"Content-Type: Application/CloudEvents-Batch+JSON\r\n"  # whose case means nothing
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Peer:
    """A server that does what its script says with each connection, and ends it after that."""

    def __init__(self, script: Callable[["Peer", socket.socket], None]) -> None:
        self.requests: list[bytes] = []  # bodies
        self.connections = 0
        self.ended = threading.Event()
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/hook"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._listener.close()

    def read(self, connection: socket.socket) -> bytes:
        """The body of the next request. Raises OSError if there is none."""
        body = read_request(connection)
        self.requests.append(body)
        return body

    def drip(self, connection: socket.socket) -> None:
        """A byte now and then, for as long as anybody listens."""
        while not self.ended.wait(0.1):
            connection.sendall(b"a")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client went away
            self._script(self, connection)


def answers(*several: bytes, close: bool = False) -> Callable[[Peer, socket.socket], None]:
    """A script: these bytes to each request. `close`: and the end of the connection, of which nothing was said."""

    def script(peer: Peer, connection: socket.socket) -> None:
        while True:
            peer.read(connection)
            for one in several:
                connection.sendall(one)
            if close:
                return

    return script


def read_request(connection: socket.socket) -> bytes:
    head = _until(connection, b"", lambda found: b"\r\n\r\n" in found)
    head, _, body = head.partition(b"\r\n\r\n")
    (length,) = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return _until(connection, body, lambda found: len(found) >= int(length))


def _until(connection: socket.socket, found: bytes, whole: Callable[[bytes], bool]) -> bytes:
    while not whole(found):
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("no request came")
        found += more
    return found


class Client:
    """A connection to a bridge. `address`: the client's own, if it matters."""

    def __init__(self, link: Link, address: str = "") -> None:
        host = link.url.partition("://")[2].partition("/")[0]
        place = (host.rpartition(":")[0].strip("[]"), int(host.rpartition(":")[2]))
        self.socket = socket.create_connection(place, source_address=(address, 0) if address else None)
        self.socket.settimeout(20)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, text: bytes) -> "Client":
        self.socket.sendall(text)
        return self

    def said(self) -> str:
        """All, until the other side ends."""
        found = b""
        while more := self.socket.recv(65536):
            found += more
        return found.decode()

    def drip(self) -> str:
        """What it says to one who sends a byte now and then, without end."""
        stop = threading.Event()

        def send() -> None:
            try:
                while not stop.wait(0.05):
                    self.socket.sendall(b"a")
            except OSError:
                pass  # it is enough

        thread = threading.Thread(target=send)
        thread.start()
        try:
            return self.said()
        except ConnectionResetError:
            return ""
        finally:
            stop.set()
            thread.join()


def request(body: bytes = BODY, more: bytes = b"", *, last: bool = True) -> bytes:
    """A post of an event to `/events`. `more`: headers. `last`: on its connection."""
    end = b"Connection: close\r\n" if last else b""
    head = b"POST /events HTTP/1.1\r\nHost: h\r\n" + more + end
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def attributes(event_id: bytes) -> bytes:
    """The headers of a CloudEvent in binary mode."""
    return b"ce-specversion: 1.0\r\nce-source: /t\r\nce-type: OrderPlaced\r\nce-id: " + event_id + b"\r\n"


def batch(count: int) -> bytes:
    """The body of so many events."""
    one = {"specversion": "1.0", "type": "OrderPlaced", "source": "/t", "data": {"order": "o"}}
    return json.dumps([one | {"id": str(uuid4())} for _ in range(count)]).encode()
