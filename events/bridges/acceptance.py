"""Decides which messages become events. Partners may send the events of the contract: integration events.

A domain event is private: else a partner with a token could run the handlers of any domain event whose name it has
heard. The URL of a bridge may accept some of them, `?accept=CardAdded`, or all, `?accept=*`, which is right between
services of one team.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import Connection

from events.bridges.arrival import Arrival, OwnEvent
from events.bridges.cloudevents import incoming
from events.bridges.contract import Received
from events.bridges.forms import ID_TAKEN, PRIVATE, UNKNOWN
from events.bridges.returning import is_known
from events.errors import EventIdTaken, Unacceptable
from events.event import MAX_NAME, event_named
from events.integration import is_public
from events.ledger import EventLog, Parked

log = logging.getLogger("events.bridges")


class Acceptance:
    """Decides which messages become events, and writes these.

    Args:
        subscribed: returns the event types to which handlers of any service are subscribed, and whether each is public.
        max_bytes: the largest data that an event may have, in bytes.
        own_source: the name of this service (EVENTS_SOURCE), which tells its own events that come back; "" if it has
            none.
        source: the source of events that this service sends: its name, or else the name of all services without one.
        accepted_by: returns the event types that the bridge with this name and place accepts besides public events;
            None if no such bridge is configured.
    """

    def __init__(
        self,
        log: EventLog,
        subscribed: Callable[[], Mapping[str, bool]],
        max_bytes: int,
        own_source: str = "",
        source: str = "",
        accepted_by: Callable[[str, str], Collection[str] | None] = lambda *_: None,
    ) -> None:
        self._log = log
        self._subscribed = subscribed
        self._max_bytes = max_bytes
        self._own_source = own_source
        self._source = source or own_source
        self._accepted_by = accepted_by
        self._known: Mapping[str, bool] = {}

    def refresh(self) -> Collection[str]:
        """Ask the ledger anew for subscriptions. Returns the event types that it knows."""
        self._known = self._subscribed()
        return self._known.keys()

    def envelope(self, received: Received, bridge: str, accept: Collection[str]) -> Arrival:
        """The event of a message. Raises Unacceptable, or OwnEvent."""
        return incoming(received, bridge, lambda name: self._admit(name, accept), self._max_bytes, self._own_source)

    def write(self, connection: Connection, arrivals: Sequence[Arrival]) -> None:
        """Store the events that are not stored yet. Raises Unacceptable if one has the id of another event."""
        ids = [arrival.former for arrival in arrivals if arrival.former is not None]
        known = self._log.stored(connection, ids) if ids else {}
        try:
            new = [arrival for arrival in arrivals if not is_known(arrival, known, self._source)]
            if new:
                self._log.append(connection, new)
        except EventIdTaken as error:
            raise Unacceptable(ID_TAKEN, f"of its source and id is another event: {error.found}") from error

    def publish_parked(self, message: Parked, connection: Connection) -> bool:
        """Accept a parked message, now that the cause may be gone. Returns False if it still can't be accepted."""
        self.refresh()
        bridge = str(message.properties["bridge"])
        try:
            self.write(connection, [self.envelope(_unparked(message), bridge, self._accepted(message))])
        except (Unacceptable, OwnEvent) as error:
            log.warning("parked message %s of bridge %s still can't be accepted: %s", message.id, bridge, error)
            return False
        return True

    def _accepted(self, message: Parked) -> Collection[str]:
        """The event types that the message's bridge accepts besides public events.

        They are those of today's configuration or, if the bridge is configured no longer, of when the message came. A
        message that says neither its bridge nor event types gets none: it may be any sender's.
        """
        stored = message.properties
        now = self._accepted_by(str(stored["bridge"]), str(stored["from"])) if "from" in stored else None
        return stored.get("accept", ()) if now is None else now

    def _admit(self, event_type: str, accept: Collection[str]) -> None:
        """Raises Unacceptable if events of this type may not come in."""
        event_class = event_named(event_type)
        if len(event_type) > MAX_NAME or not (event_class is not None or event_type in self._known):
            raise Unacceptable(UNKNOWN, f"no event named {event_type[:200]!r} is known or subscribed to here")
        # A loaded class decides: a subscription may be of older code, in which the event was public, or private.
        public = self._known.get(event_type, False) if event_class is None else is_public(event_class)
        if not (public or event_type in accept or "*" in accept):
            raise Unacceptable(
                PRIVATE,
                f"{event_type} is a private event here; make it an IntegrationEvent, or let this bridge take it by "
                f"?accept={event_type} in its URL, in EVENTS_BRIDGES: then `events parked replay` publishes this one",
            )


def _unparked(message: Parked) -> Received:
    """The message as it came in."""
    stored = message.properties
    return Received(
        message.body, stored["headers"], stored["address"], stored.get("position", ""), stored.get("event_type", "")
    )
