"""What of Python's own library we lean on beyond its documentation."""

import abc
import gc
import http.client
import io
import platform
import socketserver
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler
from unittest.mock import Mock

import pytest

from support.seam_checks import Library

PYTHON = Library("Python", platform.python_version())


@pytest.mark.filterwarnings("ignore")
def test_a_dropped_coroutine_is_reported_by_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    leans = "a handler that forgets `await`, which fails"
    PYTHON.has(warnings, "_warn_unawaited_coroutine", leans)
    told: list[str] = []
    monkeypatch.setattr(warnings, "_warn_unawaited_coroutine", lambda coroutine: told.append(coroutine.__qualname__))

    async def forgotten() -> None: ...

    # When a coroutine is dropped, then that function hears of it
    forgotten()
    gc.collect()
    PYTHON.keeps(
        [name.rpartition(".")[2] for name in told] == ["forgotten"], "a dropped coroutine is told there", leans
    )


def test_a_context_manager_has_its_generator() -> None:
    leans = "a handler that returns a context manager, and has done nothing"

    @contextmanager
    def plain() -> Iterator[None]:
        yield

    @asynccontextmanager
    async def asynchronous() -> AsyncIterator[None]:
        yield

    for made in (plain(), asynchronous()):
        assert type(PYTHON.has(made, "gen", leans)).__name__ in ("generator", "async_generator")
    PYTHON.keeps(type(plain()) is not type(asynchronous()), "each kind is of one class", leans)


def test_what_abc_sets_is_named_so() -> None:
    class Plain:
        pass

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def done(self) -> None: ...

    more = {name for name in vars(Abstract) if name not in vars(Plain) and name != "done" and not name.startswith("__")}
    PYTHON.keeps(more and all(name.startswith("_abc_") for name in more), f"abc sets {more}", "classes of events")


def test_an_answer_begins_anew() -> None:
    leans = "answers over HTTP, of which the last counts"
    PYTHON.has(http.client.HTTPConnection, "response_class", leans)
    # Given an answer that tells of what is to come, and then the answer
    sock = Mock(makefile=lambda *_: io.BytesIO(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 Done\r\n\r\n"))
    response = http.client.HTTPResponse(sock)
    # When it begins, then that is the first; and then the second, if it is told that it has not begun
    response.begin()
    assert response.status == 103
    PYTHON.keeps(response.headers is not None, "an answer that has begun has headers", leans)
    response.headers = None  # type: ignore[assignment]
    response.begin()
    PYTHON.keeps(response.status == 204, "an answer can begin anew", leans)


def test_a_server_calls_these_methods() -> None:
    leans = "the HTTP server of a bridge, which bounds what its clients can take of it"
    PYTHON.takes(BaseHTTPRequestHandler, "parse_request", [], leans)
    PYTHON.says(BaseHTTPRequestHandler.handle_one_request, "if not self.parse_request():", leans=leans)
    PYTHON.says(socketserver.StreamRequestHandler.setup, "if self.disable_nagle_algorithm:", leans=leans)
    PYTHON.takes(socketserver.ThreadingMixIn, "process_request_thread", ["request", "client_address"], leans)
    PYTHON.says(socketserver.ThreadingMixIn.process_request, "target = self.process_request_thread", leans=leans)
    PYTHON.takes(socketserver.BaseServer, "shutdown_request", ["request"], leans)
