"""A proxy in front of PostgreSQL that cuts connections exactly when they commit: the moment that leaves doubt."""

import random
import select
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit


class CommitCutter:
    """Of the commits that pass, `share` are cut: half before the server sees them, half after it has answered.

    A commit is whatever contains one of `marks`: a statement can be a transaction of its own.

    `url` is the database's through it; `cuts` counts both kinds.
    """

    def __init__(self, url: str, share: float, seed: int, marks: tuple[bytes, ...]) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._share = share
        self.marks = marks
        self._dice = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.cuts = {"before": 0, "after": 0}
        credentials = parts.netloc.rpartition("@")[0]
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}"))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._share = 0
        self._listener.close()
        for one in self._sockets:
            _end(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                threading.Thread(target=self._talk, args=(client, server), daemon=True).start()

    def _talk(self, client: socket.socket, server: socket.socket) -> None:
        """PostgreSQL and its client take turns, so one thread is enough: what there is to read is passed on."""
        with suppress(OSError, ValueError):  # a socket that `close` has closed is no file descriptor any more
            while True:
                ready, _, _ = select.select([client, server], [], [])
                if server in ready:
                    if not (data := server.recv(65536)):
                        break
                    client.sendall(data)
                if client in ready:
                    if not (data := client.recv(65536)):
                        break
                    if any(mark in data for mark in self.marks) and self._dice.random() < self._share:
                        if self._dice.random() < 0.5:
                            self.cuts["before"] += 1
                        else:
                            server.sendall(data)
                            server.recv(65536)  # committed, and nobody is told
                            self.cuts["after"] += 1
                        break
                    server.sendall(data)
        _end(client)
        _end(server)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
