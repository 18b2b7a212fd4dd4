"""A framework that keeps the application's transactions itself, as Django does: a publish() without a session belongs
to the transaction that is open there."""

from collections.abc import Callable
from typing import Protocol

from events.errors import PublishError
from events.publishing.joining import Append


class Surroundings(Protocol):
    """The transactions of a framework."""

    def check(self, using: str) -> None:
        """Raise PublishError, with the cure, if the ledger isn't in the database that the framework calls so."""

    def is_open(self) -> bool:
        """Whether the present code is in a transaction of the framework, on whatever database."""

    def write(self, append: Append, using: str | None) -> None:
        """Write events in the transaction that is open; if there is none, in one of their own, which is committed.

        Args:
            using: the database that the caller named; None if it named none.
        Raises:
            PublishError: only a transaction on another database is open, and the caller named none; or the caller would
                block an event loop.
        """

    async def aside(self, work: Callable[[], None]) -> None:
        """Call code that publishes, from an event loop, in the thread that the framework has for such code."""


def check_using(surroundings: Surroundings | None, using: str, session: object) -> None:
    """Raise PublishError if a publish() can't be meant for the database `using`."""
    if session is not None:
        raise PublishError(
            f"publish() takes either session= or using={using!r}, and each names a transaction; leave one out"
        )
    if surroundings is None:
        raise PublishError(
            f"publish(using={using!r}) names a database of Django's, and Django isn't set up here with 'events.django' "
            f"in INSTALLED_APPS; add it, call django.setup() first, or use session="
        )
    surroundings.check(using)
