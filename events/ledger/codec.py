"""Events to rows and back, through JSON text.

What goes in comes out equal, on every store: each event is read back from its JSON before it is written, and refused if
it has changed. That costs some microseconds of a transaction, and holds whatever a type, a serializer or a validator of
the application does, and for events that nobody validated (`model_construct`, `model_copy(update=...)`). What one store
can't hold, such as the NUL character in PostgreSQL's jsonb, is refused by all.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from uuid import UUID

from pydantic import BaseModel, ValidationError

from events.definition import keys_of
from events.errors import EventDataError, NewerEvent, PayloadTooLarge, PublishError
from events.event import MAX_NAME, RESERVED, DomainEvent, Metadata, aggregate_of, ambiguity, event_named
from events.ledger.envelope import Envelope
from events.ledger.masking import KEY
from events.ledger.round_trip import Difference, difference, fields_differ, shown
from events.ledger.unwrapping import unwrapped

_EXCLUDED = set(RESERVED)
_NO_IDS = (BaseModel, tuple, list, dict, set, frozenset)
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # in JSON text
_USUAL = re.compile(r'\{("correlation_id": ?"[^"\\]*")?\}')  # metadata
_EXPONENT = re.compile(r"[:,\[]-?\d+(?:\.\d+)?[eE]")  # in compact JSON: there may be one outside of texts
_TEXT_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?[eE][+-]?\d+')
_IDS = ("correlation_id", "causation_id")
_BYTES_A_CHARACTER = 4  # at most, in UTF-8


def encode(event: DomainEvent, *, max_bytes: int, metadata: Metadata | str | None = None, version: int = 1) -> Envelope:
    """The row of an event.

    Args:
        max_bytes: limit for the event's data as UTF-8 JSON.
        metadata: replaces the event's own; a text is JSON already.
        version: the aggregate's version after this event.
    Raises:
        PublishError: not an instance of an event class, or its data can't be stored, or would not come back equal.
        PayloadTooLarge: its data is larger than `max_bytes`.
    """
    if not isinstance(event, DomainEvent):
        raise PublishError(f"publish() takes instances of DomainEvent, not {shown(event)}")
    if not event.event_name:
        raise PublishError(
            f"{type(event).__name__} is an abstract event ({event.defined_at}); publish a subclass of it"
        )
    if why := ambiguity(event.event_name):
        raise PublishError(why)
    try:
        data = _plain_numbers(event.model_dump_json(exclude=_EXCLUDED, round_trip=True, warnings=False))
        stored_metadata = metadata if isinstance(metadata, str) else _metadata_text(metadata or event.metadata)
        aggregate_id = aggregate_of(event)
    except Exception as error:  # of pydantic, or of a serializer of the application's own
        told = type(error).__name__ if event.masked_fields else error
        raise PublishError(f"event {event.event_name} {event.event_id} can't be written as JSON: {told}") from error
    _check_aggregate(event, aggregate_id)
    if len(data) * _BYTES_A_CHARACTER > max_bytes and (size := len(data.encode())) > max_bytes:
        raise PayloadTooLarge(
            f"event {event.event_name} has {size:,} bytes of data, over the limit of {max_bytes:,} bytes "
            f"(EVENTS_MAX_PAYLOAD_BYTES); store the bulk elsewhere and publish its address"
        )
    if event.masked_fields:
        stored_metadata = _with_masks(stored_metadata, event.masked_fields)
    escaped = ("u0000" in text and NUL.search(text) for text in (data, stored_metadata))
    if "\0" in aggregate_id or any(escaped):
        raise PublishError(f"event {event.event_name} {event.event_id} contains a NUL character; remove it")
    if len(aggregate_id) > MAX_NAME:
        raise PublishError(
            f"event {event.event_name}: its aggregate id has {len(aggregate_id)} characters, over {MAX_NAME}"
        )
    _check_round_trip(event, data, stored_metadata, None if isinstance(metadata, str) else metadata or event.metadata)
    return Envelope(
        id=event.event_id,
        aggregate_id=aggregate_id,
        event_type=event.event_name,
        event_data=data,
        version=version,
        timestamp=event.occurred_at,
        schema_version=event.schema_version,
        metadata=stored_metadata,
    )


def decode(envelope: Envelope) -> DomainEvent:
    """The event of a row. Fields that its class doesn't know are ignored.

    Raises:
        EventDataError: no class of that name, no JSON object, or a missing or wrong field: event, field and value
            are named.
        NewerEvent: it was written in a newer schema version than this process knows.
    """
    event_class = event_named(envelope.event_type)
    where = f"event {envelope.event_type} {envelope.id}"
    if event_class is None:
        raise EventDataError(f"{where}: no imported module defines an event of this name")
    if why := ambiguity(envelope.event_type):
        raise EventDataError(f"{where}: {why}")
    for column, number in (("version", envelope.version), ("schema_version", envelope.schema_version)):
        if not isinstance(number, int):  # SQLite keeps what it is given
            raise EventDataError(f"{where}: event_store.{column} is no whole number: {shown(number)}")
    if envelope.schema_version > event_class.schema_version:
        raise NewerEvent(
            f"{where}: it is of version {envelope.schema_version}, and this process knows version "
            f"{event_class.schema_version}; deploy the newer code to the workers, then replay it"
        )
    if envelope.timestamp is None:
        raise EventDataError(f"{where}: event_store.timestamp is no date and time of the years 1 to 9999")
    data = unwrapped(envelope.event_data).strip()
    if not (data.startswith("{") and data.endswith("}")):
        found = "" if event_class.masked_fields else f": {shown(data)}"
        raise EventDataError(f"{where}: event_data is not a JSON object{found}")
    if envelope.schema_version < event_class.schema_version:
        data = _upcast(event_class, data, envelope.schema_version, where)
    try:
        event = _read(event_class, data, envelope.id, envelope.timestamp, envelope.metadata or "{}")
        if not _is_usual(envelope.metadata):  # what `extra` says, it says of all models within, and these keep theirs
            event.__dict__["metadata"] = _metadata_of(envelope.metadata, event_class)
        return event
    except ValidationError as error:
        raise EventDataError(f"{where}: {_problems(error, event_class)}") from error


def _read(
    event_class: type[DomainEvent], data: str, event_id: UUID, occurred_at: datetime, metadata: str
) -> DomainEvent:
    """The row's own columns come last, since in JSON the last of two equal keys counts."""
    comma = "," if data[1:-1].strip() else ""
    columns = f'"event_id":"{event_id}","occurred_at":"{occurred_at.isoformat()}","metadata":{metadata}'
    if aliases := _aliases(event_class):  # which pydantic looks for first
        own = {"event_id": f'"{event_id}"', "occurred_at": f'"{occurred_at.isoformat()}"', "metadata": metadata}
        columns += "".join(f",{json.dumps(alias)}:{own[name]}" for name, alias in aliases)
    whole = f"{data[:-1]}{comma}{columns}}}"
    return event_class.model_validate_json(whole, extra="ignore", by_name=True, by_alias=True)


