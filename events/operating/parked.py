"""Parked messages: what was found in a queue and is no wake-up. Look at them, replay them, discard them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection

from events.errors import NoSuchParkedMessage
from events.ledger import Parked, ParkedFilter, ParkingLot, mask_foreign


class ParkedMessages:
    """What an operator does with parked messages, whatever the face.

    Args:
        send: puts a message back into the queue that it was found in.
        publish: what came by a bridge has no queue to go back to: it becomes an event, if it can now.
        masked: see events.ledger.Subscriptions. What came by a bridge holds the data of an event.
    """

    def __init__(
        self,
        lot: ParkingLot,
        send: Callable[[Parked], None],
        publish: Callable[[Parked, Connection], bool],
        masked: Callable[[], Mapping[str, Collection[str]]],
    ) -> None:
        self._lot = lot
        self._send = send
        self._publish = publish
        self._masked = masked

    def find(self, *, reason: str | None = None, limit: int | None = 50, discarded: bool = False) -> list[Parked]:
        """Newest first. `discarded`: those that were discarded and can be restored, instead."""
        return self._shown(self._lot.find(ParkedFilter(reason=reason, limit=limit, discarded=discarded)))

    def counts(self, *, discarded: bool = False) -> dict[str, int]:
        """How many, by reason."""
        return self._lot.counts(discarded=discarded)

    def show(self, message_id: UUID) -> Parked:
        """One of them, parked or discarded. Raises NoSuchParkedMessage."""
        found = [
            one
            for discarded in (False, True)
            for one in self._lot.find(ParkedFilter(ids=(message_id,), discarded=discarded))
        ]
        if not found:
            raise NoSuchParkedMessage(f"no message {message_id} is parked; `events parked list` shows what there is")
        return self._shown(found)[0]

    def replay(self, ids: Collection[UUID] = (), *, reason: str | None = None) -> int:
        """Back into their queues, as they came; how many. One that still can't be run is parked anew.

        What came by a bridge is published, or stays where it is.
        """
        return self._lot.replay(ParkedFilter(ids=ids, reason=reason), self._replay)

    def discard(self, ids: Collection[UUID] = (), *, reason: str | None = None) -> int:
        """Give them up; how many. Their rows stay, in state `discarded`, until they are pruned: see `restore`."""
        return self._lot.discard(ParkedFilter(ids=ids, reason=reason))

    def restore(self, ids: Collection[UUID] = (), *, reason: str | None = None) -> int:
        """What was discarded is parked again; how many."""
        return self._lot.restore(ParkedFilter(ids=ids, reason=reason))

    def _shown(self, found: Sequence[Parked]) -> list[Parked]:
        declared = self._masked() if any("bridge" in one.properties for one in found) else {}
        return [
            replace(one, body=mask_foreign(one.body, declared)) if "bridge" in one.properties else one for one in found
        ]

    def _replay(self, message: Parked, connection: Connection) -> bool:
        if "bridge" in message.properties:
            return self._publish(message, connection)
        self._send(message)
        return True
