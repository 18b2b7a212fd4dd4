"""Corrects the data of a dead letter and runs it again: for the day when the data, not the code, was wrong.

An event never changes: a copy with the corrected data takes its place, for the handler that failed and for no other.
The dead letter is discarded; it names the copy, and the copy names the dead letter. EVENTS_EDIT switches this on.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from events.definition import uuid7
from events.errors import EditingIsOff, EventDataError, NoSuchDeadLetter, WhichHandler
from events.ledger import (
    NUL,
    DeadLetter,
    DeadLetterBox,
    DeadLetterFilter,
    Envelope,
    EventRecord,
    History,
    decode,
    unwrapped,
)


class Correcting:
    """Edits dead letters and replays them.

    Args:
        box: the part of the ledger that holds the dead letters.
        history: the part of the ledger that holds the events.
        allowed: the setting EVENTS_EDIT.
        max_bytes: limits the corrected data, as it limits the data of published events.
    """

    def __init__(self, box: DeadLetterBox, history: History, *, allowed: bool, max_bytes: int) -> None:
        self._box = box
        self._history = history
        self._allowed = allowed
        self._max_bytes = max_bytes

    def correct(
        self,
        event_id: UUID,
        changes: Mapping[str, Any],
        actor: str,
        *,
        handler: str | None = None,
        confirm: Callable[[DeadLetter], None] = lambda _: None,
    ) -> UUID:
        """Correct a dead letter. Returns the id of the corrected event, which is on its way to the handler.

        Args:
            changes: fields and their new values; the other fields stay as they are, masked ones too.
            actor: the operator, who is named in the history.
            handler: the handler whose dead letter is meant; may be left out if the event has only one.
            confirm: is called with the dead letter before anything is changed; if it raises, nothing is.
        Raises:
            EditingIsOff: the setting EVENTS_EDIT is off.
            NoSuchDeadLetter: the event has no such dead letter, or has lost it meanwhile.
            WhichHandler: the event is a dead letter of several handlers.
            EventDataError: the event's class refuses the corrected data, or isn't loaded, or no database can store the
                data, or they are too large.
        """
        if not self._allowed:
            raise EditingIsOff("correcting dead letters is switched off; EVENTS_EDIT=on switches it on")
        letter = self._letter(event_id, handler)
        event = self._history.event(event_id)
        if event is None:
            raise NoSuchDeadLetter(f"event {event_id} was deleted; there is nothing to correct")
        data = json.dumps(_object(event) | dict(changes), ensure_ascii=False)
        if (size := len(data.encode())) > self._max_bytes:
            raise EventDataError(
                f"event {event_id}: the corrected data has {size:,} bytes, over the limit of {self._max_bytes:,} bytes "
                f"(EVENTS_MAX_PAYLOAD_BYTES)"
            )
        if NUL.search(data):
            raise EventDataError(f"event {event_id}: the corrected data contains a NUL character; remove it")
        corrected_id = uuid7()
        decode(_envelope(event, corrected_id, data))
        confirm(letter)
        if not self._box.correct(event_id, letter.handler, data, corrected_id, actor):
            raise NoSuchDeadLetter(f"event {event_id} is no dead letter of {letter.handler} any more")
        return corrected_id

    def _letter(self, event_id: UUID, handler: str | None) -> DeadLetter:
        letters = self._box.find(DeadLetterFilter(event_ids=(event_id,), handler=handler))
        if not letters:
            raise NoSuchDeadLetter(f"event {event_id} has no dead letter; `events dead list` shows all dead letters")
        if len(letters) > 1:
            names = ", ".join(sorted(letter.handler for letter in letters))
            raise WhichHandler(f"event {event_id} is a dead letter of {names}; say which: --handler NAME")
        return letters[0]


def _object(event: EventRecord) -> dict[str, Any]:
    """The data of an event as a JSON object. Raises EventDataError for other data, which other programs may store."""
    try:
        data = json.loads(unwrapped(event.data))
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise EventDataError(f"event {event.event_id}: its data is no JSON object, so it has no fields to change")
    return data


def _envelope(event: EventRecord, corrected_id: UUID, data: str) -> Envelope:
    envelope = Envelope(
        event.event_id,
        event.aggregate_id,
        event.event_type,
        data,
        event.version,
        event.occurred_at,
        event.schema_version,
        event.metadata,
    )
    return replace(envelope, id=corrected_id)
