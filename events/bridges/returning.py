"""What is stored already of what comes in, under another id than it gets today: events of ours that come back to us
through others, and what older code received, which took a sender's UUID for its own."""

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
    """Whether it is stored under its former id.

    Args:
        stored: events by their ids.
        our_source: of what we send.
    Raises:
        EventIdTaken: older code received another event of its source and its id.
    """
    there = stored.get(arrival.former) if arrival.former is not None else None
    if there is None:
        return False
    told = _told(there)
    if sender_of(there.id, told) is not None:
        return False  # somebody calls his event as we call another's
    if told.get(KEY) and SENT_AS not in told and told.get("source") == arrival.source:  # older code received it
        check_repeat(arrival, there)
        return True
    # Those may be ours that have our name, which we may have in common with others, or nobody's, or were only sent on.
    may_be_ours = arrival.source == our_source or (arrival.timed and (arrival.forwarded or not arrival.named))
    return may_be_ours and not (differences(arrival, there) and differences(arrival, _as_sent(there, told)))


def _told(event: Envelope) -> dict[str, Any]:
    try:
        told = json.loads(event.metadata)
    except ValueError:  # a foreign program's
        return {}
    return told if isinstance(told, dict) else {}


def _as_sent(event: Envelope, told: Mapping[str, Any]) -> Envelope:
    """Masked fields may have been left out."""
    masked = told.get(MASKED)
    if not isinstance(masked, list):
        return event
    try:
        return replace(event, event_data=without(event.event_data, [str(name) for name in masked]))
    except ValueError:
        return event
