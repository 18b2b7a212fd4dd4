"""The forms in which an event may come in: where its data stands, and where its attributes stand.

They are: flat, whose body holds the event's own fields and `eventId, eventType, ...`; a CloudEvent in binary mode,
whose attributes are headers, or in structured mode; and Standard Webhooks' `{type, timestamp, data}`.
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
SEALED = {  # members of a flat body for attributes: if only the body is signed, it says these, too
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
        attributes: CloudEvents attributes by their plain names.
        data: the event's own fields; of a flat body all members.
        beside: those members of a flat body whose names are not for an event's own fields, such as `eventId`; but the
            event may have fields of such names.
        time: the event's time as a body that isn't flat says it, of any type; None if the body is flat, or says none.
    """

    attributes: Mapping[str, str]
    data: Mapping[str, Any]
    beside: Mapping[str, Any]
    time: Any = None


def form_of(received: Received) -> Form:
    """The form of a message. Raises Unacceptable if the body is no JSON object, or a CloudEvent lacks attributes."""
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
    if (
        "eventType" not in body and body.keys() >= _WEBHOOK and said in ("", body["type"])
    ):  # else these are fields of an event
        check_words({name: body.get(name) for name in _SAID})
        attributes |= _words({name: value for name, value in body.items() if name not in ("timestamp", "data")})
        return Form(attributes, _data_of(body), {}, body["timestamp"])
    return Form(attributes, body, {name: value for name, value in body.items() if name in FLAT_NAMES or name in SEALED})


def sealed_in(beside: Mapping[str, Any]) -> dict[str, str]:
    """The CloudEvents attributes that a flat body says, by their plain names."""
    return _words({plain: beside.get(name) for name, plain in SEALED.items()})


def _is_binary(headers: Mapping[str, str]) -> bool:
    """Whether the headers say that the message is a CloudEvent. Then it must have all attributes that CloudEvents have:
    without an id it would be another event each time that it comes.

    AMQP has an id and a type of its own. They are read as attributes, but don't make a message a CloudEvent.
    """
    return any(is_attribute(name) and name not in _OF_AMQP for name in headers)


def _is_cloud_event(body: Mapping[str, Any]) -> bool:
    """Whether the body is a CloudEvent. In a flat body `specversion` is a field of the event."""
    return "specversion" in body and "eventType" not in body


def is_attribute(header: str) -> bool:
    """Whether a header holds an attribute of a CloudEvent, on any protocol."""
    return _PREFIX.match(header) is not None


def word(value: Any) -> str:
    """A text; or a whole number, also `17.0`, as a text, since many ids are numbers; "" for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):  # above 2**53 a float may stand for another whole number
        return str(int(value)) if value.is_integer() and abs(value) <= _EXACT else ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def check_words(said: Mapping[str, Any]) -> None:
    """Raises Unacceptable if a value is no text or whole number: without the value it would be another event."""
    for name, value in said.items():
        if value is not None and value != "" and not word(value):
            member = "its id" if name in ("id", "eventId") else f"its {name}"
            raise Unacceptable(WRONG, f"{member} is no text or whole number: {str(value)[:100]!r}")


def first_word(*values: Any) -> str:
    """The first text or whole number among these, as text; "" if there is none."""
    return next((text for value in values if (text := word(value))), "")


def _words(members: Mapping[str, Any]) -> dict[str, str]:
    return {name: text for name, value in members.items() if (text := word(value))}


def _check_cloud_event(attributes: Mapping[str, str]) -> None:
    version = attributes.get("specversion", "")
    if version != _SPECVERSION:
        fault = f"its specversion is {version[:50]!r}" if version else "it says no specversion"
        raise Unacceptable(UNREADABLE, f"it is a CloudEvent, and {fault}; {_SPECVERSION} is known here")
    if missing := [name for name in _REQUIRED if not attributes.get(name)]:
        raise Unacceptable(UNREADABLE, f"it is a CloudEvent without {' and '.join(missing)}, which each must have")


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = unwrapped_value(json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        raise Unacceptable(UNREADABLE, f"its body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Unacceptable(UNREADABLE, "its body is JSON, but no object")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _data_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The member `data`; or `data_base64`, whose bytes are JSON here."""
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
