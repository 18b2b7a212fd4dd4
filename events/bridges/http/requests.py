"""Sends requests over kept connections, each within a time limit of its own.

The time-outs of urllib3 begin anew with each byte that comes: for a server that sends a byte now and then it would wait
without end. Here the thread that waits for a batch also looks at the clock, and ends the connections of late requests.
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

_ENDED = (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)  # the errors of a connection that has ended
_SILENT = urllib3.exceptions.ReadTimeoutError
_TELL = 500  # bytes of an answer that are kept for the error


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server. `text`: the beginning of the body as one line or, without a body, the reason phrase."""

    status: int
    headers: Mapping[str, str]
    text: str


class _Request:
    """A request that is under way."""

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.late = False
        self.kept = True  # whether the connection is an old one, which the server may just be closing
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
        """End late requests. May be called from any thread.

        Args:
            everything: whether all requests are ended, and those that still begin, too.
        """
        with self._lock:
            self._over = self._over or everything
            for request in self._requests:
                request.late = request.late or self._over or time.monotonic() > request.ends
                if request.late and request.socket is not None:
                    with suppress(OSError):
                        socket.socket.shutdown(request.socket, socket.SHUT_RDWR)  # not by TLS, which isn't thread-safe


class Client:
    """Posts to one URL.

    Args:
        shown: the URL for errors, without secrets.
        timeout: seconds for a request with its answer.
        parallel: connections that are kept.
        ca: a file of certificates to trust instead of the system's; "" for the system's.
    """

    def __init__(self, url: str, shown: str, timeout: float, parallel: int, ca: str = "") -> None:
        self._url, self._shown, self._timeout = url, shown, timeout
        within = urllib3.Timeout(total=timeout)
        self._pool = urllib3.PoolManager(maxsize=parallel, retries=False, timeout=within, ca_certs=ca or None)
        self._pool.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def post(self, body: bytes, headers: Mapping[str, str], watch: Watch) -> Answer:
        """Post the body. If the server has closed a kept connection, the body is posted again on a new connection.

        Returns:
            The answer, whatever its status.
        Raises:
            TransportError: there is no answer, or not in time.
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
            if request.late:  # the connection was ended, perhaps within the headers
                raise TimeoutError
            with suppress(urllib3.exceptions.HTTPError):  # the status is known, and only the status counts
                said = answer.read(_TELL) or b""
                whole = not answer.read(1)  # the rest is of no use, and may be endless
        finally:
            if not whole:
                answer.close()
            answer.release_conn()
        return Answer(answer.status, answer.headers, printable(said.decode("utf-8", "replace") or answer.reason or ""))


def printable(text: str) -> str:
    """The text of another program as one line that terminals and databases can take."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


_thread = threading.local()  # its `request` is the one of this thread: urllib3 doesn't tell which connection it takes


class _FinalAnswer(http.client.HTTPResponse):
    """The final answer to a request. Python takes an interim answer (1xx) for it, and the final one for the next."""

    def begin(self) -> None:
        super().begin()
        while 102 <= self.status < 200:  # such as "103 Early Hints"
            self.headers = None  # type: ignore[assignment]  # else `begin` returns at once
            super().begin()


class Connection(HTTPConnection):  # errors show the name of the class
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
            if request.late:  # it was ended before it had a connection
                raise TimeoutError


class TLSConnection(Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = TLSConnection
