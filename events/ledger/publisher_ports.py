"""What a publisher asks of a store: contracts only. The code that keeps them is in events.store."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from events.ledger.envelope import Envelope


class EventLog(Protocol):
    """The place where publishers write events."""

    def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> None:
        """Write events in the caller's transaction, in one round trip. An event that is stored already is left as it
        is.

        Raises:
            EventIdTaken: one of the ids belongs to an event with other content. Then no event is written, and the
                transaction goes on. See events.ledger.identity.
        """

    def append_alone(self, envelopes: Sequence[Envelope]) -> None:
        """Write events in a transaction of its own, durable on return.

        If the connection is lost during the commit, the outcome is unknown; the events' ids make it safe to try again.

        Raises:
            PublishError: the database stays away.
            EventIdTaken: as in `append`.
        """

    def stored(self, connection: Connection, ids: Collection[UUID]) -> dict[UUID, Envelope]:
        """Return those of the events with these ids that are stored."""

    def begin(self) -> AbstractContextManager[Connection]:
        """Begin a transaction of its own: committed, and durable, when the block ends without an error."""
