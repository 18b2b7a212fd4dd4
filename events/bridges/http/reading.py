"""Reads requests: checks token and signature, and takes the events out of the body. Connections are elsewhere."""

import base64
import hashlib
import hmac
import json
import re
import time
from contextlib import suppress
from email.message import Message

from events.bridges.cloudevents import incoming
from events.bridges.contract import Received, unquoted_value
from events.bridges.forms import STRUCTURED, UNREADABLE
from events.errors import Unacceptable
from events.text import first_line

BATCH = "application/cloudevents-batch+json"
MOST_EVENTS = 1000  # in a request: all are stored in one step, and the sender waits for it
_HARMLESS = ("webhook-id", "traceparent", "tracestate")  # headers that need no signature: they change no event
_TOLERANCE = 300.0  # seconds by which a signature may be older or newer than our clock


class Refused(Exception):
    """The answer is another than 202. `close`: the connection ends, and no more of the request is read."""

    def __init__(self, status: int, line: str, *, close: bool = False) -> None:
        self.status, self.line, self.close = status, line, close
        super().__init__(line)


def length_of(headers: Message, limit: int) -> int:
    """The size of the body in bytes. Raises Refused."""
    if headers.defects:
        raise Refused(400, "its headers can't be read", close=True)
    said = {value.strip() for value in headers.get_all("content-length", [])}
    if "transfer-encoding" in headers or not said:
        raise Refused(411, "say its length by Content-Length", close=True)
    length = said.pop()
    if said or not re.fullmatch("[0-9]+", length):
        raise Refused(400, "Content-Length is no number, or two of them", close=True)
    if len(length) > 18 or int(length) > limit:
        raise Refused(413, f"at most {limit:,} bytes are taken", close=True)
    return int(length)


def check(headers: Message, body: bytes, token: str, key: bytes) -> None:
    """Raises Refused unless the request has the token and the signature.

    Args:
        token: the token that the request must have; "" for none.
        key: the key that must have signed the request; empty for none.
    """
    if token and not hmac.compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode()):
        raise Refused(401, "the token is missing or wrong: Authorization: Bearer ...")
    if not key:
        return
    stamp, message_id = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not re.fullmatch("[0-9]{1,12}", stamp) or abs(time.time() - int(stamp)) > _TOLERANCE:
        raise Refused(401, f"webhook-timestamp is missing, or over {_TOLERANCE:g} s from our clock")
    if not message_id:  # else the signature doesn't cover the id, and each repeat of the request is another event
        raise Refused(401, "webhook-id is missing")
    right = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
    for signature in headers.get("webhook-signature", "").split():  # two, while a secret is replaced
        version, _, value = signature.partition(",")
        with suppress(ValueError):  # the value is no base64
            if version == "v1" and hmac.compare_digest(base64.b64decode(value), right):
                return
    raise Refused(401, "webhook-signature is missing or wrong")


def messages(headers: Message, body: bytes, path: str, limit: int, *, signed: bool) -> list[Received]:
    """The messages of a request; an empty batch has none.

    Args:
        limit: the largest data of an event, in bytes.
        signed: whether body and `webhook-id` are signed, so that the other headers can't be trusted.
    Raises:
        Refused: an event can't be read, or the headers contradict the signed parts.
    """
    kept = _kept(headers)
    is_batch = body.lstrip().startswith(b"[") if signed else kept.get("content-type", "").startswith(BATCH)
    untrusted = {name: kept.pop(name) for name in tuple(kept) if signed and name not in _HARMLESS}
    position = headers.get("webhook-id", "")
    received = _batch(body, path, position) if is_batch else [Received(body, kept, path, position)]
    for number, message in enumerate(received):
        try:
            arrival = incoming(message, "http", lambda _: None, limit)
        except Unacceptable as error:  # a readable event that can't be accepted is parked later
            if error.reason != UNREADABLE:
                continue
            which = f"event {number + 1} of {len(received)}: " if len(received) > 1 else ""
            cure = "; with a secret only what is signed counts, which is the body" if "ce-type" in untrusted else ""
            raise Refused(400, which + first_line(error)[:500] + cure) from None
        if not is_batch and untrusted.get("ce-id", position) not in (position, arrival.sent_as):
            raise Refused(400, "ce-id is another than webhook-id, and not signed")
    return received


def _batch(body: bytes, path: str, position: str) -> list[Received]:
    try:
        events = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the batch is no JSON: {error}") from None
    if not isinstance(events, list):
        raise Refused(400, "the batch is no JSON array")
    if len(events) > MOST_EVENTS:
        raise Refused(413, f"at most {MOST_EVENTS:,} events are taken in a batch, and these are {len(events):,}")
    kept = {"content-type": STRUCTURED}
    return [
        Received(json.dumps(event).encode(), kept, path, f"{position} {number}" if position else "")
        for number, event in enumerate(events)
    ]


def _kept(headers: Message) -> dict[str, str]:
    """The headers that are about an event, by their names in lower case. Raises Refused if a name is there twice."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if name.startswith("ce-") or name in ("content-type", *_HARMLESS):
            if name in kept:  # a proxy before us may have checked the other value
                raise Refused(400, f"the header {name} is there twice")
            kept[name] = unquoted_value(value)
    if "content-type" in kept:
        kept["content-type"] = kept["content-type"].lower()
    return kept
