"""What a publisher asks of a store. Contracts in words; the code that keeps them is in events.store."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from events.ledger.envelope import Envelope


class EventLog(Protocol):
    """Where events are written."""

    def append(self, connection: Connection, envelopes: Sequence[Envelope]) -> None:
        """Write events in the caller's transaction, in one round trip. One that is stored already is left as it is.

        Raises EventIdTaken if one of their ids is that of an event with other content: then none of them is written,
        and the transaction goes on. See events.ledger.identity.
        """

    def append_alone(self, envelopes: Sequence[Envelope]) -> None:
        """Write events in a transaction of its own, durable on return.

        A connection that is lost on the way leaves open whether it was committed; their ids make it safe to try again.
        Raises PublishError if the database stays away; EventIdTaken as `append` does.
        """

    def stored(self, connection: Connection, ids: Collection[UUID]) -> dict[UUID, Envelope]:
        """The events with these ids, as far as they are there."""

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction of its own: committed, and durable, when the block ends without an error."""
