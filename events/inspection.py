"""To look at events and at what became of them, whatever the face."""

from uuid import UUID

from events.errors import EventsError
from events.history import EventFilter, EventRecord, Found
from events.operator_ports import History


class NoSuchEvent(EventsError):
    """The ledger has no such event."""


class Inspection:
    """Reads the history of events."""

    def __init__(self, history: History) -> None:
        self._history = history

    def event(self, event_id: UUID) -> EventRecord:
        """One event, with all that is known of it. Raises NoSuchEvent."""
        found = self._history.event(event_id)
        if found is None:
            raise NoSuchEvent(f"the ledger has no event {event_id} (any more); `events find` looks for events")
        return found

    def find(self, wanted: EventFilter) -> list[Found]:
        """Those that match, newest first."""
        return self._history.find(wanted)
