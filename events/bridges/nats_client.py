"""NATS's client is asyncio: all its connections in a process live on one event loop, in a thread of its own.

`nats_core` and `nats_jetstream` say what is sent and received; here is how anything is.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import queue
import re
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from events.bridge_url import Address, wrong
from events.bridging import AT_ONCE, Message, Received, unquoted_value
from events.errors import TransportError, Unsendable
from events.settings import redact
from events.throttle import Throttle

log = logging.getLogger("events.bridges")

Answer = TypeVar("Answer")

_FAILURES = (nats.errors.Error, OSError, asyncio.TimeoutError, concurrent.futures.CancelledError)
_KEPT = 100_000  # messages that wait in memory; JetStream sends no more than it was asked for
_GOODBYE = 0.5  # seconds for a connection that has failed
_HEADERS_END = 64  # bytes, at most, that stand around the headers of a message

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _event_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="events-nats", daemon=True).start()
        return _loop


def _forget() -> None:
    """In a new child: the parent may have held the lock just then, in a thread that the child doesn't have."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)


def check(address: Address) -> None:
    """Raises ConfigurationError for what a NATS URL can't say."""
    if "?" in address.url:
        parameters = address.url.partition("?")[2]
        raise wrong(address.url, parameters, "there is no such parameter of a NATS bridge")


class _Careful(Client):
    """Where TLS is wanted it is TLS or nothing: nats-py tells the password in plain to a server that asks for none."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        wanted = initial_connection and self._current_server and self._current_server.uri.scheme == "tls"
        if wanted and not info.get("tls_required"):
            raise nats.errors.Error("the server doesn't ask for TLS (tls_required), so that all would be sent in plain")
        await super()._process_info(info, initial_connection)


class Line:
    """A connection that is made when it is needed, and made anew after any failure.

    Args:
        greet: what is done on each new connection, before anything else.
    """

    def __init__(self, address: Address, greet: Callable[[Client], Awaitable[None]] | None = None) -> None:
        self._address = address
        self._greet = greet
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    def run(self, what: str, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """What `work` returns, which runs on the loop. Raises TransportError, Unsendable; from any thread."""
        future = asyncio.run_coroutine_threadsafe(self._run(work), _event_loop())
        try:
            return future.result(3 * self._address.timeout)
        except (nats.errors.MaxPayloadError, nats.errors.BadSubjectError) as error:
            raise Unsendable(f"can't {what} {self._where}: {error}") from error
        except _FAILURES as error:
            future.cancel()
            self._drop()
            raise TransportError(f"can't {what} {self._where}: {type(error).__name__}: {error}") from error
        except BaseException:  # a time limit interrupts the wait, not the coroutine
            future.cancel()
            raise

    def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._drop().result(self._address.timeout)

    @property
    def _where(self) -> str:
        return redact(self._address.url)

    async def _run(self, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
        async with self._connecting:
            if self._client is None or self._client.is_closed:
                self._client = await self._connect()
            client = self._client
        return await work(client)

    async def _connect(self) -> Client:
        timeout = max(1, round(self._address.timeout))
        client, url = _Careful(), self._address.url
        try:
            await asyncio.wait_for(
                client.connect(
                    re.sub(r"^nats(\+tls)?(\+jetstream)?:", lambda found: "tls:" if found[1] else "nats:", url),
                    connect_timeout=timeout,
                    allow_reconnect=False,  # what it would keep and send later, the ledger sends again anyhow
                    ping_interval=timeout,
                    error_cb=_quiet,
                    tls=ssl.create_default_context(cafile=self._address.ca) if self._address.ca else None,
                    name=f"events bridge {self._address.name}",
                ),
                self._address.timeout,
            )
            if self._greet is not None:
                await self._greet(client)
        except BaseException:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.close(), _GOODBYE)  # which after half a handshake finds no end
            raise
        return client

    def _drop(self) -> "concurrent.futures.Future[None]":
        client, self._client = self._client, None

        async def close() -> None:
            with contextlib.suppress(Exception):
                if client is not None:
                    await client.close()

        return asyncio.run_coroutine_threadsafe(close(), _event_loop())


class Arrivals:
    """Messages of a subscription, from the loop's thread to the one that receives."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._queue: queue.Queue[Msg] = queue.Queue(_KEPT)
        self._throttle = Throttle(log)

    async def put(self, message: Msg) -> None:
        """The callback of a subscription."""
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self._throttle.warn(f"subscriber of {self._prefix}.> is too slow: {_KEPT:,} messages wait, others are lost")

    def take(self, timeout: float) -> list[Msg]:
        """Waits for the first, and takes what else is there."""
        found: list[Msg] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._queue.get(timeout=timeout))
            while len(found) < AT_ONCE:
                found.append(self._queue.get_nowait())
        return found

    def received(self, message: Msg, position: str = "", token: Any = None) -> Received:
        headers = {name.lower(): unquoted_value(value) for name, value in (message.headers or {}).items()}
        kind = unquoted_value(message.subject.removeprefix(f"{self._prefix}."))
        return Received(message.data, headers, message.subject, position, kind, token)


def subject(prefix: str, event_type: str) -> str:
    """Of an event. What NATS has no room for in a subject is percent-encoded."""
    encoded = quote(event_type, safe=".-_!$&'()+,:;=@[]^`{|}~")
    if "" in encoded.split("."):  # a part of a subject can't be empty
        encoded = encoded.replace(".", "%2E")
    return f"{prefix}.{encoded}"


def headers_of(client: Client, messages: Sequence[Message]) -> list[dict[str, str]]:
    """Their headers. Raises Unsendable if one of the messages is larger than the server takes."""
    found = []
    for message in messages:
        headers = message.headers(quoted=True)
        size = len(message.body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + _HEADERS_END
        if size > client.max_payload:
            raise Unsendable(
                f"event {message.event_type} {message.event_id} has {size:,} bytes, and the NATS server takes "
                f"{client.max_payload:,} (max_payload)"
            )
        found.append(headers)
    return found


async def _quiet(error: Exception) -> None:
    log.debug("nats: %s: %s, at %.3f", type(error).__name__, error, time.time())