@lru_cache(1000)
def _aliases(event_class: type[DomainEvent]) -> tuple[tuple[str, str], ...]:
    """Other names that an `alias_generator` has given to the fields that every event has."""
    fields = event_class.model_fields
    return tuple((name, key) for name in RESERVED for key in dict.fromkeys(keys_of(fields[name])))


def _problems(error: ValidationError, event_class: type[DomainEvent]) -> str:
    hidden = bool(event_class.masked_fields)
    return "; ".join(
        f"field {'.'.join(map(str, problem['loc'])) or 'event_data'!r}: {problem['msg']}"
        + ("" if problem["type"] == "missing" or hidden else f", got {shown(problem['input'])}")
        for problem in error.errors(include_url=False)
    )


def _check_round_trip(event: DomainEvent, data: str, stored_metadata: str, metadata: Metadata | None) -> None:
    """Raises PublishError, unless the row becomes this very event again.

    `metadata`: what became `stored_metadata`; None if that was made by us.
    """
    where = f"event {event.event_name} {event.event_id}"
    event_class = _class_that_reads(event)
    for name, kind in (("event_id", UUID), ("occurred_at", datetime)):
        if not isinstance(getattr(event, name), kind):
            raise PublishError(f"{where}: field {name!r} is {shown(getattr(event, name))}, and no {kind.__name__}")
    if not data.startswith("{"):
        raise PublishError(f"{where}: its serializer makes no JSON object of it")
    try:
        again = _read(event_class, data, event.event_id, event.occurred_at, "{}")
        again.__dict__["metadata"] = event.metadata
        found = fields_differ(event, again)
        if found is not None and isinstance(found.before, Enum):
            found = _as_declared(event, again, found)
        if found is None and metadata is not None:
            found = difference(metadata, _metadata_of(stored_metadata, event_class), ("metadata",))
    except Exception as error:  # of a validator, too
        if isinstance(error, ValidationError):
            why = _problems(error, event_class)
        else:
            why = type(error).__name__ + ("" if event.masked_fields else f": {error}")
        raise PublishError(f"{where}: what would be stored can't be read again: {why}") from error
    if found is not None:
        hidden = found.path[:1] and found.path[0] in {field.partition(".")[0] for field in event.masked_fields}
        raise PublishError(f"{where}: field {found.place!r}: {found.said(hidden=bool(hidden))}")


