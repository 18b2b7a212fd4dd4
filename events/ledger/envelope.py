"""An event as it is stored: the row, with its data still JSON text. What publishers write and workers read."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Envelope:
    """One row of `event_store`.

    Attributes:
        id: the event's id.
        aggregate_id: the aggregate's id as text, "" if it has none.
        event_type: the event's stable name.
        event_data: the event's own fields as a JSON object.
        version: the aggregate's version; 1 for whoever doesn't count.
        timestamp: when it happened (occurred_at), aware. None if a foreign program wrote something unreadable.
        schema_version: version of the event's fields.
        metadata: correlation, causation and the like as a JSON object.
        timed: False if nobody said when it happened: the timestamp is then that of its arrival, and no content.
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
