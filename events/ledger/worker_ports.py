"""What a worker asks of a store: contracts only. The code that keeps them is in events.store."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from events.ledger.records import Claim, Failure, Pace, Subscription, WorkerInfo

Answer = TypeVar("Answer")


class Subscriptions(Protocol):
    """The subscriptions of handlers to event types, and the way in which their deliveries travel."""

    def subscribe(self, subscriptions: Collection[Subscription]) -> None:
        """Note the subscriptions of a starting worker: add missing ones, and update those that older code wrote.

        While workers of several versions live, the newest definition of a subscription counts; a field that any version
        masks stays masked. No subscription is removed: those that this worker lacks may belong to another worker.
        """

    def keep(self, subscriptions: Collection[Subscription]) -> None:
        """Repeat the subscriptions of a living worker, and note those that no living worker has, so that their
        deliveries wait.
        """

    def paces(self) -> dict[str, Pace]:
        """Return the pace of every subscribed handler."""

    def masked(self) -> dict[str, set[str]]:
        """Return for each event type the fields that are never shown to people, as far as handlers know them."""

    def event_types(self) -> dict[str, bool]:
        """Return the event types with a subscription, and whether each is public (events.integration).

        The handlers of living workers say so; where there are none, the handlers that workers had before.
        """

    def note_pace(self, handler: str, seconds: float) -> None:
        """Note how many seconds one delivery of a handler takes on average, as a worker measured; or ONE_BY_ONE."""


class Inbox(Protocol):
    """What a worker reads and writes around a handler's run. All claims of one call belong to one handler."""

    def claim(
        self, handler: str, tokens: Mapping[UUID, int], worker: str, lease: timedelta, *, each: bool = False
    ) -> list[Claim]:
        """Count the attempts and take the deliveries, committed. Deliveries that were not sent, or not for that token,
        are left out.

        Args:
            tokens: event id to token, as the wake-ups name them.
            each: each delivery has its own outcome, at its own time: its claim stands in its own row.
        """

    def take_along(self, claims: Sequence[Claim], most: int, worker: str, lease: timedelta) -> list[Claim]:
        """Take up to `most` further deliveries of the same handler and queue that were sent, in any message, or are due
        and were not sent yet, as `claim` does.

        None if one of these claims must run alone. They share their fate if the process dies: see `abandon`.
        """

    def extend(self, claims: Collection[Claim], lease: timedelta) -> int:
        """Move the end of the leases; return how many of them this worker still holds."""

    def begin(self, *, eager: bool = False) -> AbstractContextManager[Connection]:
        """Begin the handler's own transaction. `eager` takes locks at once, where waiting for them later may fail
        (SQLite).
        """

    def begin_shared(self) -> AbstractContextManager["Shared"]:
        """Begin a transaction of several deliveries, with all locks taken at once as in `begin`."""

    def awaited(self, handler: str) -> "Callable[[bool], Awaited]":
        """Return a function that begins the transaction of a delivery on the running event loop; its argument is
        `eager`, see `begin`. Not to be called on the event loop, unlike that function.
        """

    def lend(self, connection: Connection, handler: str) -> AbstractContextManager[Callable[[], bool]]:
        """Lend this transaction to a handler while the block runs; a handler that tries to end it gets
        TransactionMisused.

        A setting or a role that the handler leaves there, besides rows, reaches neither our own statements nor the next
        user of the connection. The function that is yielded says whether the handler has left such a thing.
        """

    def succeed(self, connection: Connection, claims: Sequence[Claim]) -> None:
        """Write the successes in the handler's transaction. Raises LeaseLost if this worker lost a delivery."""

    def retry(self, claim: Claim, failure: Failure, delay: timedelta) -> bool:
        """Note that the attempt failed, and make the next one due after `delay`; False if this worker no longer holds
        the delivery.
        """

    def bury(self, claim: Claim, failure: Failure) -> bool:
        """Note that the last attempt failed, and make the delivery a dead letter; False if this worker no longer holds
        it.
        """

    def hand_back(self, claims: Collection[Claim], delay: timedelta, *, alone: bool = False) -> int:
        """Make deliveries that did not run pending again after `delay`; the attempt is not counted.

        Returns how many of them this worker still held. `alone`: they don't share a message again.
        """

    def pass_on(self, claims: Collection[Claim], unread: str = "") -> int:
        """As `hand_back`, for deliveries that this worker can't run but another may: due after a delay that grows each
        time.

        `unread`: the fingerprint of our event class, if our class can't read the event.
        """

    def release(self, worker_prefix: str) -> int:
        """Hand back at once all deliveries that run on workers whose names begin so; return their number."""

    def abandon(
        self, handler: str, tokens: Mapping[UUID, int], failure: Failure, delay: timedelta, worker: str = ""
    ) -> int:
        """Note that the process that ran these deliveries is gone: retry or bury them, by the subscription's
        max_attempts.

        Returns how many deliveries the process had in hand: those that have their outcome stay as they are. Which
        delivery of a group was to blame is unknown: see Recovery.expire_leases.

        Args:
            worker: the name of the process, if what it had taken along is to be handed back, too.
        """

    def known(self, handler: str, event_ids: Collection[UUID]) -> set[UUID]:
        """Return the ids of those events that have a delivery to this handler, in any state."""

    def succeeded(self, claim: Claim) -> bool:
        """Whether this very attempt was committed as a success; waits for a transaction that is still in doubt."""

    def interrupt(self, claim: Claim, error: BaseException, most: int) -> bool:
        """Note that the database cut the attempt short: pending again after a while, and not counted.

        False, with nothing changed, if that happened `most` times already, or this worker no longer holds the delivery.
        """

    def take_back(self, handler: str, tokens: Mapping[UUID, int], worker: str) -> int:
        """Hand back the deliveries that `claim` took for this worker, when the answer of the database was lost."""

    def is_away(self, error: BaseException) -> bool:
        """Whether the database can't be reached or written to, so that the caller should try again until it is back.

        For an error that a handler raised: whether our database is away, not a database of the handler's own.
        """

    def pardons(self, error: BaseException) -> int:
        """Return how often a delivery may fail by such an error without its attempt being counted; 0: the handler is to
        blame.

        The number is large if the database is really away, and small if only this connection was broken, as the handler
        itself may be what breaks it each time. This method may query the database.
        """

    def is_contention(self, error: BaseException) -> bool:
        """Whether the database failed, not the handler: a deadlock, a serialization failure, a locked file."""


