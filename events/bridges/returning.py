"""Finds arrivals that are stored already, under another id than they get today.

These are events of this service that come back through other services, and events that older code received: it took
the UUID that the sender gave for the id of the row.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from events.bridges.arrival import Arrival
from events.bridges.contract import KEY
from events.ledger import KEY as MASKED
from events.ledger import SENT_AS, Envelope, check_repeat, differences, sender_of, without


def is_known(arrival: Arrival, stored: Mapping[UUID, Envelope], our_source: str) -> bool:
    """Whether the event is stored under its former id.

    Args:
        stored: stored events by their ids.
        our_source: the source of events that this service sends.
    Raises:
        EventIdTaken: older code received another event of the same source and id.
    """
    former = stored.get(arrival.former) if arrival.former is not None else None
    if former is None:
        return False
    metadata = _metadata(former)
    if sender_of(former.id, metadata) is not None:
        return False  # another service gave its event the id that we gave to an event of a third service
    if metadata.get(KEY) and SENT_AS not in metadata and metadata.get("source") == arrival.source:  # by older code
        check_repeat(arrival, former)
        return True
    # The event may be ours if its source is our name (other services may have that name, too), if it has no source, or
    # if another service has forwarded it.
    may_be_ours = arrival.source == our_source or (arrival.timed and (arrival.forwarded or not arrival.named))
    return may_be_ours and not (differences(arrival, former) and differences(arrival, _as_sent(former, metadata)))


def _metadata(event: Envelope) -> dict[str, Any]:
    try:
        metadata = json.loads(event.metadata)
    except ValueError:  # a foreign program wrote it
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _as_sent(event: Envelope, metadata: Mapping[str, Any]) -> Envelope:
    """The event without its masked fields, as it may have been sent."""
    masked = metadata.get(MASKED)
    if not isinstance(masked, list):
        return event
    try:
        return replace(event, event_data=without(event.event_data, [str(name) for name in masked]))
    except ValueError:
        return event
