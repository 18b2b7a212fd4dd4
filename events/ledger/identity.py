"""What makes two events the same event: docs/identity.md.

An event that is published here is its id. One that comes from elsewhere is its source and the id that it has there:
both make its id here, so that two senders never collide, and nobody outside can take an id that an event of ours has.
Whatever comes again under its id must have the same content; then it changes nothing.
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

SENT_AS = "sender_event_id"  # in an event's metadata: the id that it has where it came from
CAUSE_SENT_AS = "causation_sender_event_id"  # the same of its cause
_RECEIVED = UUID("5d2ac9f9-9219-5b05-a425-6b94ade34f6e")  # the namespace; never to be changed
_SHOWN = 5  # names of fields in an error


def received_id(source: str, sent_as: str) -> UUID:
    """The id here of an event that came from elsewhere.

    Events that came together are told apart by their ids alone when they are put in order. So of a UUID 7, which is
    ordered by time, that part is kept; the rest is made of both. It is of version 8 then, which no id of ours is.
    """
    made = uuid5(_RECEIVED, json.dumps([source, sent_as]))
    given = as_uuid(sent_as)
    if given is None or given.version != 7:
        return made
    return UUID(int=(given.int >> 64 << 64) ^ (7 ^ 8) << 76 | made.int & (1 << 64) - 1)


def placed_id(place: str, position: str) -> UUID:
    """The same for a message without an id, of which only its place on the server is known."""
    return uuid5(NAMESPACE_URL, f"{place} at {position}")


def former_id(source: str, sent_as: str) -> UUID:
    """The id that older code gave it, which took a sender's UUID for its own."""
    return as_uuid(sent_as) or uuid5(NAMESPACE_URL, f"{source} {sent_as}")


def as_uuid(text: str) -> UUID | None:
    """In any of the usual spellings; None if it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def sender_of(event_id: UUID, metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Source and id that the event has where it came from; None if it is one of ours.

    A copy of such an event under an id of its own has the metadata, too, and is ours.
    """
    source, sent_as = metadata.get("source"), metadata.get(SENT_AS)
    if isinstance(source, str) and isinstance(sent_as, str) and received_id(source, sent_as) == event_id:
        return source, sent_as
    return None


def check_repeat(given: Envelope, stored: Envelope) -> None:
    """Raises EventIdTaken if they are not the same event, though they have the same id."""
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
    """What differs in the content of two events, in words; nothing if the one repeats the other.

    Metadata is no content: a repeat may be of another trace. The aggregate's version is, where it is counted; the time,
    where somebody said it.
    """
    columns = [
        name for name in ("event_type", "aggregate_id", "schema_version")
        if (getattr(given, name) or "") != (getattr(stored, name) or "")
    ]  # fmt: skip
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
    """Names alone, for their values may be nobody's business; none if they can't be told. None if all are equal."""
    if given.event_data == stored.event_data:
        return None
    try:
        first, second = _parsed(given.event_data), _parsed(stored.event_data)
    except (ValueError, ArithmeticError, RecursionError):  # a foreign program's
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
    """Numbers by their value, as databases keep them: 1e2 is 100. But 1 is not true, which it is for Python."""
    return json.loads(unwrapped(text), parse_float=_number, parse_int=_number)


def _number(text: str) -> tuple[str, Decimal]:
    return "number", Decimal(text)


def _read_alike(given: Envelope, stored: Envelope) -> bool:
    """Whether they are equal for handlers: a set has no order, and the default of a new field says nothing new."""
    try:
        first, second = (decode(replace(one, metadata="")) for one in (given, stored))
    except EventsError:
        return False
    try:
        return type(first) is type(second) and bool(_content(_values(first)) == _content(_values(second)))
    except Exception:  # an array answers by an array, for example
        return False


def _values(event: DomainEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in own_fields(type(event))}


def _content(value: Any) -> Any:
    """What is equal for two values of the same content alone: `==` takes 1 for true, and of a class of the
    application's it may compare the id and nothing else."""
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
