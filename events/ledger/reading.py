"""Reads the event of a row's columns by pydantic: `codec` decodes by this code, and tries it before it writes."""

import re
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from pydantic import ValidationError

from events.definition import keys_of
from events.event import RESERVED, DomainEvent, Metadata
from events.ledger.json_text import merged, object_of
from events.ledger.masking import KEY
from events.ledger.round_trip import shown

_USUAL = re.compile(r'\{("correlation_id": ?"[^"\\]*")?\}')  # of metadata


def read(
    event_class: type[DomainEvent], data: str, event_id: UUID, occurred_at: datetime, metadata: str
) -> DomainEvent:
    """Return the event of a row. Its columns are put last into the JSON, since the last of two equal keys counts.

    Raises:
        ValidationError: pydantic refuses the data. A validator of the application may raise any other error.
    """
    columns = f'{{"event_id":"{event_id}","occurred_at":"{occurred_at.isoformat()}","metadata":{metadata}}}'
    if aliases := _aliases(event_class):  # pydantic looks for an alias first
        own = {"event_id": f'"{event_id}"', "occurred_at": f'"{occurred_at.isoformat()}"', "metadata": metadata}
        columns = merged(columns, object_of({alias: own[name] for name, alias in aliases}))
    whole = merged(data, columns)
    return event_class.model_validate_json(whole, extra="ignore", by_name=True, by_alias=True)


@lru_cache(1000)
def _aliases(event_class: type[DomainEvent]) -> tuple[tuple[str, str], ...]:
    """Return the other names that an `alias_generator` has given to the fields that every event has."""
    fields = event_class.model_fields
    return tuple((name, key) for name in RESERVED for key in dict.fromkeys(keys_of(fields[name])))


def is_usual(metadata: str) -> bool:
    """Whether the metadata holds nothing but a correlation id, or nothing at all: then `read` has read all of it."""
    return not metadata or _USUAL.fullmatch(metadata) is not None


def metadata_of(text: str, event_class: type[DomainEvent]) -> Metadata:
    """Return the metadata without the names of masked fields, which encode has added."""
    metadata = Metadata.model_validate_json(text)
    if event_class.masked_fields and metadata.__pydantic_extra__:
        metadata.__pydantic_extra__.pop(KEY, None)
    return metadata


def problems(error: ValidationError, event_class: type[DomainEvent]) -> str:
    """Say what is wrong with each field; with the field's value, unless the event masks fields."""
    hidden = bool(event_class.masked_fields)
    return "; ".join(
        f"field {'.'.join(map(str, problem['loc'])) or 'event_data'!r}: {problem['msg']}"
        + ("" if problem["type"] == "missing" or hidden else f", got {shown(problem['input'])}")
        for problem in error.errors(include_url=False)
    )
