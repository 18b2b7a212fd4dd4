"""The check before an event is written: whether its row becomes this very event again."""

from datetime import datetime
from enum import Enum
from uuid import UUID

from pydantic import ValidationError

from events.errors import PublishError
from events.event import DomainEvent, Metadata, event_named
from events.ledger.reading import metadata_of, problems, read
from events.ledger.round_trip import Difference, difference, fields_differ, shown


def check_round_trip(event: DomainEvent, data: str, stored_metadata: str, metadata: Metadata | None) -> None:
    """Raise PublishError, unless the row becomes this very event again.

    Args:
        metadata: the metadata that became `stored_metadata`; None if our own code made that text.
    """
    where = f"event {event.event_name} {event.event_id}"
    event_class = _class_that_reads(event)
    for name, kind in (("event_id", UUID), ("occurred_at", datetime)):
        if not isinstance(getattr(event, name), kind):
            raise PublishError(f"{where}: field {name!r} is {shown(getattr(event, name))}, and no {kind.__name__}")
    if not data.startswith("{"):
        raise PublishError(f"{where}: its serializer makes no JSON object of it")
    try:
        again = read(event_class, data, event.event_id, event.occurred_at, "{}")
        again.__dict__["metadata"] = event.metadata
        found = fields_differ(event, again)
        if found is not None and isinstance(found.before, Enum):
            found = _as_declared(event, again, found)
        if found is None and metadata is not None:
            found = difference(metadata, metadata_of(stored_metadata, event_class), ("metadata",))
    except Exception as error:  # a validator of the application may raise any error
        if isinstance(error, ValidationError):
            why = problems(error, event_class)
        else:
            why = type(error).__name__ + ("" if event.masked_fields else f": {error}")
        raise PublishError(f"{where}: what would be stored can't be read again: {why}") from error
    if found is not None:
        hidden = found.path[:1] and found.path[0] in {field.partition(".")[0] for field in event.masked_fields}
        raise PublishError(f"{where}: field {found.place!r}: {found.said(hidden=bool(hidden))}")


def _as_declared(event: DomainEvent, again: DomainEvent, found: Difference | None) -> Difference | None:
    """Return what differs once fields that hold a member of an enum hold what pydantic makes of it.

    model_copy(update=...) puts the member of a StrEnum into a field of type str as it is.
    """
    declared = type(again).model_validate(dict(event), by_name=True, by_alias=True)
    seen: set[str] = set()
    while found is not None and isinstance(found.before, Enum) and len(found.path) == 1 and found.path[0] not in seen:
        seen.add(name := found.path[0])
        value = getattr(declared, name)
        if value is not found.before and value != found.before.value:  # a validator changed the value
            break
        event = event.model_copy(update={name: value})
        found = fields_differ(event, again)
    return found


def _class_that_reads(event: DomainEvent) -> type[DomainEvent]:
    """Return the class that will decode the row. A class that a reload defined anew counts as the class before it."""
    own, registered = type(event), event_named(event.event_name)
    if registered is None or (registered.__qualname__, _file(registered)) == (own.__qualname__, _file(own)):
        return own
    return registered


def _file(event_class: type[DomainEvent]) -> str:
    return event_class.defined_at.rpartition(":")[0]
