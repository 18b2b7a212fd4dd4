"""Connects to NATS. Its client is asyncio: all connections of a process use one event loop, in a thread of its own.

`core` and `jetstream` send and receive; this module has the parts that both need.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import nats
from nats.aio.client import Client

from events.bridges.address import Address, wrong
from events.bridges.contract import Message
from events.errors import TransportError, Unsendable
from events.text import redact

log = logging.getLogger("events.bridges")

Answer = TypeVar("Answer")

ATTRIBUTES = "ce-"  # the beginning of headers that hold CloudEvents attributes
_FAILURES = (nats.errors.Error, OSError, asyncio.TimeoutError, concurrent.futures.CancelledError)
_GOODBYE = 0.5  # seconds for closing a connection that has failed
_HEADERS_END = 64  # bytes, at most, that the protocol needs around the headers of a message

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
    """Begin anew in a forked child: a thread of the parent may have held the lock, and the child has no such thread."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)


def check(address: Address) -> None:
    """Raises ConfigurationError if the URL has a parameter that bridges to NATS don't have."""
    if "?" in address.url:
        parameters = address.url.partition("?")[2]
        raise wrong(address.url, parameters, "there is no such parameter of a NATS bridge")


class _Sturdy(Client):
    """Goes on after errors by which nats-py's reader would end: the connection would hear nothing, and not say so.

    If the URL wants TLS, it refuses a server that doesn't ask for TLS: nats-py would send the password unencrypted.
    """

    def __init__(self, *, tls: bool) -> None:
        super().__init__()
        self._needs_tls = tls

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._needs_tls and not info.get("tls_required"):
            raise nats.errors.Error("the server doesn't ask for TLS (tls_required), so that all would be sent in plain")
        await super()._process_info(info, initial_connection)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except Exception as error:
            log.warning("a message of NATS has unreadable headers, and is read without: %r", error)
            return None

    async def flush(self, timeout: int = 10) -> None:
        """Raises ConnectionError if nats-py's reader or writer has ended: else `flush` returns without an answer."""
        if any(task is None or task.done() for task in (self._reading_task, self._flusher_task)):
            raise ConnectionError("the connection has ended")
        await super().flush(timeout)

    async def _process_pong(self) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):  # the caller that waited for the answer has given up
            await super()._process_pong()


class Line:
    """A connection that is made when it is first needed, and made anew after any failure.

    Args:
        greet: called with each new connection, before it is used.
    """

    def __init__(self, address: Address, greet: Callable[[Client], Awaitable[None]] | None = None) -> None:
        self._address = address
        self._greet = greet
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._listeners: dict[int, list[str]] = {}

    @property
    def where(self) -> str:
        """The URL of the server, without secrets."""
        return redact(self._address.url)

    def run(self, action: str, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """Run `work` on the event loop, and wait for its result. May be called from any thread.

        Args:
            action: for the error, such as "send to".
            work: is given the connected client.
        Raises:
            TransportError: the server is away, or didn't answer in time.
            Unsendable: the message is too large, or its subject is not allowed.
        """
        with self.listening() as said:
            future = asyncio.run_coroutine_threadsafe(self._run(work), _event_loop())
            try:
                return future.result(3 * self._address.timeout)
            except (nats.errors.MaxPayloadError, nats.errors.BadSubjectError) as error:
                raise Unsendable(f"can't {action} {self.where}: {error}") from error
            except _FAILURES as error:
                future.cancel()
                self.drop()
                text = str(error) or f"no answer within {self._address.timeout:g} s"
                why = "; ".join(dict.fromkeys([f"{type(error).__name__}: {text}", *said]))
                raise TransportError(f"can't {action} {self.where}: {why}") from error
            except BaseException:  # a time limit interrupts the wait, not the coroutine
                future.cancel()
                raise

    @contextlib.contextmanager
    def listening(self) -> Iterator[list[str]]:
        """The complaints of the server meanwhile. It says only in this way that an action is not permitted."""
        said: list[str] = []
        self._listeners[id(said)] = said
        try:
            yield said
        finally:
            del self._listeners[id(said)]

    def drop(self) -> "concurrent.futures.Future[None]":
        """Close the connection; the next `run` makes a new one."""
        client, self._client = self._client, None

        async def close() -> None:
            if client is not None:
                await _close(client, self._address.timeout)

        return asyncio.run_coroutine_threadsafe(close(), _event_loop())

    def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                self.drop().result(self._address.timeout)

    async def _run(self, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
        async with self._connecting:
            if self._client is None or self._client.is_closed:
                self._client = await self._connect()
            client = self._client
        return await work(client)

    async def _connect(self) -> Client:
        timeout = max(1, round(self._address.timeout))
        url = re.sub(r"^nats(\+tls)?(\+jetstream)?:", lambda match: "tls:" if match[1] else "nats:", self._address.url)
        client = _Sturdy(tls=url.startswith("tls:"))
        try:
            await asyncio.wait_for(
                client.connect(
                    url,
                    connect_timeout=timeout,
                    allow_reconnect=False,  # else it sends kept messages later, and the ledger sends them, too
                    max_reconnect_attempts=1,  # else it waits until the timeout for a server that refuses
                    reconnect_time_wait=0,
                    ping_interval=timeout,
                    error_cb=self._heard,
                    tls=ssl.create_default_context(cafile=self._address.ca) if self._address.ca else None,
                    name=f"events bridge {self._address.name}",
                ),
                self._address.timeout,
            )
            if self._greet is not None:
                await self._greet(client)
        except BaseException:
            await _close(client, _GOODBYE)  # half a connection, too, would never end
            raise
        return client

    async def _heard(self, error: Exception) -> None:
        log.debug("nats: %s: %s, at %.3f", type(error).__name__, error, time.time())
        for said in list(self._listeners.values()):
            said.append(f"{type(error).__name__}: {error}")


async def settle(client: Client, timeout: float) -> None:
    """Wait until the server has read all messages sent.

    The PING of nats-py's `flush` overtakes messages that wait to be sent. A second PING, after the answer to the first,
    does not.
    """
    for _ in range(2):
        await client.flush(max(1, round(timeout)))


async def _close(client: Client, timeout: float) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.close(), timeout)  # sending the rest may take for ever


def subject(prefix: str, event_type: str) -> str:
    """The subject of an event type. Characters that NATS doesn't allow in subjects are percent-encoded."""
    encoded = quote(event_type, safe=".-_!$&'()+,:;=@[]^`{|}~")
    if "" in encoded.split("."):  # a part of a subject can't be empty
        encoded = encoded.replace(".", "%2E")
    return f"{prefix}.{encoded}"


def headers_of(client: Client, messages: Sequence[Message]) -> list[dict[str, str]]:
    """The headers of messages. Raises Unsendable if a message is larger than the server allows."""
    all_headers = []
    for message in messages:
        headers = message.headers(ATTRIBUTES, quoted=True)
        size = len(message.body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + _HEADERS_END
        if size > client.max_payload:
            raise Unsendable(
                f"event {message.event_type} {message.event_id} has {size:,} bytes, and the NATS server takes "
                f"{client.max_payload:,} (max_payload)"
            )
        all_headers.append(headers)
    return all_headers
