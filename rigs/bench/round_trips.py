"""A TCP proxy before PostgreSQL that counts how often a client waited for its answer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_READY = ord("Z")  # ReadyForQuery: what the client has sent is answered, and it may go on


class Counter:
    """Round trips so far, of all connections."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._target = port
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in [self._listener, *self._ends]:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._ends += [client, server]
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink, see in [(client, server, lambda _: None), (server, client, self._reader())]:
                threading.Thread(target=_carry, args=(source, sink, see), daemon=True).start()

    def _reader(self) -> Callable[[bytes], None]:
        """Follows the messages of one connection: a type of one byte, then the length, its own four bytes included."""
        waiting = b""

        def read(data: bytes) -> None:
            nonlocal waiting
            waiting += data
            at = 0
            while len(waiting) >= at + 5:
                length = 1 + int.from_bytes(waiting[at + 1 : at + 5], "big")
                if len(waiting) < at + length:
                    break
                if waiting[at] == _READY:
                    with self._lock:
                        self.count += 1
                at += length
            waiting = waiting[at:]

        return read


def _carry(source: socket.socket, sink: socket.socket, see: Callable[[bytes], None]) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
            see(data)
    except OSError:
        pass  # one of them is gone, and then both are
    for end in (source, sink):
        end.close()


@contextmanager
def counted(port: int) -> Iterator[Counter]:
    """While the block runs, whoever connects to `Counter.port` of loopback comes to `port`, and is counted."""
    counter = Counter(port)
    try:
        yield counter
    finally:
        counter.close()
