"""Which messages become events, and which. What a partner may send is what the contract says: integration events.

A domain event is private: whoever has a partner's token could else run the handlers of one that it has heard of. The
URL of a bridge may name some, `?accept=CardAdded`, or all, `?accept=*`, which is right between services of one team.
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
    """Which messages become events, and which.

    Args:
        subscribed: event types that handlers anywhere are subscribed to, and whether they are public.
        max_bytes: limits the data of each.
        own_source: what this service calls itself; what it has sent is not taken for another's. Empty if it is unnamed.
        source: the same; if it is unnamed, what everybody is called who is.
        accepted_by: what the bridge of this name and place takes besides public events; None if it isn't configured.
    """

    def __init__(
        self, log: EventLog, subscribed: Callable[[], Mapping[str, bool]], max_bytes: int, own_source: str = "",
        source: str = "", accepted_by: Callable[[str, str], Collection[str] | None] = lambda *_: None,
    ) -> None:  # fmt: skip
        self._log = log
        self._subscribed = subscribed
        self._max_bytes = max_bytes
        self._own_source = own_source
        self._source = source or own_source
        self._accepted_by = accepted_by
        self._known: Mapping[str, bool] = {}

    def refresh(self) -> Collection[str]:
        """Ask the ledger anew; the event types that it knows."""
        self._known = self._subscribed()
        return self._known.keys()

    def envelope(self, received: Received, bridge: str, accept: Collection[str]) -> Arrival:
        """Raises Unacceptable, OwnEvent."""
        return incoming(received, bridge, lambda name: self._admit(name, accept), self._max_bytes, self._own_source)

    def write(self, connection: Connection, arrivals: Sequence[Arrival]) -> None:
        """Those that are not stored. Raises Unacceptable if one of them has the id of another event."""
        ids = [one.former for one in arrivals if one.former is not None]
        known = self._log.stored(connection, ids) if ids else {}
        try:
            new = [one for one in arrivals if not is_known(one, known, self._source)]
            if new:
                self._log.append(connection, new)
        except EventIdTaken as error:
            raise Unacceptable(ID_TAKEN, f"of its source and id is another event: {error.found}") from error

    def publish_parked(self, message: Parked, connection: Connection) -> bool:
        """A message that was parked, again, now that the cause may be gone: False if it still can't be accepted."""
        self.refresh()
        bridge = str(message.properties["bridge"])
        try:
            self.write(connection, [self.envelope(_unparked(message), bridge, self._accepted(message))])
        except (Unacceptable, OwnEvent) as error:
            log.warning("parked message %s of bridge %s still can't be accepted: %s", message.id, bridge, error)
            return False
        return True

    def _accepted(self, message: Parked) -> Collection[str]:
        """What its own bridge takes besides public events: as configured now, or else as it was when the message came.

        A message that doesn't say which bridge that was, and what it took, may be anybody's.
        """
        kept = message.properties
        now = self._accepted_by(str(kept["bridge"]), str(kept["from"])) if "from" in kept else None
        return kept.get("accept", ()) if now is None else now

    def _admit(self, event_type: str, accept: Collection[str]) -> None:
        """Raises Unacceptable."""
        event_class = event_named(event_type)
        if len(event_type) > MAX_NAME or not (event_class is not None or event_type in self._known):
            raise Unacceptable(UNKNOWN, f"no event named {event_type[:200]!r} is known or subscribed to here")
        # A class that is loaded decides: a subscription may be of older code, which said otherwise.
        public = self._known.get(event_type, False) if event_class is None else is_public(event_class)
        if not (public or event_type in accept or "*" in accept):
            raise Unacceptable(
                PRIVATE,
                f"{event_type} is a private event here; make it an IntegrationEvent, or let this bridge take it by "
                f"?accept={event_type} in its URL, in EVENTS_BRIDGES: then `events parked replay` publishes this one",
            )


def _unparked(message: Parked) -> Received:
    kept = message.properties
    return Received(
        message.body, kept["headers"], kept["address"], kept.get("position", ""), kept.get("event_type", "")
    )