def _as_declared(event: DomainEvent, again: DomainEvent, found: Difference | None) -> Difference | None:
    """What differs if fields that hold the member of an enum hold what pydantic makes of it.

    model_copy(update=...) puts the member of a StrEnum into a field of type str as it is.
    """
    declared = type(again).model_validate(dict(event), by_name=True, by_alias=True)
    seen: set[str] = set()
    while found is not None and isinstance(found.before, Enum) and len(found.path) == 1 and found.path[0] not in seen:
        seen.add(name := found.path[0])
        value = getattr(declared, name)
        if value is not found.before and value != found.before.value:  # a validator made another of it
            break
        event = event.model_copy(update={name: value})
        found = fields_differ(event, again)
    return found


def _class_that_reads(event: DomainEvent) -> type[DomainEvent]:
    """Of whoever decodes the row. A class that was defined anew, by a reload, is meant by both of its forms."""
    own, registered = type(event), event_named(event.event_name)
    if registered is None or (registered.__qualname__, _file(registered)) == (own.__qualname__, _file(own)):
        return own
    return registered


def _file(event_class: type[DomainEvent]) -> str:
    return event_class.defined_at.rpartition(":")[0]


def _check_aggregate(event: DomainEvent, aggregate_id: str) -> None:
    """Raises PublishError if the id is the text of something that is none: of a list, a model, a method."""
    field = event.aggregate_field
    made_of: object = event.aggregate_id if field is None else getattr(event, field)
    if (isinstance(made_of, _NO_IDS) or callable(made_of)) and str(made_of) == aggregate_id:
        raise PublishError(
            f"event {event.event_name} ({event.defined_at}): its aggregate_id is a {type(made_of).__name__}, "
            f"which is no id; give a str, an int or a UUID"
        )


def _plain_numbers(data: str) -> str:
    """Without exponents: jsonb writes 1e16 as 10000000000000000, of which nobody can tell that it was no int."""
    if not _EXPONENT.search(data):
        return data
    return _TEXT_OR_NUMBER.sub(lambda found: found[0] if found[0][0] == '"' else _plain_number(found[0]), data)


def _plain_number(token: str) -> str:
    plain = f"{Decimal(token):f}"
    return plain if "." in plain else f"{plain}.0"


def _metadata_text(metadata: Metadata) -> str:
    """Its JSON, without the two ids if there are none; what else is given is kept as it is."""
    unknown = {name for name in _IDS if getattr(metadata, name) is None}
    return _plain_numbers(metadata.model_dump_json(exclude=unknown, round_trip=True, warnings=False))


def _metadata_of(text: str, event_class: type[DomainEvent]) -> Metadata:
    """Without the names of masked fields, which encode has added."""
    metadata = Metadata.model_validate_json(text)
    if event_class.masked_fields and metadata.__pydantic_extra__:
        metadata.__pydantic_extra__.pop(KEY, None)
    return metadata


def _with_masks(metadata: str, fields: Sequence[str]) -> str:
    """So that whoever shows the event knows, even where its class isn't loaded."""
    comma = "," if metadata.strip()[1:-1].strip() else ""
    return f"{metadata.strip()[:-1]}{comma}{json.dumps({KEY: list(fields)})[1:]}"


def _is_usual(metadata: str) -> bool:
    """It holds a correlation id and nothing else, or nothing at all."""
    return not metadata or _USUAL.fullmatch(metadata) is not None


def _upcast(event_class: type[DomainEvent], data: str, version: int, where: str) -> str:
    if event_class.upcast.__func__ is DomainEvent.upcast.__func__:  # type: ignore[attr-defined]
        return data
    try:
        return json.dumps(event_class.upcast(json.loads(data), version))
    except Exception as error:
        raise EventDataError(
            f"{where}: {event_class.__name__}.upcast from version {version} failed: {type(error).__name__}: {error}"
        ) from error
