"""Shows, replays and discards parked messages, which were put aside because a worker or bridge can't use them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection

from events.errors import NoSuchParkedMessage
from events.ledger import Parked, ParkedFilter, ParkingLot, mask_foreign


class ParkedMessages:
    """An operator's actions on parked messages, for the command line, web pages and code.

    Args:
        lot: the part of the ledger that holds the parked messages.
        send: puts a message back into the queue where it was found.
        publish: makes an event of a message that came by a bridge, if that is possible now: such a message has no queue
            to go back to.
        masked: see events.ledger.Subscriptions. A message that came by a bridge holds the data of an event.
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
        """The parked messages, newest first.

        Args:
            reason: only messages that were parked for this reason; None for all.
            limit: the number of messages, at most; None for all.
            discarded: the discarded messages, which can be restored, instead of the parked ones.
        """
        return self._shown(self._lot.find(ParkedFilter(reason=reason, limit=limit, discarded=discarded)))

    def counts(self, *, discarded: bool = False) -> dict[str, int]:
        """The numbers of parked messages, by reason. `discarded`: of the discarded messages instead."""
        return self._lot.counts(discarded=discarded)

    def show(self, message_id: UUID) -> Parked:
        """One message, parked or discarded. Raises NoSuchParkedMessage."""
        messages = [
            message
            for discarded in (False, True)
            for message in self._lot.find(ParkedFilter(ids=(message_id,), discarded=discarded))
        ]
        if not messages:
            raise NoSuchParkedMessage(f"no message {message_id} is parked; `events parked list` shows all messages")
        return self._shown(messages)[0]

    def replay(self, ids: Collection[UUID] = (), *, reason: str | None = None) -> int:
        """Put messages back into their queues, as they came. Returns how many.

        A message that a worker still can't run is parked anew. A message that came by a bridge is published, or stays
        parked.

        Args:
            ids: the messages; if empty, all are meant.
            reason: only messages that were parked for this reason; None for all.
        """
        return self._lot.replay(ParkedFilter(ids=ids, reason=reason), self._replay)

    def discard(self, ids: Collection[UUID] = (), *, reason: str | None = None) -> int:
        """Give messages up, chosen as in `replay`. Returns how many.

        Their rows stay, in state `discarded`, until they are pruned: see `restore`.
        """
        return self._lot.discard(ParkedFilter(ids=ids, reason=reason))

    def restore(self, ids: Collection[UUID] = (), *, reason: str | None = None) -> int:
        """Park discarded messages again, chosen as in `replay`. Returns how many."""
        return self._lot.restore(ParkedFilter(ids=ids, reason=reason))

    def _shown(self, messages: Sequence[Parked]) -> list[Parked]:
        """The messages as people may see them: the masked fields of events are hidden."""
        if not any("bridge" in message.properties for message in messages):
            return list(messages)
        declared = self._masked()
        return [
            replace(message, body=mask_foreign(message.body, declared)) if "bridge" in message.properties else message
            for message in messages
        ]

    def _replay(self, message: Parked, connection: Connection) -> bool:
        if "bridge" in message.properties:
            return self._publish(message, connection)
        self._send(message)
        return True
