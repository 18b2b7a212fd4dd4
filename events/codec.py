"""Events to rows and back, through JSON text.

What goes in comes out equal (tests/unit/test_codec.py says so with Hypothesis), on every store: what one of them
can't hold, such as the NUL character in PostgreSQL's jsonb, is refused by all.
"""

import json
import re
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from events.envelope import Envelope
from events.errors import EventDataError, NewerEvent, PayloadTooLarge, PublishError
from events.event import MAX_NAME, RESERVED, DomainEvent, Metadata, event_named
from events.masking import KEY

_EXCLUDED = set(RESERVED)
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # in JSON text
_BYTES_A_CHARACTER = 4  # at most, in UTF-8
_SHOWN = 200  # characters of a wrong value that an error shows


def encode(event: DomainEvent, *, max_bytes: int, metadata: Metadata | str | None = None, version: int = 1) -> Envelope:
    """The row of an event.

    Args:
        max_bytes: limit for the event's data as UTF-8 JSON.
        metadata: replaces the event's own; a text is JSON already.
        version: the aggregate's version after this event.
    Raises:
        PublishError: not an instance of an event class, or its data can't be stored.
        PayloadTooLarge: its data is larger than `max_bytes`.
    """
    if not isinstance(event, DomainEvent):
        raise PublishError(f"publish() takes instances of DomainEvent, not {_shown(event)}")
    if not event.event_name:
        raise PublishError(
            f"{type(event).__name__} is an abstract event ({event.defined_at}); publish a subclass of it"
        )
    try:
        data = event.model_dump_json(exclude=_EXCLUDED, round_trip=True)
        stored_metadata = (
            metadata if isinstance(metadata, str) else (metadata or event.metadata).model_dump_json(exclude_none=True)
        )
    except (PydanticSerializationError, UnicodeError) as error:
        raise PublishError(f"event {event.event_name} {event.event_id} can't be written as JSON: {error}") from error
    if len(data) * _BYTES_A_CHARACTER > max_bytes and (size := len(data.encode())) > max_bytes:
        raise PayloadTooLarge(
            f"event {event.event_name} has {size:,} bytes of data, over the limit of {max_bytes:,} bytes "
            f"(EVENTS_MAX_PAYLOAD_BYTES); store the bulk elsewhere and publish its address"
        )
    if event.masked_fields:
        stored_metadata = _with_masks(stored_metadata, event.masked_fields)
    aggregate_id = event.aggregate_id
    escaped = ("u0000" in text and NUL.search(text) for text in (data, stored_metadata))
    if "\0" in aggregate_id or any(escaped):
        raise PublishError(f"event {event.event_name} {event.event_id} contains a NUL character; remove it")
    if len(aggregate_id) > MAX_NAME:
        raise PublishError(
            f"event {event.event_name}: its aggregate id has {len(aggregate_id)} characters, over {MAX_NAME}"
        )
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
    for column, number in (("version", envelope.version), ("schema_version", envelope.schema_version)):
        if not isinstance(number, int):  # SQLite keeps what it is given
            raise EventDataError(f"{where}: event_store.{column} is no whole number: {_shown(number)}")
    if envelope.schema_version > event_class.schema_version:
        raise NewerEvent(
            f"{where}: it is of version {envelope.schema_version}, and this process knows version "
            f"{event_class.schema_version}; deploy the newer code to the workers, then replay it"
        )
    if envelope.timestamp is None:
        raise EventDataError(f"{where}: event_store.timestamp is no date and time of the years 1 to 9999")
    data = envelope.event_data.strip()
    if not (data.startswith("{") and data.endswith("}")):
        shown = "" if event_class.masked_fields else f": {_shown(data)}"
        raise EventDataError(f"{where}: event_data is not a JSON object{shown}")
    if envelope.schema_version < event_class.schema_version:
        data = _upcast(event_class, data, envelope.schema_version, where)
    # The row's own columns come last, since in JSON the last of two equal keys counts.
    comma = "," if data[1:-1].strip() else ""
    columns = (
        f'"event_id":"{envelope.id}","occurred_at":"{envelope.timestamp.isoformat()}",'
        f'"metadata":{envelope.metadata or "{}"}}}'
    )
    try:
        event = event_class.model_validate_json(
            data[:-1] + comma + columns, extra="ignore", by_name=True, by_alias=True
        )
        if not _is_usual(envelope.metadata):  # what `extra` says, it says of all models within, and these keep theirs
            event.__dict__["metadata"] = Metadata.model_validate_json(envelope.metadata)
        return event
    except ValidationError as error:
        hidden = bool(event_class.masked_fields)
        problems = "; ".join(
            f"field {'.'.join(map(str, problem['loc'])) or 'event_data'!r}: {problem['msg']}"
            + ("" if problem["type"] == "missing" or hidden else f", got {_shown(problem['input'])}")
            for problem in error.errors(include_url=False)
        )
        raise EventDataError(f"{where}: {problems}") from error


def _with_masks(metadata: str, fields: Sequence[str]) -> str:
    """So that whoever shows the event knows, even where its class isn't loaded."""
    comma = "," if metadata.strip()[1:-1].strip() else ""
    return f"{metadata.strip()[:-1]}{comma}{json.dumps({KEY: list(fields)})[1:]}"


def _is_usual(metadata: str) -> bool:
    """It holds a correlation id and nothing else, or nothing at all."""
    return not metadata or (metadata.startswith('{"correlation_id"') and metadata.count('"') == 4)


def _upcast(event_class: type[DomainEvent], data: str, version: int, where: str) -> str:
    if event_class.upcast.__func__ is DomainEvent.upcast.__func__:  # type: ignore[attr-defined]
        return data
    try:
        return json.dumps(event_class.upcast(json.loads(data), version))
    except Exception as error:
        raise EventDataError(
            f"{where}: {event_class.__name__}.upcast from version {version} failed: {type(error).__name__}: {error}"
        ) from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"
