"""Database code of a framework, such as Django's ORM, that a handler uses without asking for a Session or Connection:
the framework lends it the delivery's connection while the handler runs."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sqlalchemy import Connection

from events.delivery.session import HandlerSession


class Guest(Protocol):
    """What a framework does with the connection of one call of a handler."""

    def finish(self) -> None:
        """The handler has returned. Raises if its part of the transaction must not be committed."""

    def leave(self) -> None:
        """The handler uses the connection no longer, whether it returned or failed."""

    def over(self, *, committed: bool) -> None:
        """The delivery's transaction has ended: call what waits for a commit. Raises nothing."""


class Host(Protocol):
    """A framework that takes part in the deliveries of this process."""

    def join(self, connection: Connection, handler: str, secure: Callable[[], None]) -> Guest:
        """A handler is called now, in the transaction of this connection.

        Args:
            secure: to be called before the framework sends a statement; see events.ledger.Shared.
        """


_hosts: list[Host] = []


def lend_to(*hosts: Host) -> None:
    """From now on these frameworks, and no others, take part in deliveries."""
    _hosts[:] = hosts


def guests(connection: Connection, handler: str, secure: Callable[[], None]) -> list[Guest]:
    """A guest of each framework, for one call of a handler."""
    return [host.join(connection, handler, secure) for host in _hosts]


class Waiting:
    """What has to be told how the delivery's transaction ended: the handler's session, and the guests."""

    def __init__(self, session: HandlerSession | None, guests: Sequence[Guest]) -> None:
        self._session = session
        self._guests = guests

    def over(self, *, committed: bool) -> None:
        """The transaction has ended. Raises nothing."""
        if self._session is not None:
            self._session.over(committed=committed)
        for guest in self._guests:
            guest.over(committed=committed)
