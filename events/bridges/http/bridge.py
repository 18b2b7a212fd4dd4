"""HTTP: webhooks. Needs the extra `[http]`. At least once, both ways; there is no server between the two sides.

Outbound each event is a POST to the URL, `http://` or `https://`, several at a time (`?parallel=`); the events of one
aggregate go one after the other, in order. Any 2xx is an acknowledgement. After 408, 425, 429 and 5xx the event is sent
again, at the time that `Retry-After` says, if it does; after any other answer it is a dead letter at once. Each event
has its own outcome.

`?secret=whsec_...` signs as https://www.standardwebhooks.com describes, `?token=` sends `Authorization: Bearer`.
Inbound is in events.bridges.http.subscriber.
"""

import base64
import binascii
import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from events.bridges.address import Address, wrong
from events.bridges.contract import Features, Message, Scheme
from events.bridges.http.requests import Client, Watch, printable
from events.bridges.http.subscriber import HTTP_PORT, Subscriber, path_of
from events.errors import PartlySent, TransportError, Unsendable
from events.retry import RetryAfter
from events.text import redact

_FORMS = ("flat", "structured", "webhook")
_PARALLEL = 8  # requests at a time
_AGAIN = (408, 425, 429)  # statuses after which an event is sent again
_BATCH_ENDS = 20.0  # seconds after which a batch begins no more requests: handlers have a time limit
_LOOK_EVERY = 0.2  # seconds between looks for requests that are late
_LONGEST_WAIT = 86_400.0  # seconds that a server may ask us to wait


class Bridge:
    """Keeps the contract of events.bridges.Bridge."""

    features: ClassVar[Features] = Features(durable=False, ids=False, retained=False, direct=True)
    schemes: ClassVar[Mapping[str, Scheme]] = {
        "http": Scheme("http", HTTP_PORT, forms=_FORMS),
        "https": Scheme("https", 443, tls=True, forms=_FORMS),
    }
    options: ClassVar[frozenset[str]] = frozenset({"secret", "token", "parallel", "limit", "per_peer"})
    attribute_prefix: ClassVar[str] = "ce-"

    def __init__(self, address: Address) -> None:
        address.number("parallel", _PARALLEL)
        address.number("limit", 1)
        address.number("per_peer", 1)
        key_of(address)
        _check(address)
        if address.inbound and address.outbound:
            raise wrong(address.url, "direction=both", "a URL is theirs or ours: use in or out")
        if address.inbound:
            _check_inbound(address)
        self._address = address

    def address(self, _event_type: str) -> str:
        return path_of(self._address)

    def bindings(self, _event_type: str) -> Mapping[str, Any]:
        return {}

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, _wanted: Callable[[], Collection[str]]) -> Subscriber:
        _check_inbound(self._address)  # for `events bridge URL`, which doesn't check the direction
        return Subscriber(self._address, key_of(self._address))


def _check(address: Address) -> None:
    """Raises ConfigurationError for mistakes in a URL that would only show when it is used."""
    try:
        urlsplit(address.url).port  # noqa: B018 - reading the property checks the port
    except ValueError as error:
        raise wrong(address.url, "", f"{error}".lower()) from None
    for option in {"token", "secret"} & address.options.keys():
        if not address.options[option]:  # perhaps the value of a variable that isn't set: it must let no client in
            raise wrong(address.url, f"{option}=", "it is empty; give one, or leave it out")
    if not re.fullmatch("[!-~]*", address.options.get("token", "")):
        raise wrong(address.url, "token=***", "use printable ASCII without spaces; a plus sign is written %2B")


