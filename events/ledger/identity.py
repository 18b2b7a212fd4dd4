"""Decides whether two events are the same event: see docs/identity.md.

The identity of an event that is published here is its id. The identity of an event from elsewhere is its source and the
id that it has there. Both together make the event's id here, so that two senders never collide, and no outside sender
can take the id of an event of ours. An event that comes again under its id must have the same content; then it changes
nothing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from math import isnan
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel

from events.errors import EventIdTaken, EventsError
from events.event import DomainEvent, own_fields
from events.ledger.codec import decode
from events.ledger.envelope import Envelope
from events.ledger.unwrapping import unwrapped

SENT_AS = "sender_event_id"  # in an event's metadata: the id that the event has at its sender
CAUSE_SENT_AS = "causation_sender_event_id"  # in an event's metadata: the id that its cause has at its sender
_RECEIVED = UUID("5d2ac9f9-9219-5b05-a425-6b94ade34f6e")  # the namespace of received ids; it must never change
_SHOWN = 5  # names of fields that an error shows


def received_id(source: str, sent_as: str) -> UUID:
    """Return the id here of an event that came from elsewhere.

    Events that arrive at the same moment are put in order by their ids alone. So the part of a UUID 7 that is ordered
    by time is kept; the rest is made of the source and the sender's id. The result is a UUID of version 8, which no id
    of ours is.
    """
    made = uuid5(_RECEIVED, json.dumps([source, sent_as]))
    given = as_uuid(sent_as)
    if given is None or given.version != 7:
        return made
    return UUID(int=(given.int >> 64 << 64) ^ (7 ^ 8) << 76 | made.int & (1 << 64) - 1)


def placed_id(place: str, position: str) -> UUID:
    """Return the id of a message that has no id: it is made of the message's place on the server."""
    return uuid5(NAMESPACE_URL, f"{place} at {position}")


def former_id(source: str, sent_as: str) -> UUID:
    """Return the id that older code gave to an event from elsewhere: it took the sender's UUID as its own."""
    return as_uuid(sent_as) or uuid5(NAMESPACE_URL, f"{source} {sent_as}")


def as_uuid(text: str) -> UUID | None:
    """Return the UUID that the text spells in any usual way; None if the text is no UUID."""
    try:
        return UUID(text)
    except ValueError:
        return None


def sender_of(event_id: UUID, metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the source of an event and the id that it has there; None if the event is one of ours.

    A copy of an event from elsewhere has the metadata, too, but an id of its own: the copy is ours.
    """
    source, sent_as = metadata.get("source"), metadata.get(SENT_AS)
    if isinstance(source, str) and isinstance(sent_as, str) and received_id(source, sent_as) == event_id:
        return source, sent_as
    return None


def check_repeat(given: Envelope, stored: Envelope) -> None:
    """Raise EventIdTaken if two events with the same id are not the same event."""
    if not (differing := differences(given, stored)):
        return
    found = f"{stored.event_type} has this id, and another {', '.join(differing)}"
    raise EventIdTaken(
        f"event {given.event_type} {given.id} can't be stored: {found}. An id stands for one event for ever, and "
        f"model_copy() keeps it: give a changed copy an id of its own, event.model_copy(update={{..., 'event_id': "
        f"uuid7()}}) with uuid7 from events",
        found,
    )


def differences(given: Envelope, stored: Envelope) -> list[str]:
    """Name the parts in which the content of two events differs; the list is empty if one event repeats the other.

    Metadata is not content: a repeat may belong to another trace. The aggregate's version is content where it is
    counted; the time is content where the sender gave it.
    """
    names = ("event_type", "aggregate_id", "schema_version")
    columns = [name for name in names if (getattr(given, name) or "") != (getattr(stored, name) or "")]
    if given.version not in (1, stored.version):
        columns.append("version")
    if given.timed and given.timestamp != stored.timestamp:
        columns.append("timestamp")
    fields = _differing_fields(given, stored)
    if fields is not None and (columns or not _read_alike(given, stored)):
        named = ", ".join(fields[:_SHOWN]) + (", ..." if len(fields) > _SHOWN else "")
        columns.append(f"event_data ({named})" if named else "event_data")
    return columns


def _differing_fields(given: Envelope, stored: Envelope) -> list[str] | None:
    """Return the names of the fields that differ, without their values, which may be masked.

    None if all fields are equal; an empty list if the data differs, but can't be compared field by field.
    """
    if given.event_data == stored.event_data:
        return None
    try:
        first, second = _parsed(given.event_data), _parsed(stored.event_data)
    except (ValueError, ArithmeticError, RecursionError):  # another program wrote the data
        return []
    if first == second:
        return None
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return []
    return sorted(_keys_that_differ(first, second))


def _keys_that_differ(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    nothing = object()
    for key in {*first, *second}:
        if first.get(key, nothing) != second.get(key, nothing):
            yield key


def _parsed(text: str) -> Any:
    """Parse JSON. Numbers are compared by value, as databases keep them: 1e2 is 100. But 1 is not true, unlike in
    Python.
    """
    return json.loads(unwrapped(text), parse_float=_number, parse_int=_number)


def _number(text: str) -> tuple[str, Decimal]:
    return "number", Decimal(text)


def _read_alike(given: Envelope, stored: Envelope) -> bool:
    """Whether handlers see equal events: a set has no order, and the default of a new field adds no content."""
    try:
        first, second = (decode(replace(one, metadata="")) for one in (given, stored))
    except EventsError:
        return False
    try:
        return type(first) is type(second) and bool(_content(_values(first)) == _content(_values(second)))
    except Exception:  # for example, the comparison of arrays returns an array
        return False


def _values(event: DomainEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in own_fields(type(event))}


def _content(value: Any) -> Any:
    """Return a form of the value that is equal only for values of the same content.

    `==` alone takes 1 for true, and a class of the application may compare nothing but an id.
    """
    if isinstance(value, bool):
        return "truth", value
    if isinstance(value, BaseModel):
        return type(value), _content(value.__dict__ | (value.__pydantic_extra__ or {}))
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), _content({one.name: getattr(value, one.name, None) for one in fields(value)})
    if isinstance(value, Mapping):
        return "mapping", {key: _content(one) for key, one in value.items()}
    if isinstance(value, Set):
        return "set", sorted(map(_content, value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return "sequence", [_content(one) for one in value]
    return "not a number" if isinstance(value, float) and isnan(value) else value
