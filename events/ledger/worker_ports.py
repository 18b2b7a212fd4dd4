"""What a worker asks of a store. Contracts in words; the code that keeps them is in events.store."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from events.ledger.records import Claim, Failure, Pace, Subscription, WorkerInfo


class Subscriptions(Protocol):
    """Which handlers want which events, and how their deliveries travel."""

    def subscribe(self, subscriptions: Collection[Subscription]) -> None:
        """A starting worker has these: add what is missing, and change what was said by older code.

        While workers of several versions live, the newest definition of a subscription counts; what is masked by any
        stays masked. Nothing is removed: what this worker lacks may be another's.
        """

    def keep(self, subscriptions: Collection[Subscription]) -> None:
        """A living worker says so again; and notes what no living worker has, so that it isn't sent to anybody."""

    def paces(self) -> dict[str, Pace]:
        """Of every subscribed handler."""

    def masked(self) -> dict[str, set[str]]:
        """Event type to the fields that nobody is shown, as far as handlers know."""

    def event_types(self) -> dict[str, bool]:
        """Those that handlers are subscribed to, and whether they are public (events.integration).

        That say handlers that a living worker has, or else those that one had.
        """

    def note_pace(self, handler: str, seconds: float) -> None:
        """How long one delivery of it takes on average, as a worker measured it; or ONE_BY_ONE."""


class Inbox(Protocol):
    """What a worker reads and writes around a handler's run. Claims of one call are of one handler."""

    def claim(self, handler: str, tokens: Mapping[UUID, int], worker: str, lease: timedelta) -> list[Claim]:
        """Count the attempts and take the deliveries, committed; without those not sent, or not for that token.

        `tokens`: by event id, as the wake-ups name them.
        """

    def extend(self, claims: Collection[Claim], lease: timedelta) -> int:
        """Move the end of the leases; how many are still ours."""

    def begin(self, *, eager: bool = False) -> AbstractContextManager[Connection]:
        """The handler's own transaction. `eager` takes locks at once where waiting for them may fail (SQLite)."""

    def begin_shared(self) -> AbstractContextManager["Shared"]:
        """A transaction of several deliveries, with all locks taken at once as in `begin`."""

    def lend(self, connection: Connection, handler: str) -> AbstractContextManager[Callable[[], bool]]:
        """While the block runs, a handler has this transaction, and is refused if it would end it: TransactionMisused.

        What it leaves there besides rows, such as a setting or a role, reaches neither our own statements nor whoever
        uses the connection next. Whether there is such a thing tells what is yielded.
        """

    def succeed(self, connection: Connection, claims: Sequence[Claim]) -> None:
        """Write the successes in the handler's transaction. Raises LeaseLost if any delivery is no longer ours."""

    def retry(self, claim: Claim, failure: Failure, delay: timedelta) -> bool:
        """The attempt failed, the next is due after `delay`; False if the delivery is no longer ours."""

    def bury(self, claim: Claim, failure: Failure) -> bool:
        """The attempt failed and was the last: a dead letter; False if the delivery is no longer ours."""

    def hand_back(self, claims: Collection[Claim], delay: timedelta, *, alone: bool = False) -> int:
        """Not run after all: pending again after `delay`, the attempt not counted; how many were still ours.

        `alone`: they don't share a message again.
        """

    def pass_on(self, claims: Collection[Claim], unread: str = "") -> int:
        """Like `hand_back` of what this worker can't run and another may: after a delay that grows each time.

        `unread`: the fingerprint of our event class, if it is that which can't read the event.
        """

    def release(self, worker_prefix: str) -> int:
        """Hand back at once whatever workers run whose names begin so; how many deliveries."""

    def abandon(self, handler: str, tokens: Mapping[UUID, int], failure: Failure, delay: timedelta) -> int:
        """The process that ran these is gone: like retry or bury, whichever the subscription's max_attempts says. How
        many it had in hand: those that have their outcome stay as they are.

        Of several nobody knows which one was to blame: see Recovery.expire_leases.
        """

    def known(self, handler: str, event_ids: Collection[UUID]) -> set[UUID]:
        """Those for which there is such a delivery, in whatever state."""

    def succeeded(self, claim: Claim) -> bool:
        """Whether this very attempt was committed as a success; waits for a transaction that is still in doubt."""

    def interrupt(self, claim: Claim, error: BaseException, most: int) -> bool:
        """The attempt was cut short by the database: pending again after a while, and not counted.

        False, and nothing is changed, if that was so `most` times already, or the delivery is no longer ours.
        """

    def take_back(self, handler: str, tokens: Mapping[UUID, int], worker: str) -> int:
        """Hand back what `claim` has taken for this worker without anybody being told, as its answer was lost."""

    def is_away(self, error: BaseException) -> bool:
        """Whether the database can't be reached, or can't be written to: to be tried again until it is back.

        Of what a handler raised: whether that is so of our database, not of one of its own.
        """

    def pardons(self, error: BaseException) -> int:
        """How often a delivery may fail by such an error and the attempt not be counted; 0: it is the handler's own.

        Often if the database is really away, now and then if only this connection was broken, as the handler itself
        may be what breaks it each time. It may look at the database.
        """

    def is_contention(self, error: BaseException) -> bool:
        """Whether the database, not the handler, failed: deadlock, serialization failure, locked file."""


class Shared(Protocol):
    """A transaction of several deliveries, one after another, each of which can be undone by itself.

    None shall feel another. KeepsToItself is raised, at once or by `end` and `undo`, if a handler does more than read
    and write rows: what was done in the transaction is of no use then, and the handler's deliveries run alone.
    """

    connection: Connection

    def begin_next(self) -> None:
        """From here on it is the next delivery's."""

    def secure(self) -> None:
        """To be called before the delivery can write anything."""

    def end(self) -> None:
        """The delivery went well."""

    def undo(self) -> None:
        """Take back all that the delivery did. Raises if the transaction is no longer the same."""

    def check(self) -> None:
        """Raises if the transaction is no longer the one that was begun: what was done in it is gone."""


class WorkerRegistry(Protocol):
    """Which workers live, and what each understands."""

    def announce(self, worker: WorkerInfo) -> None:
        """It lives from now on. Forgets those that were not seen for a day."""

    def renew(self, name: str, activity: Mapping[str, Mapping[str, float]]) -> bool:
        """It still lives, and this is what it does: see WorkerInfo. False if it is not known."""

    def gone(self, name: str) -> None:
        """It has ended in good order."""

    def alive(self, within: timedelta) -> list[WorkerInfo]:
        """Those seen within that time, by name."""

    def understood_elsewhere(self, handler: str, event_type: str, fingerprint: str, within: timedelta) -> bool:
        """Whether a living worker has this handler for another form of the event."""
