"""What a request says: whether it may, and which events it brings. Nothing here knows of connections."""

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
MOST_EVENTS = 1000  # in a request: all are stored in one step, for which its sender waits
_HARMLESS = ("webhook-id", "traceparent", "tracestate")  # whoever changes them changes no event
_TOLERANCE = 300.0  # seconds that a signature may be old


class Refused(Exception):
    """An answer that is no 202. `close`: what the client still sends is not read."""

    def __init__(self, status: int, line: str, *, close: bool = False) -> None:
        self.status, self.line, self.close = status, line, close
        super().__init__(line)


def length_of(headers: Message, limit: int) -> int:
    """Of the body, in bytes. Raises Refused."""
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
    """Raises Refused unless the request has the token, and the signature, that are asked for."""
    if token and not hmac.compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode()):
        raise Refused(401, "the token is missing or wrong: Authorization: Bearer ...")
    if not key:
        return
    stamp, message_id = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not re.fullmatch("[0-9]{1,12}", stamp) or abs(time.time() - int(stamp)) > _TOLERANCE:
        raise Refused(401, f"webhook-timestamp is missing, or over {_TOLERANCE:g} s from our clock")
    if not message_id:  # a signature of nothing would do, too, and each repeat of the request be another event
        raise Refused(401, "webhook-id is missing")
    right = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
    for one in headers.get("webhook-signature", "").split():  # while a secret is replaced there are two
        version, _, value = one.partition(",")
        with suppress(ValueError):  # no base64
            if version == "v1" and hmac.compare_digest(base64.b64decode(value), right):
                return
    raise Refused(401, "webhook-signature is missing or wrong")


def messages(headers: Message, body: bytes, path: str, limit: int, *, signed: bool) -> list[Received]:
    """Those of a request, perhaps none. `signed`: what stands beside its body can't be trusted, except `webhook-id`.

    Raises Refused: not all of them can be parsed, or the headers say otherwise than what is signed.
    """
    kept = _kept(headers)
    is_batch = body.lstrip().startswith(b"[") if signed else kept.get("content-type", "").startswith(BATCH)
    beside = {name: kept.pop(name) for name in tuple(kept) if signed and name not in _HARMLESS}
    position = headers.get("webhook-id", "")
    found = _batch(body, path, position) if is_batch else [Received(body, kept, path, position)]
    for number, one in enumerate(found):
        try:
            arrival = incoming(one, "http", lambda _: None, limit)
        except Unacceptable as error:  # of what can be read, and not accepted, the ledger keeps a parked message
            if error.reason != UNREADABLE:
                continue
            which = f"event {number + 1} of {len(found)}: " if len(found) > 1 else ""
            cure = "; with a secret only what is signed counts, which is the body" if "ce-type" in beside else ""
            raise Refused(400, which + first_line(error)[:500] + cure) from None
        if not is_batch and beside.get("ce-id", position) not in (position, arrival.sent_as):
            raise Refused(400, "ce-id is another than webhook-id, and not signed")
    return found


def _batch(body: bytes, path: str, position: str) -> list[Received]:
    try:
        several = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the batch is no JSON: {error}") from None
    if not isinstance(several, list):
        raise Refused(400, "the batch is no JSON array")
    if len(several) > MOST_EVENTS:
        raise Refused(413, f"at most {MOST_EVENTS:,} events are taken in a batch, and these are {len(several):,}")
    kept = {"content-type": STRUCTURED}
    return [
        Received(json.dumps(one).encode(), kept, path, f"{position} {number}" if position else "")
        for number, one in enumerate(several)
    ]


def _kept(headers: Message) -> dict[str, str]:
    """The headers that say something of an event, by their names in lower case."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if name.startswith("ce-") or name in ("content-type", *_HARMLESS):
            if name in kept:  # which of them counts, others between us might see differently
                raise Refused(400, f"the header {name} is there twice")
            kept[name] = unquoted_value(value)
    if "content-type" in kept:
        kept["content-type"] = kept["content-type"].lower()
    return kept
