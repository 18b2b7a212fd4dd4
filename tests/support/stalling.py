"""A way to a server on which traffic comes to a halt in the middle of something: a line that is dead and still open."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit, urlunsplit


class Stalling:
    """Listens on a free port, for one connection to the server of `url`; `self.url` is the same URL through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._left: int | None = None  # bytes that still come from the server
        self.stalled = threading.Event()
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"))
        threading.Thread(target=self._serve, daemon=True).start()

    def after(self, size: int) -> None:
        """From now on no more than so many bytes come from the server. The connection stays open."""
        self._left = size

    def close(self) -> None:
        for end in [self._listener, *self._ends]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            self._ends += [client, server]
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
            while data := server.recv(65536):
                if self._left is not None:
                    data, self._left = data[: self._left], max(0, self._left - len(data))
                    if not self._left:
                        self.stalled.set()
                client.sendall(data)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
