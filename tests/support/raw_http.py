"""The other side of an HTTP connection, byte by byte: for what no server or client of good manners would send."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

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
