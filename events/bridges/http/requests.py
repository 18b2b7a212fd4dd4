"""Requests over connections that are kept, each within a time of its own.

urllib3's time-outs begin anew with each byte that comes, so a server that sends one now and then would be waited for
without end. Here whoever waits for a batch also looks at the clock, and ends the connections of those that are late.
"""

import http.client
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from events.errors import TransportError

_ENDED = (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)  # what the end of a connection looks like
_SILENT = urllib3.exceptions.ReadTimeoutError
_TELL = 500  # bytes of an answer that are kept


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. `text`: one line, its body's beginning or, without one, the reason."""

    status: int
    headers: Mapping[str, str]
    text: str


class _Request:
    """One that is under way."""

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.late = False
        self.kept = True  # the connection is an old one, which the server may just be closing
        self.socket: socket.socket | None = None


class Watch:
    """The requests of one batch that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: set[_Request] = set()
        self._over = False

    def begin(self, seconds: float) -> _Request:
        request = _Request(time.monotonic() + seconds)
        with self._lock:
            request.late = self._over
            self._requests.add(request)
        return request

    def end(self, request: _Request) -> None:
        with self._lock:
            self._requests.discard(request)

    def cut(self, *, everything: bool = False) -> None:
        """End those that are late, or all, and those that are still to come; from any thread."""
        with self._lock:
            self._over = self._over or everything
            for request in self._requests:
                request.late = request.late or self._over or time.monotonic() > request.ends
                if request.late and request.socket is not None:
                    with suppress(OSError):
                        socket.socket.shutdown(request.socket, socket.SHUT_RDWR)  # past TLS, which isn't thread-safe


class Client:
    """Posts to one URL. `ca`: a file of certificates to trust instead of the system's."""

    def __init__(self, url: str, shown: str, timeout: float, parallel: int, ca: str = "") -> None:
        self._url, self._shown, self._timeout = url, shown, timeout
        within = urllib3.Timeout(total=timeout)
        self._pool = urllib3.PoolManager(maxsize=parallel, retries=False, timeout=within, ca_certs=ca or None)
        self._pool.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def post(self, body: bytes, headers: Mapping[str, str], watch: Watch) -> Answer:
        """The answer, whatever it is. A kept connection that the server closes meanwhile costs nothing but a new one.

        Raises:
            TransportError: there is none, or not in time.
        """
        for last in (False, True):
            _thread.request = request = watch.begin(self._timeout)
            try:
                return self._once(request, body, headers)
            except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
                if request.late or time.monotonic() >= request.ends or isinstance(error, _SILENT):
                    why = f"can't send to {self._shown}: no whole answer within {self._timeout:g} s"
                    raise TransportError(why) from error
                if last or not (request.kept and isinstance(error, _ENDED)):
                    why = f"can't send to {self._shown}: {type(error).__name__}: {error}"
                    raise TransportError(why) from error
            finally:
                watch.end(request)
                _thread.request = None
        raise AssertionError("not reached")

    def close(self) -> None:
        self._pool.clear()

    def _once(self, request: _Request, body: bytes, headers: Mapping[str, str]) -> Answer:
        answer = self._pool.request(
            "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False, decode_content=False
        )
        said, whole = b"", False
        try:
            if request.late:  # its head may be half of one
                raise TimeoutError
            with suppress(urllib3.exceptions.HTTPError):  # the status is known, and is what counts
                said = answer.read(_TELL) or b""
                whole = not answer.read(1)  # nobody needs the rest, and it may be endless
        finally:
            if not whole:
                answer.close()
            answer.release_conn()
        return Answer(answer.status, answer.headers, printable(said.decode("utf-8", "replace") or answer.reason or ""))


def printable(text: str) -> str:
    """One line that a terminal and a database can take, of what somebody else wrote."""
    return "".join(one if one.isprintable() else " " for one in text).strip()


_thread = threading.local()  # its `request`, as urllib3 doesn't tell which connection it takes


class _FinalAnswer(http.client.HTTPResponse):
    """The answer that counts. Python takes the first of several, and the last then for that of the next request."""

    def begin(self) -> None:
        super().begin()
        while 102 <= self.status < 200:  # such as "103 Early Hints"
            self.headers = None  # type: ignore[assignment]  # else it has begun already
            super().begin()


class Connection(HTTPConnection):  # errors show its name
    response_class = _FinalAnswer

    def connect(self) -> None:
        super().connect()
        self._note(kept=False)

    def request(self, *arguments: Any, **named: Any) -> None:
        self._note(kept=True)
        super().request(*arguments, **named)

    def _note(self, *, kept: bool) -> None:
        request: _Request | None = getattr(_thread, "request", None)
        if request is not None:
            request.socket, request.kept = self.sock, request.kept and kept
            if request.late:  # since before there was a connection that could be ended
                raise TimeoutError


class TLSConnection(Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = TLSConnection
