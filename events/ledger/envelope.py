"""An event as it is stored: its row, whose data is still JSON text. Publishers write rows, and workers read them."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Envelope:
    """One row of `event_store`.

    Attributes:
        id: the event's id.
        aggregate_id: the aggregate's id as text, "" if the event has none.
        event_type: the event's stable name.
        event_data: the event's own fields as a JSON object.
        version: the aggregate's version; 1 if the application doesn't count versions.
        timestamp: the time at which the event happened (occurred_at), aware. None if another program wrote a text that
            is no time.
        schema_version: the version of the event's fields.
        metadata: the correlation id, the causation id and the like, as a JSON object.
        timed: False if the sender gave no time. Then `timestamp` is the time of arrival, and is not part of the event's
            content.
    """

    id: UUID
    aggregate_id: str
    event_type: str
    event_data: str
    version: int
    timestamp: datetime | None
    schema_version: int
    metadata: str
    timed: bool = field(default=True, compare=False)
