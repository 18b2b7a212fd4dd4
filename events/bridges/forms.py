"""The forms in which an event may come in, and what is said beside its data: by CloudEvents attributes, or by the body.

Flat, whose body is the event's own fields and `eventId, eventType, ...`; a CloudEvent in binary mode, whose attributes
stand beside the body, or in structured mode; or Standard Webhooks' `{type, timestamp, data}`.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from events.bridges.contract import Received
from events.errors import Unacceptable
from events.ledger import unwrapped_value

STRUCTURED = "application/cloudevents+json"
FLAT_NAMES = ("eventId", "eventType", "aggregateId", "dateTimeOccurred", "timestamp")
SEALED = {  # where only the body is signed, it also says what else stands beside it
    "eventSource": "source",
    "eventSchemaVersion": "schemaversion",
    "eventCorrelationId": "correlationid",
    "eventCausationId": "causationid",
    "eventForwardedBy": "forwardedby",
}
_WEBHOOK = frozenset({"type", "timestamp", "data"})
_REQUIRED = ("id", "source", "type")  # by CloudEvents 1.0
_SAID = (*_REQUIRED, "subject", *SEALED.values())
_EXACT = 2**53
_SPECVERSION = "1.0"
_OF_AMQP = frozenset(f"cloudevents{separator}{name}" for separator in "_:" for name in ("id", "type"))
_PREFIX = re.compile(r"^(ce[-_]|cloudevents[:_])")

UNREADABLE, UNKNOWN, WRONG = "bridge: unreadable", "bridge: unknown event", "bridge: wrong data"
TOO_LARGE, NOT_STORED, ID_TAKEN = "bridge: too large", "bridge: not stored", "bridge: id taken"
PRIVATE = "bridge: private event"
REASONS = (UNREADABLE, UNKNOWN, PRIVATE, WRONG, TOO_LARGE, NOT_STORED, ID_TAKEN)


@dataclass(frozen=True, slots=True)
class Form:
    """A message, taken apart.

    Attributes:
        attributes: of CloudEvents, by their plain names.
        data: the event's own fields; in a flat body the others, too.
        time: what the body says of it as a whole, whatever that is; None if it is flat, or doesn't say.
        beside: what a flat body says beside the event's own fields, unless the event has fields of such names.
    """

    attributes: Mapping[str, str]
    data: Mapping[str, Any]
    beside: Mapping[str, Any]
    time: Any = None


def form_of(received: Received) -> Form:
    """Raises Unacceptable: it is no JSON object, or a CloudEvent that lacks what each must have."""
    body = _object(received.body)
    attributes = {_PREFIX.sub("", name): value for name, value in received.headers.items() if is_attribute(name)}
    if received.headers.get("content-type", "").lower().startswith(STRUCTURED) or _is_cloud_event(body):
        attributes |= _words(body)
        _check_cloud_event(attributes)
        check_words({name: body.get(name) for name in _SAID})
        return Form(attributes, _data_of(body), {}, body.get("time"))
    if _is_binary(received.headers):
        _check_cloud_event(attributes)
    said = attributes.get("type") or received.event_type
    if "eventType" not in body and body.keys() >= _WEBHOOK and said in ("", body["type"]):  # else fields of an event
        check_words({name: body.get(name) for name in _SAID})
        attributes |= _words({name: value for name, value in body.items() if name not in ("timestamp", "data")})
        return Form(attributes, _data_of(body), {}, body["timestamp"])
    return Form(attributes, body, {name: value for name, value in body.items() if name in FLAT_NAMES or name in SEALED})


def sealed_in(beside: Mapping[str, Any]) -> dict[str, str]:
    """The attributes that a flat body says, by their plain names."""
    return _words({plain: beside.get(name) for name, plain in SEALED.items()})


def _is_binary(headers: Mapping[str, str]) -> bool:
    """Whether it is said to be a CloudEvent beside its body; half of one would be another event each time it comes.

    AMQP has an id and a type of its own, which are read as these attributes, and make no CloudEvent of a message.
    """
    return any(is_attribute(name) and name not in _OF_AMQP for name in headers)


def _is_cloud_event(body: Mapping[str, Any]) -> bool:
    """As a whole. A flat body may have a field of that name, which is the event's own business."""
    return "specversion" in body and "eventType" not in body


def is_attribute(header: str) -> bool:
    """Whether it is an attribute of a CloudEvent, on any protocol."""
    return _PREFIX.match(header) is not None


def word(value: Any) -> str:
    """A text, or a whole number as one, as which many have their ids, also as `17.0`; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):  # of larger ones nobody knows which whole number they were
        return str(int(value)) if value.is_integer() and abs(value) <= _EXACT else ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def check_words(said: Mapping[str, Any]) -> None:
    """Raises Unacceptable: what can't be used would be left out without a word, and the event be another one."""
    for name, value in said.items():
        if value is not None and value != "" and not word(value):
            what = "its id" if name in ("id", "eventId") else f"its {name}"
            raise Unacceptable(WRONG, f"{what} is no text or whole number: {str(value)[:100]!r}")


def first_word(*values: Any) -> str:
    """The first of them that says anything."""
    return next((found for value in values if (found := word(value))), "")


def _words(members: Mapping[str, Any]) -> dict[str, str]:
    return {name: found for name, value in members.items() if (found := word(value))}


def _check_cloud_event(attributes: Mapping[str, str]) -> None:
    version = attributes.get("specversion", "")
    if version != _SPECVERSION:
        what = f"its specversion is {version[:50]!r}" if version else "it says no specversion"
        raise Unacceptable(UNREADABLE, f"it is a CloudEvent, and {what}; {_SPECVERSION} is known here")
    if missing := [name for name in _REQUIRED if not attributes.get(name)]:
        raise Unacceptable(UNREADABLE, f"it is a CloudEvent without {' and '.join(missing)}, which each must have")


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = unwrapped_value(json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        raise Unacceptable(UNREADABLE, f"its body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unacceptable(UNREADABLE, "its body is JSON, but no object")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _data_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The member `data`, or `data_base64`, which is JSON all the same."""
    if "data_base64" not in body:
        data = unwrapped_value(body.get("data", {}))
    elif "data" in body:
        raise Unacceptable(UNREADABLE, "it has data and data_base64; a CloudEvent has one of them")
    else:
        try:
            return _object(base64.b64decode(body["data_base64"], validate=True))
        except (TypeError, ValueError, binascii.Error) as error:
            raise Unacceptable(UNREADABLE, f"its data_base64 is no base64: {error}") from None
    if not isinstance(data, dict):
        raise Unacceptable(UNREADABLE, "the CloudEvent's data is no JSON object")
    return data
