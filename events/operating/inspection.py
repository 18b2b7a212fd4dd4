"""Looks up events and their deliveries, for the command line, web pages and code."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from uuid import UUID

from events.errors import NoSuchEvent
from events.ledger import DeliveryRecord, EventFilter, EventRecord, Found, History, as_uuid, mask
from events.operating.prefixes import AT_ONCE, bounds, only_one


class Inspection:
    """Reads the history of events. Masked fields are hidden. `masked`: see events.ledger.Subscriptions."""

    def __init__(self, history: History, masked: Callable[[], Mapping[str, Collection[str]]]) -> None:
        self._history = history
        self._masked = masked

    def event(self, event_id: UUID) -> EventRecord:
        """One event, with everything that the ledger knows about it. Raises NoSuchEvent."""
        event = self._history.event(event_id)
        if event is None:
            raise NoSuchEvent(f"the ledger has no event {event_id} (any more); `events find` looks for events")
        return replace(event, data=mask(event.data, event.metadata, event.event_type, self._masked()))

    def called(self, name: str) -> list[Found]:
        """The events that an id means: the event with this id here, or else those with this id at their sender.

        If there are neither, it is the event whose id here begins with `name`.

        Raises:
            NoSuchEvent: no event has such an id.
            AmbiguousId: several ids begin with `name`.
        """
        event_id = as_uuid(name)
        if event_id is not None and (own := self._history.event(event_id)) is not None:
            return [Found(own.event_id, own.event_type, own.aggregate_id, own.published_at)]
        if received := self._history.find(EventFilter(sender_id=name)):
            return received
        around = bounds(name) if event_id is None else None
        if around is None or not (candidates := self._history.between(*around, AT_ONCE)):
            raise NoSuchEvent(f"the ledger has no event {name} (any more); `events find` looks for events")
        own = self.event(only_one(name, candidates))
        return [Found(own.event_id, own.event_type, own.aggregate_id, own.published_at)]

    def find(self, wanted: EventFilter) -> list[Found]:
        """The matching events, newest first."""
        return self._history.find(wanted)

    def deliveries(self, event_ids: Collection[UUID]) -> dict[UUID, list[DeliveryRecord]]:
        """The deliveries of these events, by event id."""
        return self._history.deliveries(event_ids)
