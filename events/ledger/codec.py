"""Turns events into rows and back, through JSON text.

An event comes out of every store equal to the event that went in: `encode` reads each event back from its JSON before
it is written, and refuses an event that has changed. The check costs some microseconds of a transaction. It holds
whatever a type, a serializer or a validator of the application does, and for events that were never validated
(`model_construct`, `model_copy(update=...)`). All stores refuse what only one of them can't hold, such as the NUL
character in PostgreSQL's jsonb.
"""

import json

from pydantic import BaseModel, ValidationError

from events.errors import EventDataError, NewerEvent, PayloadTooLarge, PublishError
from events.event import MAX_NAME, RESERVED, DomainEvent, Metadata, aggregate_of, ambiguity, event_named
from events.ledger.envelope import Envelope
from events.ledger.json_text import NUL, merged, plain_numbers
from events.ledger.masking import KEY
from events.ledger.reading import is_usual, metadata_of, problems, read
from events.ledger.round_trip import shown
from events.ledger.round_trip_check import check_round_trip
from events.ledger.unwrapping import unwrapped

_EXCLUDED = set(RESERVED)
_NO_IDS = (BaseModel, tuple, list, dict, set, frozenset)
_IDS = ("correlation_id", "causation_id")
_BYTES_A_CHARACTER = 4  # the most that UTF-8 needs


def encode(
    event: DomainEvent,
    *,
    max_bytes: int,
    metadata: Metadata | str | None = None,
    version: int = 1,
    is_text: bool = False,
) -> Envelope:
    """Return the row of an event.

    Args:
        max_bytes: the limit for the event's data as UTF-8 JSON.
        metadata: replaces the event's own metadata; a text is JSON already.
        version: the aggregate's version after this event.
        is_text: its fields are text alone, and were validated: they need not be read back.
    Raises:
        PublishError: `event` is not an instance of an event class, or its data can't be stored, or would not come back
            equal.
        PayloadTooLarge: the event's data is larger than `max_bytes`.
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
        data = event.model_dump_json(exclude=_EXCLUDED, round_trip=True, warnings=False)
        data = data if is_text else plain_numbers(data)
        stored_metadata = metadata if isinstance(metadata, str) else _metadata_text(metadata or event.metadata)
        aggregate_id = aggregate_of(event)
    except Exception as error:  # raised by pydantic, or by a serializer of the application
        told = type(error).__name__ if event.masked_fields else error
        raise PublishError(f"event {event.event_name} {event.event_id} can't be written as JSON: {told}") from error
    _check_aggregate(event, aggregate_id)
    if len(data) * _BYTES_A_CHARACTER > max_bytes and (size := len(data.encode())) > max_bytes:
        raise PayloadTooLarge(
            f"event {event.event_name} has {size:,} bytes of data, over the limit of {max_bytes:,} bytes "
            f"(EVENTS_MAX_PAYLOAD_BYTES); store the bulk elsewhere and publish its address"
        )
    if event.masked_fields:
        # So that every page that shows the event knows the masked fields, even where the event's class isn't loaded.
        stored_metadata = merged(stored_metadata, json.dumps({KEY: event.masked_fields}))
    escaped = ("u0000" in text and NUL.search(text) for text in (data, stored_metadata))
    if "\0" in aggregate_id or any(escaped):
        raise PublishError(f"event {event.event_name} {event.event_id} contains a NUL character; remove it")
    if len(aggregate_id) > MAX_NAME:
        raise PublishError(
            f"event {event.event_name}: its aggregate id has {len(aggregate_id)} characters, over {MAX_NAME}"
        )
    if not is_text:
        given = None if isinstance(metadata, str) else metadata or event.metadata
        check_round_trip(event, data, stored_metadata, given)
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
    """Return the event of a row. Fields that the event's class doesn't know are ignored.

    Raises:
        EventDataError: no class has this name, the data is no JSON object, or a field is missing or wrong. The error
            names the event, the field and its value.
        NewerEvent: the event was written in a newer schema version than this process knows.
    """
    event_class = event_named(envelope.event_type)
    where = f"event {envelope.event_type} {envelope.id}"
    if event_class is None:
        raise EventDataError(f"{where}: no imported module defines an event of this name")
    if why := ambiguity(envelope.event_type):
        raise EventDataError(f"{where}: {why}")
    for column, number in (("version", envelope.version), ("schema_version", envelope.schema_version)):
        if not isinstance(number, int):  # SQLite stores a value of any type in any column
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
        event = read(event_class, data, envelope.id, envelope.timestamp, envelope.metadata or "{}")
        # `extra` applied to all models within, but these models keep their own setting.
        if not is_usual(envelope.metadata):
            event.__dict__["metadata"] = metadata_of(envelope.metadata, event_class)
        return event
    except ValidationError as error:
        raise EventDataError(f"{where}: {problems(error, event_class)}") from error


def _check_aggregate(event: DomainEvent, aggregate_id: str) -> None:
    """Raise PublishError if the aggregate id is the text of a value that is no id: of a list, a model, a method."""
    field = event.aggregate_field
    made_of: object = event.aggregate_id if field is None else getattr(event, field)
    if (isinstance(made_of, _NO_IDS) or callable(made_of)) and str(made_of) == aggregate_id:
        raise PublishError(
            f"event {event.event_name} ({event.defined_at}): its aggregate_id is a {type(made_of).__name__}, "
            f"which is no id; give a str, an int or a UUID"
        )


def _metadata_text(metadata: Metadata) -> str:
    """Return the metadata's JSON. The two ids are left out if they are None; all other fields are kept as they are."""
    unknown = {name for name in _IDS if getattr(metadata, name) is None}
    return plain_numbers(metadata.model_dump_json(exclude=unknown, round_trip=True, warnings=False))


def _upcast(event_class: type[DomainEvent], data: str, version: int, where: str) -> str:
    if event_class.upcast.__func__ is DomainEvent.upcast.__func__:  # type: ignore[attr-defined]
        return data
    try:
        return json.dumps(event_class.upcast(json.loads(data), version))
    except Exception as error:
        raise EventDataError(
            f"{where}: {event_class.__name__}.upcast from version {version} failed: {type(error).__name__}: {error}"
        ) from error