class Awaited(Protocol):
    """The transaction of one delivery of an `async def` handler, on an event loop.

    It takes a connection with its first statement, and gives it back when it ends. A handler that tries to end it gets
    TransactionMisused.

    Attributes:
        connection: the transaction for SQLAlchemy's synchronous code, which `run` calls.
        for_handler: the AsyncConnection that carries it.
        is_used: whether a statement was sent.
        is_whole: False if the handler has ended it.
    """

    connection: Connection
    for_handler: Any

    @property
    def is_used(self) -> bool: ...

    @property
    def is_whole(self) -> bool: ...

    @staticmethod
    def is_within() -> bool:
        """Whether the caller is called by `run`, or by SQLAlchemy's `run_sync`."""

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Call synchronous code that uses the connection, without blocking the event loop."""

    async def commit(self, claims: Sequence[Claim]) -> None:
        """Write the successes, and commit. Raises LeaseLost if this worker lost a delivery."""

    async def end(self, error: BaseException | None = None) -> None:
        """Give the connection back, and undo what was not committed.

        `error`: why it wasn't; it is marked if the connection was lost.
        """


class Shared(Protocol):
    """A transaction of several deliveries, one after another, each of which can be undone by itself.

    No delivery shall see the effects of another on the connection. KeepsToItself is raised, at once or by `end` and
    `undo`, if a handler does more than read and write rows. Then the work of the whole transaction is lost, and the
    handler's deliveries run alone.
    """

    connection: Connection

    def begin_next(self) -> None:
        """Begin the part of the next delivery."""

    def secure(self) -> None:
        """Make sure that the delivery can be undone; must be called before the delivery can write anything."""

    def end(self) -> None:
        """Note that the delivery went well."""

    def undo(self) -> None:
        """Undo everything that the delivery did. Raises if the transaction is no longer the same."""

    def check(self) -> None:
        """Raise if this is no longer the transaction that was begun: everything that was done in it is gone.

        If that isn't known yet, the commit raises in its place.
        """


class WorkerRegistry(Protocol):
    """The workers that live, and the event forms that each understands."""

    def announce(self, worker: WorkerInfo) -> None:
        """Note that a worker lives from now on. Forgets workers that were not seen for a day."""

    def renew(self, name: str, activity: Mapping[str, Mapping[str, float]]) -> bool:
        """Note that a worker still lives, and its activity: see WorkerInfo. False if the worker is not known."""

    def gone(self, name: str) -> None:
        """Note that a worker has ended in good order."""

    def alive(self, within: timedelta) -> list[WorkerInfo]:
        """Return the workers that were seen within that time, by name."""

    def understood_elsewhere(self, handler: str, event_type: str, fingerprint: str, within: timedelta) -> bool:
        """Whether a living worker has this handler for another form of the event."""