def _check_inbound(address: Address) -> None:
    """Raises ConfigurationError for parts of a URL that make sense only in the URL of another server."""
    if address.scheme == "https":
        raise wrong(address.url, "", "we serve no TLS; use http:// behind a proxy that does")
    parts = urlsplit(address.url)
    if parts.query:  # it would be ignored, and a misspelt secret would leave the door open
        names = ", ".join(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
        shown = urlunsplit(parts._replace(query=""))  # `redact` doesn't hide a secret with another name
        raise wrong(shown, "", f"it has no parameter {names}; the lock is ?token= or ?secret=")
    if "@" in parts.netloc:  # else any client would be let in without them
        cure = "a user and a password are no lock here; use ?token=, sent as Authorization: Bearer, or ?secret="
        raise wrong(address.url, "", cure)


def key_of(address: Address) -> bytes:
    """The key that signs messages; empty without a secret. Raises ConfigurationError."""
    secret = address.options.get("secret", "").replace(" ", "+")  # a plus sign in a URL is read as a space
    if not secret:
        return b""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not (secret.startswith("whsec_") and len(key) >= 16):
        raise wrong(address.url, "secret=***", "use whsec_ and at least 16 bytes in base64")
    return key


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature of a message by Standard Webhooks, version 1."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


class _Batch:
    """The outcome of a batch, which the threads that send it write down."""

    def __init__(self) -> None:
        self.failed: dict[str, Exception] = {}
        self.arrived = 0
        self.stop: Exception | None = None  # why the batch begins no more requests
        self.ends = time.monotonic() + _BATCH_ENDS
        self.watch = Watch()


class Publisher:
    """Posts events over kept connections, which all threads of this process share."""

    def __init__(self, address: Address) -> None:
        parts = urlsplit(address.url)
        self._shown = redact(address.url)
        self._key = key_of(address)
        self._headers = {"user-agent": "celery-domain-events", "accept-encoding": "identity"}
        if token := address.options.get("token"):
            self._headers["authorization"] = f"Bearer {token}"
        elif parts.username:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        parallel = address.number("parallel", _PARALLEL)
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._client = Client(url, self._shown, address.timeout, parallel, address.ca)
        self._lock = threading.Lock()
        self._batches: set[_Batch] = set()
        self._threads: ThreadPoolExecutor | None = ThreadPoolExecutor(parallel, "events-webhook")

    def send(self, messages: Sequence[Message]) -> None:
        lanes: dict[str, list[Message]] = {}
        for message in messages:
            lanes.setdefault(message.aggregate_id or message.event_id, []).append(message)
        batch = _Batch()
        with self._lock:
            if self._threads is None:
                raise TransportError("this publisher is closed")
            running = [self._threads.submit(self._lane, lane, batch) for lane in lanes.values()]
            self._batches.add(batch)
        try:
            while wait(running, _LOOK_EVERY).not_done:
                batch.watch.cut()
        except BaseException:  # a time limit interrupts the wait, not the threads
            batch.stop = batch.stop or TransportError("the batch was interrupted")
            batch.watch.cut(everything=True)
            raise
        finally:
            with self._lock:
                self._batches.discard(batch)
        if not batch.failed:
            return
        if type(batch.stop) is TransportError and not batch.arrived:
            raise batch.stop  # the server is away
        raise PartlySent(batch.failed)

    def close(self) -> None:
        with self._lock:
            threads, self._threads = self._threads, None
            for batch in self._batches:
                batch.stop = batch.stop or TransportError("this publisher is closed")
        if threads is not None:
            threads.shutdown()
            self._client.close()

    def _lane(self, messages: Sequence[Message], batch: _Batch) -> None:
        for message in messages:
            if batch.stop is None and time.monotonic() > batch.ends:
                batch.stop = RetryAfter(1, f"{self._shown} is slow: the batch took over {_BATCH_ENDS:g} s")
            try:
                if batch.stop is not None:
                    raise batch.stop
                self._post(message, batch)
                batch.arrived += 1
            except Exception as error:
                batch.failed[message.event_id] = error

    def _post(self, message: Message, batch: _Batch) -> None:
        headers = message.headers(Bridge.attribute_prefix, quoted=True) | self._headers
        if self._key:
            now = str(int(time.time()))
            headers |= {
                "webhook-id": message.event_id,
                "webhook-timestamp": now,
                "webhook-signature": signature(self._key, message.event_id, now, message.body),
            }
        try:
            answer = self._client.post(message.body, headers, batch.watch)
        except TransportError as error:
            batch.stop = error
            raise
        if 200 <= answer.status < 300:
            return
        why = f"{self._shown} answered {answer.status}: {answer.text}"
        if 300 <= answer.status < 400 and (elsewhere := answer.headers.get("location")):
            elsewhere = redact(printable(elsewhere))
            why += f"; it points to {elsewhere}, and redirects are not followed: name that URL in EVENTS_BRIDGES"
        if answer.status in (429, 503) and (asked := _asked_for(answer.headers)):
            batch.stop = RetryAfter(asked, why)
            raise batch.stop
        if answer.status in _AGAIN or answer.status >= 500:
            raise TransportError(why)
        raise Unsendable(why)


def _asked_for(headers: Mapping[str, str]) -> float:
    """The seconds that `Retry-After` asks for; 0 if it asks for none, or they are over; then our backoff counts."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]+", value):
        return min(float(value), _LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(value)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)
    except (ValueError, OverflowError):
        return 0.0
