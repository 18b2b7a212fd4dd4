"""To look at events and at what became of them, whatever the face."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from uuid import UUID

from events.errors import NoSuchEvent
from events.ledger import DeliveryRecord, EventFilter, EventRecord, Found, History, as_uuid, mask
from events.operating.prefixes import AT_ONCE, bounds, only_one


class Inspection:
    """Reads the history of events; what their classes mask is hidden. `masked`: see events.ledger.Subscriptions."""

    def __init__(self, history: History, masked: Callable[[], Mapping[str, Collection[str]]]) -> None:
        self._history = history
        self._masked = masked

    def event(self, event_id: UUID) -> EventRecord:
        """One event, with all that is known of it. Raises NoSuchEvent."""
        found = self._history.event(event_id)
        if found is None:
            raise NoSuchEvent(f"the ledger has no event {event_id} (any more); `events find` looks for events")
        return replace(found, data=mask(found.data, found.metadata, found.event_type, self._masked()))

    def called(self, name: str) -> list[Found]:
        """Those that are meant by an id: the one that has it here, or else those that have it where they came from.

        Or else the one whose id here begins so. Raises NoSuchEvent, and AmbiguousId if there are several.
        """
        event_id = as_uuid(name)
        if event_id is not None and (own := self._history.event(event_id)) is not None:
            return [Found(own.event_id, own.event_type, own.aggregate_id, own.published_at)]
        if found := self._history.find(EventFilter(sender_id=name)):
            return found
        around = bounds(name) if event_id is None else None
        if around is None or not (begun := self._history.between(*around, AT_ONCE)):
            raise NoSuchEvent(f"the ledger has no event {name} (any more); `events find` looks for events")
        own = self.event(only_one(name, begun))
        return [Found(own.event_id, own.event_type, own.aggregate_id, own.published_at)]

    def find(self, wanted: EventFilter) -> list[Found]:
        """Those that match, newest first."""
        return self._history.find(wanted)

    def deliveries(self, event_ids: Collection[UUID]) -> dict[UUID, list[DeliveryRecord]]:
        """Where the deliveries of these events stand, by event id."""
        return self._history.deliveries(event_ids)
